use super::jwt::p256_jwk;
use crate::identity::keys::{KEYS_BYTES_MAX, KeySet, KeySetError};
use crate::identity::testing::*;

fn pem(texts: &[&str]) -> Result<usize, KeySetError> {
    KeySet::from_pem(texts).map(|set| set.len())
}

fn jwks(keys: &str) -> Result<usize, KeySetError> {
    KeySet::from_jwks(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).map(|set| set.len())
}

#[test]
fn pem_of_every_form_is_read() {
    assert_eq!(pem(&[RSA_PUB]), Ok(1));
    assert_eq!(pem(&[include_str!("../testdata/rsa.pkcs1.pem")]), Ok(1));
    assert_eq!(pem(&[include_str!("../testdata/rsa.cert.pem")]), Ok(1));
    assert_eq!(pem(&[include_str!("../testdata/p256.cert.pem")]), Ok(1));
    assert_eq!(pem(&[&format!("{P256_PUB}\n{P384_PUB}"), P521_PUB, ED25519_PUB]), Ok(4));
    assert_eq!(pem(&[&RSA_PUB.replace('\n', "\r\n")]), Ok(1));
}

#[test]
fn the_forms_hold_the_same_key() {
    use crate::identity::jwt::{JwtRules, verify};
    let claims = claims().to_string();
    let rsa = sign_texts(jsonwebtoken::Algorithm::RS256, r#"{"alg":"RS256"}"#, &claims);
    for form in [RSA_PUB, include_str!("../testdata/rsa.pkcs1.pem"), include_str!("../testdata/rsa.cert.pem")]
    {
        assert!(verify(&rsa, &KeySet::from_pem(&[form]).unwrap(), &JwtRules::default(), NOW).is_ok());
    }
    let certificate = KeySet::from_pem(&[include_str!("../testdata/p256.cert.pem")]).unwrap();
    assert!(
        verify(&sign(&serde_json::from_str(&claims).unwrap()), &certificate, &JwtRules::default(), NOW)
            .is_ok()
    );
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    assert_eq!(pem(&[include_str!("../testdata/rsa1024.pub.pem")]), Err(KeySetError::Unusable));
    assert_eq!(pem(&[include_str!("../testdata/k256.pub.pem")]), Err(KeySetError::Unusable));
    for text in [
        "",
        "x",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----",
    ] {
        assert_eq!(pem(&[text]), Err(KeySetError::NotPem), "{text}");
    }
    let mislabelled = P256_PUB.replace("END PUBLIC KEY", "END CERTIFICATE");
    assert_eq!(pem(&[&mislabelled]), Err(KeySetError::NotPem));
    let cut = format!("{}\n-----END PUBLIC KEY-----", &P256_PUB[..60]);
    assert!(pem(&[&cut]).is_err());
    assert_eq!(pem(&[&"x".repeat(KEYS_BYTES_MAX + 1)]), Err(KeySetError::TooLong));
    assert_eq!(pem(&[&P256_PUB.repeat(65)]), Err(KeySetError::TooMany));
}

#[test]
fn jwk_sets_are_filtered() {
    assert_eq!(jwks(""), Ok(0));
    let good = p256_jwk("a", "");
    assert_eq!(
        jwks(&format!("{good},{}", p256_jwk("b", r#","use":"sig","alg":"ES256","key_ops":["verify"]"#))),
        Ok(2)
    );
    let n = b64([0xff; 256]);
    let rsa = |n: &str, e: &str| format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#);
    assert_eq!(jwks(&rsa(&n, "AQAB")), Ok(1));
    for useless in [
        r#"{"kty":"oct","k":"AAAA"}"#.to_owned(),
        p256_jwk("a", r#","use":"enc""#),
        p256_jwk("a", r#","use":1"#),
        p256_jwk("a", r#","alg":"RS256""#),
        p256_jwk("a", r#","alg":"HS256""#),
        p256_jwk("a", r#","key_ops":["sign"]"#),
        good.replace("P-256", "P-384"),
        good.replace("P-256", "secp256k1"),
        good.replace("\"EC\"", "\"RSA\""),
        good.replace("\"x\":\"", "\"x\":\"AA"),
        good.replace("\"kid\":\"a\"", "\"kid\":7"),
        rsa(&b64([0xff; 128]), "AQAB"),
        rsa(&b64([0xff; 64]), "AQAB"),
        rsa(&b64([0xff; 2048]), "AQAB"),
        rsa(&n, "AQ"),
        rsa(&n, "Ag"),
        rsa(&n, ""),
        rsa(&b64([0xfe; 256]), "AQAB"),
        r#"{"kty":"OKP","crv":"X25519","x":"AAAA"}"#.to_owned(),
        r#"{}"#.to_owned(),
    ] {
        assert_eq!(jwks(&useless), Ok(0), "{useless:.100}");
    }
}

#[test]
fn small_order_points_are_refused() {
    let okp = |bytes: [u8; 32]| jwks(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(bytes)));
    let mut sign_bit = [0; 32];
    sign_bit[31] = 0x80;
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    for weak in [[0; 32], sign_bit, one, minus_one] {
        assert_eq!(okp(weak), Ok(0), "{weak:?}");
    }
    assert_eq!(okp([9; 32]), Ok(1));
}

#[test]
fn jwk_sets_are_bounded_and_unambiguous() {
    assert_eq!(jwks(&format!("{},{}", p256_jwk("a", ""), p256_jwk("a", ""))), Err(KeySetError::DuplicateKid));
    assert_eq!(jwks(&["{}"; 65].join(",")), Err(KeySetError::TooMany));
    assert_eq!(jwks("1"), Err(KeySetError::NoKeys));
    assert!(matches!(KeySet::from_jwks(b"[]"), Err(KeySetError::NotJwks(_))));
    assert!(matches!(KeySet::from_jwks(b"{}"), Err(KeySetError::NoKeys)));
    assert!(matches!(KeySet::from_jwks(br#"{"keys":[],"keys":[]}"#), Err(KeySetError::NotJwks(_))));
    assert!(matches!(KeySet::from_jwks(&vec![b' '; KEYS_BYTES_MAX + 1]), Err(KeySetError::TooLong)));
}
