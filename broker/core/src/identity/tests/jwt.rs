//! The abuse catalogue for JWTs.

use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::json;

use crate::identity::jwt::{JWT_BYTES_MAX, JwtError, JwtRules, claimed_issuer, verify};
use crate::identity::keys::KeySet;
use crate::identity::testing::*;
use crate::json::JsonError;

const HEADER: &str = r#"{"alg":"ES256"}"#;

fn all_keys() -> KeySet {
    KeySet::from_pem(&[RSA_PUB, P256_PUB, P384_PUB, P521_PUB, ED25519_PUB]).unwrap()
}

fn check_refused(token: &str, why: JwtError) {
    let answer = verify(token, &all_keys(), &JwtRules::default(), NOW).unwrap_err();
    assert_eq!(answer, why, "{token:.120}");
}

fn check_header_refused(header: &str, why: JwtError) {
    check_refused(&sign_texts(Algorithm::ES256, header, &claims().to_string()), why);
}

fn check_claims(changes: serde_json::Value, answer: Result<(), JwtError>) {
    let token = sign(&with(claims(), changes.clone()));
    assert_eq!(verify(&token, &keys(), &JwtRules::default(), NOW).map(|_| ()), answer, "{changes}");
}

fn check_claims_text(claims: &str, why: JwtError) {
    check_refused(&sign_texts(Algorithm::ES256, HEADER, claims), why);
}

#[test]
fn every_offered_algorithm_verifies() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    for algorithm in [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA] {
        let token = sign_texts(
            algorithm,
            &format!(r#"{{"alg":"{algorithm:?}","typ":"JWT"}}"#),
            &claims().to_string(),
        );
        let jwt = verify(&token, &all_keys(), &JwtRules::default(), NOW).unwrap();
        assert_eq!((jwt.issuer(), jwt.subject()), (Some("https://issuer.test"), Some("alice")));
        assert_eq!((jwt.audiences(), jwt.expires_at()), (&["symbolon".to_owned()][..], Some(NOW + 600)));
    }
}

#[test]
fn es512_verifies_by_pem_and_by_jwk() {
    let spki = pem_bytes(P521_PUB);
    let (x, y) = spki[spki.len() - 132..].split_at(66);
    let jwk = |x: &[u8]| {
        let (x, y) = (b64(x), b64(y));
        format!(r#"{{"keys":[{{"kty":"EC","crv":"P-521","alg":"ES512","kid":"k","x":"{x}","y":"{y}"}}]}}"#)
    };
    let token = sign_es512(r#"{"alg":"ES512","kid":"k"}"#, &claims().to_string());
    for set in [all_keys(), KeySet::from_jwks(jwk(x).as_bytes()).unwrap()] {
        assert!(verify(&token, &set, &JwtRules::default(), NOW).is_ok());
        for algorithm in ["ES256", "ES384", "RS512"] {
            let other = sign_es512(&format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#), &claims().to_string());
            assert!(verify(&other, &set, &JwtRules::default(), NOW).is_err(), "{algorithm}");
        }
    }
    let short = KeySet::from_jwks(jwk(&x[1..]).as_bytes()).unwrap();
    assert!(short.is_empty(), "coordinates have their full length (RFC 7518 section 6.2.1.2)");
}

/// RFC 7515 appendix A.4, whose payload is no JSON: what comes after the signature refuses it.
#[test]
fn the_es512_example_of_the_standard_verifies() {
    const KEY: &str = r#"{"kty":"EC","crv":"P-521",
        "x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
    const TOKEN: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    let set = KeySet::from_jwks(format!(r#"{{"keys":[{KEY}]}}"#).as_bytes()).unwrap();
    let answer = |token: &str| verify(token, &set, &JwtRules::default(), NOW);
    assert_eq!(answer(TOKEN), Err(JwtError::Json(JsonError::NotObject)));
    assert_eq!(answer(&TOKEN.replace("UGF5", "UGF4")), Err(JwtError::Signature));
}

/// A file ends in a line feed, and clients send what it holds.
#[test]
fn white_space_around_a_token_is_nobodys() {
    let token = sign(&claims());
    for spaced in [format!("{token}\n"), format!(" \t{token}\r\n"), format!("\u{a0}{token}")] {
        assert!(verify(&spaced, &keys(), &JwtRules::default(), NOW).is_ok(), "{spaced:?}");
        assert_eq!(claimed_issuer(&spaced), Ok(Some("https://issuer.test".to_owned())));
    }
    for inside in [token.replace('.', ".\n"), token.replace('.', " .")] {
        assert!(verify(&inside, &keys(), &JwtRules::default(), NOW).is_err(), "{inside:?}");
    }
}

#[test]
fn none_is_refused_in_every_spelling() {
    for name in ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "ES256K", "es256", "RS1"] {
        let signed = format!("{}.{}", b64(format!(r#"{{"alg":"{name}"}}"#)), b64(claims().to_string()));
        check_refused(&format!("{signed}.{}", b64("x")), JwtError::Algorithm);
        check_refused(&format!("{signed}."), JwtError::Shape);
    }
    for header in [r#"{"alg":null}"#, r#"{"alg":["ES256"]}"#, r#"{"alg":1}"#, "{}"] {
        check_header_refused(header, JwtError::Algorithm);
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let spki = pem_bytes(RSA_PUB);
    for secret in [RSA_PUB.as_bytes(), &spki, include_bytes!("../testdata/rsa.pkcs1.pem"), b""] {
        let signed = format!("{}.{}", b64(r#"{"alg":"HS256"}"#), b64(claims().to_string()));
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        check_refused(&format!("{signed}.{signature}"), JwtError::Algorithm);
    }
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[test]
fn the_key_decides_the_algorithm() {
    let token = sign_texts(Algorithm::RS256, r#"{"alg":"RS256"}"#, &claims().to_string());
    assert_eq!(verify(&token, &keys(), &JwtRules::default(), NOW), Err(JwtError::AlgorithmMismatch));
    // Signed with one algorithm, labelled with another of the same key.
    let token = sign_texts(Algorithm::RS256, r#"{"alg":"PS256"}"#, &claims().to_string());
    check_refused(&token, JwtError::Signature);
    let rules = JwtRules { algorithms: vec!["RS256".into()], ..JwtRules::default() };
    assert_eq!(verify(&sign(&claims()), &all_keys(), &rules, NOW), Err(JwtError::Algorithm));
    assert_eq!(
        verify(&sign(&claims()), &KeySet::default(), &JwtRules::default(), NOW),
        Err(JwtError::UnknownKey)
    );
}

#[test]
fn headers_that_bring_a_key_or_a_condition_are_refused() {
    for member in [
        r#""jwk":{"kty":"EC"}"#,
        r#""jku":"https://evil.test/keys""#,
        r#""x5u":"https://evil.test/cert""#,
        r#""x5c":["MII="]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
        r#""cty":"JWT""#,
        r#""kid":7"#,
        r#""kid":"""#,
        &format!(r#""kid":"{}""#, "k".repeat(1025)),
    ] {
        check_header_refused(&format!(r#"{{"alg":"ES256",{member}}}"#), JwtError::Header);
    }
    for typ in [r#""at+jwt""#, r#""dpop+jwt""#, r#""wit+jwt""#, "null", "7", r#""""#, r#""JWT ""#] {
        check_header_refused(&format!(r#"{{"alg":"ES256","typ":{typ}}}"#), JwtError::Typ);
    }
    check_header_refused(r#"{"alg":"ES256","enc":"A256GCM"}"#, JwtError::Encrypted);
    check_header_refused(r#"{"alg":"ES256","alg":"ES256"}"#, JwtError::Json(JsonError::DuplicateKey));
    check_header_refused(r#"{"alg":"none","\u0061lg":"ES256"}"#, JwtError::Json(JsonError::DuplicateKey));
}

#[test]
fn other_shapes_are_refused() {
    let token = sign(&claims());
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    check_refused("", JwtError::Shape);
    check_refused(&format!("{header}.{payload}"), JwtError::Shape);
    check_refused(&format!("{token}.x"), JwtError::Shape);
    check_refused(&format!("{header}.{payload}.{signature}.a.b"), JwtError::Encrypted);
    check_refused(&format!("{header}=.{payload}.{signature}"), JwtError::Shape);
    check_refused(&format!(r#"{{"payload":"{payload}","signatures":[]}}"#), JwtError::Shape);
    check_refused(&"a".repeat(JWT_BYTES_MAX + 1), JwtError::TooLong);
    check_refused(&"a.".repeat(5_000_000), JwtError::TooLong);
    check_refused(&format!("{header}.{payload}.{signature}="), JwtError::Signature);
    check_refused(&format!("{header}.{payload}.{}", b64("x")), JwtError::Signature);
    // Nested: a whole token as payload.
    check_claims_text(&token, JwtError::Json(JsonError::NotObject));
}

#[test]
fn signatures_of_other_forms_are_refused() {
    let signed = format!("{}.{}", b64(HEADER), b64(claims().to_string()));
    let token = sign(&claims());
    let good = token.rsplit('.').next().unwrap();
    check_refused(&format!("{signed}.{good}"), JwtError::Signature); // of another header
    check_refused(&format!("{signed}.{}", b64([0; 64])), JwtError::Signature); // r = s = 0
    let mut half = [0; 64];
    half[31] = 1;
    check_refused(&format!("{signed}.{}", b64(half)), JwtError::Signature); // s = 0
    // DER form.
    let mut der = vec![0x30, 0x44, 0x02, 0x20];
    der.extend([1; 32]);
    der.extend([0x02, 0x20]);
    der.extend([1; 32]);
    check_refused(&format!("{signed}.{}", b64(der)), JwtError::Signature);
    for at in 0..signed.len() {
        let mut changed = format!("{signed}.{good}").into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&changed, &all_keys(), &JwtRules::default(), NOW).is_err(), "{at}");
    }
}

#[test]
fn times_are_strict() {
    check_claims(json!({}), Ok(()));
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("9999999999"),
            json!(-1),
            json!(-0.5),
            json!(true),
            json!([NOW]),
            json!({}),
            json!(253_402_300_800u64),
            json!(u64::MAX),
        ] {
            check_claims(json!({name: value}), Err(JwtError::ClaimType));
        }
        for literal in ["1e400", "253402300800.0", "99999999999999999999999999999999"] {
            let mut map = claims().as_object().unwrap().clone();
            map.remove(name);
            let text = serde_json::to_string(&map).unwrap();
            check_claims_text(
                &format!("{},\"{name}\":{literal}}}", &text[..text.len() - 1]),
                JwtError::ClaimType,
            );
        }
    }
    let null = sign_texts(Algorithm::ES256, HEADER, &format!(r#"{{"exp":null,"iat":{NOW}}}"#));
    check_refused(&null, JwtError::ClaimType);
    check_claims(json!({"exp": null}), Err(JwtError::NoExpiry));
    check_claims(json!({"exp": NOW - 60}), Err(JwtError::Expired));
    check_claims(json!({"exp": NOW - 59}), Ok(()));
    check_claims(json!({"nbf": NOW + 61}), Err(JwtError::NotYetValid));
    check_claims(json!({"nbf": NOW + 60}), Ok(()));
    check_claims(json!({"iat": NOW + 61}), Err(JwtError::IssuedAhead));
    check_claims(json!({"iat": NOW + 60}), Ok(()));
    // A leeway beyond the bound is cut, not obeyed.
    let lax = JwtRules { expiry_leeway_secs: u64::MAX, ..JwtRules::default() };
    let old = sign(&with(claims(), json!({"exp": NOW - 301})));
    assert_eq!(verify(&old, &keys(), &lax, NOW), Err(JwtError::Expired));
    let endless = JwtRules { allow_endless: true, ..JwtRules::default() };
    assert!(verify(&sign(&with(claims(), json!({"exp": null}))), &keys(), &endless, NOW).is_ok());
}

/// RFC 7519 section 2 lets times have fractions, and some issuers write them.
#[test]
fn fractions_of_seconds_make_a_token_shorter() {
    let spelt = |name: &str, literal: &str| {
        let mut map = claims().as_object().unwrap().clone();
        map.remove(name);
        let text = serde_json::to_string(&map).unwrap();
        let token = sign_texts(
            Algorithm::ES256,
            HEADER,
            &format!("{},\"{name}\":{literal}}}", &text[..text.len() - 1]),
        );
        verify(&token, &keys(), &JwtRules::default(), NOW).map(|jwt| (jwt.expires_at(), jwt.issued_at()))
    };
    let (exp, iat) = (Some(NOW + 600), Some(NOW - 5));
    assert_eq!(spelt("exp", "1700000123.987"), Ok((Some(NOW + 123), iat)));
    assert_eq!(spelt("exp", "1.700000123e9"), Ok((Some(NOW + 123), iat)));
    assert_eq!(spelt("iat", "1699999990.001"), Ok((exp, Some(NOW - 9))));
    assert_eq!(spelt("exp", "1699999940.999"), Err(JwtError::Expired));
    assert_eq!(spelt("nbf", "1700000060.0"), Ok((exp, iat)));
    assert_eq!(spelt("nbf", "1700000060.1"), Err(JwtError::NotYetValid));
    assert_eq!(spelt("iat", "1700000060.1"), Err(JwtError::IssuedAhead));
}

/// As Keycloak makes them for somebody with roles in 80 clients.
#[test]
fn a_token_with_eighty_clients_verifies() {
    let clients: Vec<String> = (0..80).map(|number| format!("client-{number:02}")).collect();
    let roles = ["manage-account", "manage-account-links", "view-profile", "view-users", "realm-admin"];
    let access: serde_json::Map<_, _> =
        clients.iter().map(|client| (client.clone(), json!({ "roles": roles }))).collect();
    let changes = json!({
        "aud": clients, "resource_access": access, "realm_access": {"roles": roles},
        "address": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}},
    });
    let jwt = verify(&sign(&with(claims(), changes)), &keys(), &JwtRules::default(), NOW).unwrap();
    assert_eq!(jwt.audiences().len(), 80);
    assert_eq!(jwt.text("/resource_access/client-79/roles/4"), Some("realm-admin"));
}

#[test]
fn a_token_may_be_64_kib_long() {
    let padded = |bytes: usize| sign(&with(claims(), json!({"a": vec!["x".repeat(1000); bytes]})));
    let long = padded(45);
    assert!(long.len() > 60_000 && long.len() <= JWT_BYTES_MAX, "{}", long.len());
    assert!(verify(&long, &keys(), &JwtRules::default(), NOW).is_ok());
    check_refused(&padded(50), JwtError::TooLong);
}

#[test]
fn registered_claims_have_their_types() {
    for aud in
        [json!({}), json!([]), json!([["symbolon"]]), json!([1]), json!(1), json!(""), json!(vec!["a"; 1025])]
    {
        check_claims(json!({"aud": aud}), Err(JwtError::ClaimType));
    }
    check_claims(json!({"aud": ["a", "b"]}), Ok(()));
    for name in ["iss", "sub"] {
        for value in
            [json!(1), json!([]), json!({}), json!(""), json!("a\0"), json!("a\n"), json!("x".repeat(2049))]
        {
            check_claims(json!({name: value}), Err(JwtError::ClaimType));
        }
    }
}

#[test]
fn payloads_are_bounded_and_unambiguous() {
    check_claims_text(
        &format!(r#"{{"exp":{NOW},"exp":9999999999}}"#),
        JwtError::Json(JsonError::DuplicateKey),
    );
    check_claims_text(r#"{"a":{"b":1,"b":2}}"#, JwtError::Json(JsonError::DuplicateKey));
    check_claims_text(
        &format!("{{\"a\":{}1{}}}", "[".repeat(3000), "]".repeat(3000)),
        JwtError::Json(JsonError::TooDeep),
    );
    check_claims_text(
        &format!("{{\"a\":[1{}]}}", ",1".repeat(10_000)),
        JwtError::Json(JsonError::TooManyMembers),
    );
    check_claims_text("[]", JwtError::Json(JsonError::NotObject));
    check_claims_text("\u{feff}{}", JwtError::Json(JsonError::NotObject));
}

#[test]
fn kids_choose_keys_and_unknown_ones_are_told_apart() {
    let jwks = format!(
        r#"{{"keys":[{},{}]}}"#,
        r#"{"kty":"EC","crv":"P-256","kid":"other","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}"#,
        p256_jwk("mine", ""),
    );
    let set = KeySet::from_jwks(jwks.as_bytes()).unwrap();
    assert_eq!(set.len(), 2);
    let check = |kid: &str, answer: Result<(), JwtError>| {
        let header = format!(r#"{{"alg":"ES256","kid":{kid}}}"#);
        let token = sign_texts(Algorithm::ES256, &header, &claims().to_string());
        assert_eq!(verify(&token, &set, &JwtRules::default(), NOW).map(|_| ()), answer, "{kid}");
    };
    check(r#""mine""#, Ok(()));
    check(r#""other""#, Err(JwtError::Signature));
    for kid in [r#""new""#, r#""../../etc/passwd""#, r#""' OR 1=1 --""#, r#""mine\u0000""#, r#""MINE""#] {
        check(kid, Err(JwtError::UnknownKey));
    }
    let without = sign_texts(Algorithm::ES256, HEADER, &claims().to_string());
    assert!(verify(&without, &set, &JwtRules::default(), NOW).is_ok());
    // Keys from PEM have no kid and may be meant by any.
    let token = sign_texts(Algorithm::ES256, r#"{"alg":"ES256","kid":"x"}"#, &claims().to_string());
    assert!(verify(&token, &keys(), &JwtRules::default(), NOW).is_ok());
}

/// The test issuer's P-256 key as a JWK, with further members.
pub(super) fn p256_jwk(kid: &str, more: &str) -> String {
    let spki = pem_bytes(P256_PUB);
    let point = &spki[spki.len() - 64..];
    let (x, y) = (b64(&point[..32]), b64(&point[32..]));
    format!(r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","x":"{x}","y":"{y}"{more}}}"#)
}

#[test]
fn the_claimed_issuer_is_read_without_trust() {
    assert_eq!(claimed_issuer(&sign(&claims())), Ok(Some("https://issuer.test".to_owned())));
    assert_eq!(claimed_issuer(&sign(&with(claims(), json!({"iss": null})))), Ok(None));
    assert_eq!(claimed_issuer("a.b"), Err(JwtError::Shape));
}

#[test]
fn pointers_reach_keys_with_dots() {
    let jwt = verify(
        &sign(&with(pod_claims(), json!({"a/b": {"~": [1, "x"]}}))),
        &keys(),
        &JwtRules::default(),
        NOW,
    )
    .unwrap();
    assert_eq!(jwt.text("/kubernetes.io/namespace"), Some("apps"));
    assert_eq!(jwt.text("/a~1b/~0/1"), Some("x"));
    for absent in ["", "iss", "/a~1b/~0/2", "/iss/x", "/a~1b/~0/-1"] {
        assert_eq!(jwt.value(absent), None, "{absent}");
    }
}

proptest! {
    #[test]
    fn verification_is_total(token in "[A-Za-z0-9_.-]{0,80}") {
        let _ = verify(&token, &keys(), &JwtRules::default(), NOW);
        let _ = claimed_issuer(&token);
    }

    #[test]
    fn nothing_unsigned_passes(header in ".{0,40}", claims in ".{0,40}", signature in prop::collection::vec(any::<u8>(), 1..80)) {
        let token = format!("{}.{}.{}", b64(header), b64(claims), b64(signature));
        prop_assert!(verify(&token, &all_keys(), &JwtRules::default(), NOW).is_err());
    }
}
