#![allow(clippy::unwrap_used)]
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::testing::{Server, Told, later};

/// `{"alg":"ES256","typ":"at+jwt","kid":"k"}`, `{}` and no signature.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsifQ.e30.AA";

#[tokio::test]
async fn whoever_names_unknown_keys_cannot_make_us_ask_all_the_time() {
    let is_sealed = Arc::new(AtomicBool::new(false));
    let now_sealed = Arc::clone(&is_sealed);
    let server = Server::start(move |_, asked| match asked.line.contains("jwks") {
        _ if now_sealed.load(Ordering::SeqCst) => (503, "", r#"{"errors":["Vault is sealed"]}"#.into()),
        true => (200, "", r#"{"keys":[]}"#.into()),
        false => (200, "", r#"{"issuer":"https://broker"}"#.into()),
    })
    .await;
    let verifier = Verifier::new(server.client().retry_within(Duration::ZERO).build().unwrap(), "https://me");
    for _ in 0..5 {
        assert!(matches!(verifier.verify(TOKEN).await, Err(Error::Rejected(Rejected::UnknownKey))));
    }
    assert_eq!(server.count("jwks"), 1);
    later(10).await;
    is_sealed.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let unsure = verifier.verify(TOKEN).await.unwrap_err();
        assert!(unsure.is_temporary(), "the key may be a new one: {unsure:?}");
    }
    assert_eq!(server.asked().len(), 3, "a broker that does not answer is not asked all the time either");
    later(10).await;
    is_sealed.store(false, Ordering::SeqCst);
    assert!(matches!(verifier.verify(TOKEN).await, Err(Error::Rejected(Rejected::UnknownKey))));
}

#[tokio::test]
async fn nobody_waits_for_a_broker_that_is_not_there() {
    let server = Server::start(|_, _| (503, "", r#"{"errors":["Vault is sealed"]}"#.into())).await;
    let verifier = Verifier::new(server.client().build().unwrap(), ME);
    let quick = tokio::time::timeout(Duration::from_secs(5), verifier.verify(TOKEN)).await;
    assert!(quick.unwrap().unwrap_err().is_temporary(), "whoever presents a token waits as well");
}

#[tokio::test]
async fn what_is_no_access_token_is_refused_without_asking() {
    let server = Server::start(|_, _| (500, "", String::new())).await;
    let verifier = Verifier::new(server.client().build().unwrap(), "https://me");
    let plain_jwt = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AA";
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoiayJ9.e30.";
    for text in ["", "a.b.c", plain_jwt, unsigned, &"a".repeat(TOKEN_BYTES_MAX + 1)] {
        assert!(matches!(verifier.verify(text).await, Err(Error::Rejected(Rejected::Malformed))), "{text}");
    }
    assert!(server.asked().is_empty());
}

const ME: &str = "https://me";
const ISSUER: &str = "https://broker";

/// A key that signs, and its public half as the broker publishes it.
fn key(kid: &str) -> (EncodingKey, Value) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let (x, y) = pair.public_key_raw()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwk =
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y });
    (EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(), jwk)
}

fn sign(key: &EncodingKey, kid: &str, changes: &Value) -> String {
    let now = jsonwebtoken::get_current_timestamp();
    let mut claims = json!({
        "iss": ISSUER, "aud": ME, "sub": "kubernetes:system:serviceaccount:shop:checkout", "jti": "1",
        "iat": now, "nbf": now - 5, "exp": now + 300, "scope": "read write",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header =
        Header { typ: Some("at+jwt".into()), kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

/// A server that publishes this key; what comes after its first two answers is up to the test.
async fn publishes(jwk: Value, after: Told) -> Server {
    let keys = json!({ "keys": [jwk] }).to_string();
    Server::start(move |before, asked| match asked.line.contains("jwks") {
        _ if before >= 2 => after.clone(),
        true => (200, "", keys.clone()),
        false => (200, "", json!({ "issuer": ISSUER }).to_string()),
    })
    .await
}

#[tokio::test]
async fn while_keys_are_fetched_again_the_old_ones_serve() {
    let (signs, jwk) = key("k");
    let server = publishes(jwk, (0, "", String::new())).await;
    let verifier = Arc::new(Verifier::new(server.client().build().unwrap(), ME));
    let token = sign(&signs, "k", &json!({ "exp": jsonwebtoken::get_current_timestamp() + 3600 }));
    verifier.verify(&token).await.unwrap();
    later(301).await;
    let (waits, waiting) = (Arc::clone(&verifier), token.clone());
    let fetching = tokio::spawn(async move { waits.verify(&waiting).await.map(drop) });
    server.has_been_asked(3).await;
    let quick = tokio::time::timeout(Duration::from_secs(5), verifier.verify(&token)).await;
    quick.expect("nobody waits for the one who fetches").unwrap();
    fetching.abort();
}

#[tokio::test]
async fn while_keys_cannot_be_fetched_the_old_ones_serve_for_a_day() {
    let (signs, jwk) = key("k");
    let server = publishes(jwk, (500, "", String::new())).await;
    let verifier = Verifier::new(server.client().build().unwrap(), ME);
    let token = sign(&signs, "k", &json!({ "exp": jsonwebtoken::get_current_timestamp() + 200_000 }));
    verifier.verify(&token).await.unwrap();
    later(301).await;
    for _ in 0..5 {
        verifier.verify(&token).await.unwrap();
    }
    assert_eq!(server.asked().len(), 3);
    later(86_400).await;
    assert!(matches!(verifier.verify(&token).await, Err(Error::Failed(_))));
}

#[tokio::test]
async fn only_what_the_broker_signed_for_us_and_for_now_is_accepted() {
    let (signs, jwk) = key("k");
    let keys = json!({ "keys": [{ "kty": "of the future", "kid": "f" }, jwk] }).to_string();
    let server = Server::start(move |_, asked| match asked.line.contains("jwks") {
        true => (200, "", keys.clone()),
        false => (200, "", json!({ "issuer": ISSUER }).to_string()),
    })
    .await;
    let verifier = Verifier::new(server.client().build().unwrap(), ME);
    let caller = verifier.verify(&sign(&signs, "k", &json!({}))).await.unwrap();
    assert_eq!(caller.subject, "kubernetes:system:serviceaccount:shop:checkout");
    assert_eq!(caller.scopes, ["read", "write"]);

    let now = jsonwebtoken::get_current_timestamp();
    let (stranger, _) = key("k");
    for (token, reason) in [
        (sign(&signs, "k", &json!({ "exp": now - 60 })), Rejected::Expired),
        (sign(&signs, "k", &json!({ "nbf": now + 60 })), Rejected::Expired),
        (sign(&signs, "k", &json!({ "aud": "https://other" })), Rejected::Audience),
        (sign(&signs, "k", &json!({ "iss": "https://other" })), Rejected::Issuer),
        (sign(&signs, "k", &json!({ "sub": null })), Rejected::Malformed),
        (sign(&signs, "other", &json!({})), Rejected::UnknownKey),
        (sign(&stranger, "k", &json!({})), Rejected::Signature),
    ] {
        match verifier.verify(&token).await {
            Err(Error::Rejected(got)) => assert_eq!(got, reason),
            other => panic!("{reason:?}: {other:?}"),
        }
    }
    assert_eq!(server.asked().len(), 2, "the keys are fetched once");
}
