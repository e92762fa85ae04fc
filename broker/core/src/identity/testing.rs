//! Forged and honest tokens for tests.
#![allow(clippy::unwrap_used)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::keys::KeySet;

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const RSA_PUB: &str = include_str!("testdata/rsa.pub.pem");
pub(crate) const P256_PUB: &str = include_str!("testdata/p256.pub.pem");
pub(crate) const P384_PUB: &str = include_str!("testdata/p384.pub.pem");
pub(crate) const P521_PUB: &str = include_str!("testdata/p521.pub.pem");
pub(crate) const ED25519_PUB: &str = include_str!("testdata/ed25519.pub.pem");

/// Keys of the test issuer in tests only; `testdata` was made with OpenSSL.
pub(crate) fn signer(algorithm: Algorithm) -> EncodingKey {
    use Algorithm::{ES256, ES384, EdDSA};
    match algorithm {
        ES256 => EncodingKey::from_ec_pem(include_bytes!("testdata/p256.pem")).unwrap(),
        ES384 => EncodingKey::from_ec_pem(include_bytes!("testdata/p384.pem")).unwrap(),
        EdDSA => EncodingKey::from_ed_pem(include_bytes!("testdata/ed25519.pem")).unwrap(),
        _ => EncodingKey::from_rsa_pem(include_bytes!("testdata/rsa.pem")).unwrap(),
    }
}

pub(crate) fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Signs texts as they are, so that tests can say anything in them.
pub(crate) fn sign_texts(algorithm: Algorithm, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &signer(algorithm), algorithm).unwrap();
    format!("{signed}.{signature}")
}

/// The same with ES512, which the library of [`sign_texts`] does not have.
pub(crate) fn sign_es512(header: &str, claims: &str) -> String {
    let pem = include_str!("testdata/p521.pem");
    let body: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, &der).unwrap();
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature))
}

pub(crate) fn sign(claims: &Value) -> String {
    sign_texts(Algorithm::ES256, r#"{"alg":"ES256","typ":"JWT"}"#, &claims.to_string())
}

pub(crate) fn keys() -> KeySet {
    KeySet::from_pem(&[P256_PUB]).unwrap()
}

pub(crate) fn claims() -> Value {
    json!({"iss": "https://issuer.test", "sub": "alice", "aud": "symbolon", "iat": NOW - 5, "nbf": NOW - 5, "exp": NOW + 600})
}

/// `claims` with members replaced; null removes one.
pub(crate) fn with(mut claims: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap().clone() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&key);
        } else {
            claims[key] = value;
        }
    }
    claims
}

/// A projected service-account token as the API server makes them.
pub(crate) fn pod_claims() -> Value {
    json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:apps:eso",
        "aud": ["https://symbolon.test"], "iat": NOW - 5, "nbf": NOW - 5, "exp": NOW + 600, "jti": "x",
        "kubernetes.io": {
            "namespace": "apps",
            "serviceaccount": {"name": "eso", "uid": "sa-uid"},
            "pod": {"name": "eso-1", "uid": "pod-uid"},
            "node": {"name": "node-1", "uid": "node-uid"},
        },
    })
}
