#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use rand_core::UnwrapErr;
use serde_json::json;

use super::*;
use crate::identity::VerifiedIdentity;
use crate::identity::jwt::verify;
use crate::identity::kubernetes::{KubernetesConfig, KubernetesRole};
use crate::identity::testing::{NOW, keys as issuer_keys, pod_claims, sign, signer as test_key};
use crate::path::MountPath;
use crate::token::ttl::TtlLimits;

const ISSUER: &str = "https://symbolon.test";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn form(pairs: &[(&str, &str)]) -> Result<TokenRequest, OAuthError> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    parse(&pairs)
}

/// Shape A with further pairs.
fn exchange(more: &[(&str, &str)]) -> Result<TokenRequest, OAuthError> {
    let base = [("grant_type", EXCHANGE), ("subject_token", "a.b.c"), ("subject_token_type", JWT)];
    form(&[&base[..], more].concat())
}

fn check_code(answer: Result<TokenRequest, OAuthError>, code: &str) {
    assert_eq!(answer.err().map(|error| error.code()), Some(code));
}

fn identity() -> VerifiedIdentity {
    let role: KubernetesRole = serde_json::from_value(json!({
        "name": "eso", "bound_service_account_names": ["eso"], "bound_service_account_namespaces": ["apps"],
        "audience": ISSUER,
    }))
    .unwrap();
    let config = KubernetesConfig::default();
    let jwt = verify(&sign(&pod_claims()), &issuer_keys(), &config.rules(), NOW).unwrap();
    role.admit(&config, &jwt, None, NOW).unwrap()
}

fn rule() -> WorkloadRule {
    WorkloadRule {
        audiences: vec!["https://api.test".into(), "spiffe://td/ns/*".into()],
        scopes: vec!["read".into()],
    }
}

fn key(byte: u8, now: u64) -> SigningKey {
    SigningKey::first((&[byte; 32], &[byte; 32]), now)
}

#[test]
fn both_shapes_are_understood() {
    let a = exchange(&[("audience", "https://api.test"), ("scope", "read write read"), ("client_id", "x")])
        .unwrap();
    assert_eq!((a.shape(), a.evidence(), a.audience()), (Shape::TokenExchange, "a.b.c", "https://api.test"));
    assert_eq!(a.scopes(), ["read", "write"]);
    let b =
        form(&[("grant_type", BEARER), ("assertion", "d.e.f"), ("resource", "https://api.test")]).unwrap();
    assert_eq!((b.shape(), b.evidence(), b.scopes().len()), (Shape::JwtBearer, "d.e.f", 0));
}

#[test]
fn there_is_exactly_one_credential() {
    let audience = ("audience", "https://api.test");
    for extra in [
        "assertion",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "actor_token",
        "password",
        "refresh_token",
        "code",
    ] {
        check_code(exchange(&[audience, (extra, "x")]), "invalid_request");
    }
    for extra in ["subject_token", "subject_token_type", "client_secret", "client_assertion"] {
        check_code(
            form(&[("grant_type", BEARER), ("assertion", "a"), audience, (extra, "x")]),
            "invalid_request",
        );
    }
    check_code(form(&[("grant_type", BEARER), audience]), "invalid_request");
    check_code(form(&[("grant_type", EXCHANGE), ("subject_token_type", JWT), audience]), "invalid_request");
    check_code(form(&[("grant_type", EXCHANGE), ("subject_token", "a"), audience]), "invalid_request");
    check_code(
        form(&[("grant_type", EXCHANGE), ("subject_token", ""), ("subject_token_type", JWT), audience]),
        "invalid_request",
    );
}

#[test]
fn repeated_and_odd_parameters_are_refused() {
    let audience = ("audience", "https://api.test");
    check_code(exchange(&[audience, audience]), "invalid_request");
    check_code(exchange(&[audience, ("subject_token", "x.y.z")]), "invalid_request");
    check_code(exchange(&[audience, ("x", "1"), ("x", "1")]), "invalid_request");
    check_code(
        exchange(&[audience, ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")]),
        "invalid_request",
    );
    check_code(form(&[audience]), "invalid_request");
    check_code(form(&[("grant_type", "client_credentials"), audience]), "unsupported_grant_type");
    let many: Vec<_> = (0..40).map(|n| (n.to_string(), String::new())).collect();
    assert!(parse(&many).is_err());
}

#[test]
fn there_is_exactly_one_audience() {
    check_code(exchange(&[]), "invalid_request");
    check_code(exchange(&[("audience", "a"), ("resource", "https://a")]), "invalid_request");
    check_code(exchange(&[("resource", "no-uri")]), "invalid_target");
    let long = "a".repeat(513);
    for bad in ["a b", "a\n", "https://x/#f", "\u{e4}", "*", "a\"b", &long] {
        check_code(exchange(&[("audience", bad)]), "invalid_target");
    }
    for bad in ["a  b", " a", "a\"", "\u{e4}", &"a ".repeat(20), &"s".repeat(1025)] {
        check_code(exchange(&[("audience", "a"), ("scope", bad)]), "invalid_scope");
    }
}

#[test]
fn rules_allow_what_they_name() {
    let granted = |audience: &str, scope: &str| {
        let request = exchange(&[("audience", audience), ("scope", scope)]).unwrap();
        rule().grant(&request, &identity(), TtlLimits::of_mount(0, 0), NOW).map(|_| ())
    };
    assert_eq!(granted("https://api.test", "read"), Ok(()));
    assert_eq!(granted("spiffe://td/ns/a/b", ""), Ok(()));
    for bad in [
        "https://api.test/",
        "https://api.test.evil",
        "spiffe://td/ns/",
        "spiffe://td/ns",
        "spiffe://td/nsx",
        "spiffe://td/ns/../x",
        "spiffe://td/ns//x",
        "spiffe://td/ns/%2e%2e/x",
        "HTTPS://api.test",
    ] {
        assert_eq!(granted(bad, ""), Err(OAuthError::InvalidTarget), "{bad}");
    }
    assert_eq!(granted("https://api.test", "read write"), Err(OAuthError::InvalidScope));
    assert_eq!(rule().check(false), Ok(()));
    let nothing = WorkloadRule::default();
    let request = exchange(&[("audience", "a")]).unwrap();
    assert!(nothing.grant(&request, &identity(), TtlLimits::of_mount(0, 0), NOW).is_err());
    for bad in ["*", "/*", "https://*", "https:///*", "a*", "a/*/b", "", "a b"] {
        let rule = WorkloadRule { audiences: vec![bad.into()], scopes: vec![] };
        assert_eq!(rule.check(false), Err(RuleError::Audience), "{bad}");
    }
    let two_words = WorkloadRule { audiences: vec![], scopes: vec!["a b".into()] };
    assert_eq!(two_words.check(false), Err(RuleError::Scope));
}

fn unsigned(now: u64) -> Result<UnsignedToken, OAuthError> {
    let request = exchange(&[("audience", "https://api.test"), ("scope", "read")]).unwrap();
    let granted = rule().grant(&request, &identity(), TtlLimits::of_mount(0, 0), now)?;
    let mount = MountPath::parse("kubernetes").unwrap();
    UnsignedToken::prepare(
        ISSUER,
        &mount,
        &identity(),
        granted,
        &key(1, NOW),
        now,
        &mut UnwrapErr(getrandom::SysRng),
    )
}

#[test]
fn a_workload_token_is_rfc_9068() {
    let unsigned = unsigned(NOW).unwrap();
    let signature =
        jsonwebtoken::crypto::sign(unsigned.signing_input(), &test_key(Algorithm::ES256), Algorithm::ES256)
            .unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let token = unsigned.with_signature(&signature).unwrap();
    let parts: Vec<_> = token.expose().split('.').collect();
    let part = |index: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[index]).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"alg": "ES256", "typ": "at+jwt", "kid": key(1, NOW).kid()}));
    let claims = part(1);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], "kubernetes:system:serviceaccount:apps:eso");
    assert_eq!(claims["client_id"], claims["sub"]);
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!("https://api.test"), &json!("read")));
    assert_eq!(
        (&claims["iat"], &claims["nbf"], &claims["exp"]),
        (&json!(NOW), &json!(NOW - 5), &json!(NOW + 300))
    );
    assert_eq!(claims["symbolon.attrs"]["pod_uid"], "pod-uid");
    assert_eq!(claims["jti"], token.jti());
    // An independent library verifies it.
    let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
    validation.set_audience(&["https://api.test"]);
    validation.validate_exp = false;
    let verifier =
        jsonwebtoken::DecodingKey::from_ec_pem(crate::identity::testing::P256_PUB.as_bytes()).unwrap();
    assert!(jsonwebtoken::decode::<Value>(token.expose(), &verifier, &validation).is_ok());
    let body = token.body();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(300)));
    assert_eq!(body["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    // Our own tokens are no evidence: their type is another.
    assert!(verify(token.expose(), &issuer_keys(), &KubernetesConfig::default().rules(), NOW).is_err());
}

#[test]
fn a_token_never_outlives_its_evidence() {
    assert_eq!(unsigned(NOW + 500).unwrap().with_signature(&[1; 64]).unwrap().expires_in(), 100);
    assert_eq!(unsigned(NOW + 600).unwrap_err(), OAuthError::InvalidGrant);
    assert_eq!(unsigned(NOW).unwrap().with_signature(&[1; 63]).err(), Some(BadSignature));
    assert_ne!(unsigned(NOW).unwrap().signing_input(), unsigned(NOW).unwrap().signing_input());
}

#[test]
fn evidence_for_others_is_refused() {
    let check = |audiences: &[&str]| {
        let audiences: Vec<_> = audiences.iter().map(|text| (*text).to_owned()).collect();
        evidence_is_for(&audiences, ISSUER).is_ok()
    };
    assert!(check(&[ISSUER]));
    for bad in [&[][..], &["vault"], &["https://symbolon.test/"], &[ISSUER, "https://other.test"]] {
        assert!(!check(bad), "{bad:?}");
    }
}

#[test]
fn errors_have_their_codes() {
    assert_eq!(
        OAuthError::InvalidTarget.body(),
        json!({"error": "invalid_target", "error_description": "the requested audience is malformed or not allowed"})
    );
    assert_eq!((OAuthError::TemporarilyUnavailable.status(), OAuthError::InvalidGrant.status()), (503, 400));
}

#[test]
fn documents_agree_with_the_routes() {
    let document = discovery(ISSUER);
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(document["token_endpoint"], "https://symbolon.test/oauth2/token");
    assert_eq!(document["client_id_metadata_document_supported"], false);
    let set = jwks(&[key(1, NOW)], &KeyPolicy::default(), NOW);
    assert_eq!(set["keys"][0]["kid"], key(1, NOW).kid());
    assert!(set["keys"][0].get("d").is_none());
    // A JWK set of ours is one that we would accept.
    let real =
        r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"k","x":"AA","y":"AA"}]}"#;
    assert!(crate::identity::keys::KeySet::from_jwks(real.as_bytes()).unwrap().is_empty());
    assert_eq!(crate::identity::keys::KeySet::from_jwks(set.to_string().as_bytes()).unwrap().len(), 1);
}

#[test]
fn thumbprints_are_those_of_rfc_7638() {
    // The P-256 example of RFC 7517 appendix A.1, thumbprint computed with an independent tool.
    let decode = |text: &str| -> [u8; 32] { URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap() };
    let x = decode("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4");
    let y = decode("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
    assert_eq!(SigningKey::first((&x, &y), 0).kid(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
}

#[test]
fn keys_follow_each_other() {
    let policy = KeyPolicy::default();
    let day = 86_400;
    let first = key(1, 0);
    let keys = vec![first.clone()];
    assert!(!wants_new_key(&keys, &policy, 15 * day - 1));
    assert!(wants_new_key(&keys, &policy, 15 * day));
    let second = SigningKey::next((&[2; 32], &[2; 32]), &keys, &policy, 15 * day);
    assert_eq!(second.signs_from(), 25 * day);
    let keys = vec![first.clone(), second.clone()];
    assert!(!wants_new_key(&keys, &policy, 20 * day));
    let names = |now| published(&keys, &policy, now).map(SigningKey::kid).collect::<Vec<_>>();
    assert_eq!(names(15 * day), [first.kid(), second.kid()]);
    assert_eq!(signer(&keys, 25 * day - 1), Some(&first));
    assert_eq!(signer(&keys, 25 * day), Some(&second));
    assert_eq!(
        names(25 * day + 359),
        [first.kid(), second.kid()],
        "the last token of the first key still lives"
    );
    assert_eq!(names(25 * day + 360), [second.kid()]);
    assert!(wants_new_key(&keys, &policy, 40 * day));

    assert!(wants_new_key(&[], &policy, 0));
    assert_eq!(signer(&[], 0), None);
    let late = SigningKey::next((&[3; 32], &[3; 32]), &keys, &policy, 100 * day);
    assert_eq!(late.signs_from(), 101 * day, "published for a day even when overdue");
    assert_eq!(SigningKey::urgent((&[4; 32], &[4; 32]), 50).signs_from(), 650);
    let hasty = KeyPolicy { life_secs: 0, wait_secs: 0, skew_secs: u64::MAX }.sane();
    assert_eq!((hasty.life_secs, hasty.wait_secs, hasty.skew_secs), (1800, 600, 3600));
}

proptest! {
    /// A broker that looks every hour for a year and rotates when told: whoever signs is published, has been
    /// for the wait, stays for the life of its last token, and the set does not grow.
    #[test]
    fn the_schedule_never_breaks_a_verifier(life_days in 1u64..60, wait_hours in 0u64..100) {
        let policy = KeyPolicy { life_secs: life_days * 86_400, wait_secs: wait_hours * 3600, skew_secs: 60 }.sane();
        let mut keys = vec![key(0, 0)];
        let mut recent: Vec<(u64, String)> = Vec::new();
        for hour in 0..365 * 24u64 {
            let now = hour * 3600 + 7;
            if wants_new_key(&keys, &policy, now) {
                let bytes = [u8::try_from(keys.len() % 250).unwrap(), hour.to_be_bytes()[7], hour.to_be_bytes()[6]];
                let mut x = [9; 32];
                x[..3].copy_from_slice(&bytes);
                let next = SigningKey::next((&x, &x), &keys, &policy, now);
                keys.push(next);
            }
            let shown: BTreeSet<_> = published(&keys, &policy, now).map(|key| key.kid().to_owned()).collect();
            prop_assert!(shown.len() <= 3);
            let current = signer(&keys, now).unwrap();
            prop_assert!(shown.contains(current.kid()));
            prop_assert!(current.signs_from() == 0 || current.signs_from() <= now);
            recent.retain(|(at, _)| at + TOKEN_SECS_MAX + 60 > now);
            recent.push((now, current.kid().to_owned()));
            prop_assert!(recent.iter().all(|(_, kid)| shown.contains(kid)));
            let kept: Vec<_> = published(&keys, &policy, now).cloned().collect();
            keys = kept;
        }
    }
}
