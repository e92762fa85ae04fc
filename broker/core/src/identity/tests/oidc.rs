use std::collections::BTreeMap;

use serde_json::{Value, json};
use symbolon_proto::id::TenantId;

use crate::identity::jwt::{JwtError, verify};
use crate::identity::jwt_role::{
    BoundClaimsType, JwtConfig, JwtConfigError, JwtRefusal, JwtRole, JwtRoleError,
};
use crate::identity::leeway::LeewayError;
use crate::identity::testing::*;
use crate::identity::{IssuedKind, VerifiedIdentity};
use crate::oauth::WorkloadRule;
use crate::path::{MountPath, PolicyName, RoleName};
use crate::token::ttl::TtlLimits;
use crate::token::{TokenParams, TokenType};

fn config() -> JwtConfig {
    JwtConfig {
        jwt_validation_pubkeys: vec![P256_PUB.into()],
        bound_issuer: "https://issuer.test".into(),
        ..JwtConfig::default()
    }
}

fn role() -> JwtRole {
    JwtRole {
        name: RoleName::parse("ci").unwrap(),
        user_claim: "sub".into(),
        user_claim_json_pointer: false,
        bound_audiences: vec!["symbolon".into()],
        bound_subject: String::new(),
        bound_claims: BTreeMap::new(),
        bound_claims_type: BoundClaimsType::String,
        claim_mappings: BTreeMap::new(),
        groups_claim: String::new(),
        expiration_leeway: 0,
        not_before_leeway: 0,
        clock_skew_leeway: 0,
        accepted_typ: vec![],
        workload: WorkloadRule::default(),
        token: TokenParams {
            token_policies: vec![PolicyName::parse("ci").unwrap()],
            ..TokenParams::default()
        },
    }
}

fn login(role: &JwtRole, changes: Value) -> Result<VerifiedIdentity, JwtRefusal> {
    let jwt = verify(&sign(&with(claims(), changes)), &keys(), &role.rules(&config()), NOW)?;
    role.admit(&config(), &jwt, None)
}

fn check(role: &JwtRole, changes: Value, answer: Result<(), JwtRefusal>) {
    assert_eq!(login(role, changes.clone()).map(|_| ()), answer, "{changes}");
}

#[test]
fn issuer_audience_and_subject() {
    check(&role(), json!({}), Ok(()));
    check(&role(), json!({"aud": ["other", "symbolon"]}), Ok(()));
    check(&role(), json!({"aud": "other"}), Err(JwtRefusal::Audience));
    check(&role(), json!({"aud": null}), Err(JwtRefusal::Audience));
    check(&role(), json!({"iss": "https://issuer.test/"}), Err(JwtRefusal::Issuer));
    check(&role(), json!({"iss": null}), Err(JwtRefusal::Issuer));
    check(&role(), json!({"exp": NOW - 600}), Err(JwtRefusal::Jwt(JwtError::Expired)));
    let subject = JwtRole { bound_audiences: vec![], bound_subject: "alice".into(), ..role() };
    check(&subject, json!({}), Err(JwtRefusal::AudienceUnbound));
    check(&subject, json!({"aud": null}), Ok(()));
    check(&subject, json!({"aud": null, "sub": "Alice"}), Err(JwtRefusal::Subject));
    assert_eq!(
        JwtRefusal::AudienceUnbound.to_string(),
        "audience claim found in JWT but no audiences bound to the role"
    );
}

#[test]
fn bound_claims() {
    let bound = |claim: &str, values: Value, glob| JwtRole {
        bound_claims: BTreeMap::from([(claim.to_owned(), values)]),
        bound_claims_type: if glob { BoundClaimsType::Glob } else { BoundClaimsType::String },
        ..role()
    };
    let exact = bound("repository", json!(["acme/web", "acme/api"]), false);
    check(&exact, json!({"repository": "acme/api"}), Ok(()));
    check(&exact, json!({"repository": ["x", "acme/web"]}), Ok(()));
    for bad in [
        json!({}),
        json!({"repository": "acme/*"}),
        json!({"repository": "acme/web2"}),
        json!({"repository": []}),
    ] {
        check(&exact, bad, Err(JwtRefusal::BoundClaim));
    }
    let glob = bound("/deep/ref.name", json!(["refs/heads/*"]), true);
    check(&glob, json!({"deep": {"ref.name": "refs/heads/main"}}), Ok(()));
    check(&glob, json!({"deep": {"ref.name": "refs/tags/v1"}}), Err(JwtRefusal::BoundClaim));
    check(&glob, json!({"deep": {"ref.name": 1}}), Err(JwtRefusal::BoundClaim));
    let number = bound("id", json!([7, true]), false);
    check(&number, json!({"id": 7}), Ok(()));
    check(&number, json!({"id": true}), Ok(()));
    check(&number, json!({"id": "7"}), Err(JwtRefusal::BoundClaim));
    let star = bound("x", json!(["*"]), false);
    check(&star, json!({"x": "anything"}), Err(JwtRefusal::BoundClaim));
}

/// By their value, whatever their spelling.
#[test]
fn bound_numbers_are_compared_exactly() {
    let bound = |literal: &str| JwtRole {
        bound_claims: serde_json::from_str(&format!(r#"{{"n":[{literal}]}}"#)).unwrap(),
        ..role()
    };
    let check = |literal: &str, found: &str, answer: Result<(), JwtRefusal>| {
        let found: Value = serde_json::from_str(found).unwrap();
        check(&bound(literal), json!({ "n": found }), answer);
    };
    for same in ["42", "42.0", "4.2e1", "420E-1"] {
        check("42", same, Ok(()));
        check(same, "42", Ok(()));
    }
    for (literal, other) in
        [("42", "42.9"), ("42", "41.99999999999999999"), ("9007199254740993", "9007199254740992")]
    {
        check(literal, other, Err(JwtRefusal::BoundClaim));
        check(other, literal, Err(JwtRefusal::BoundClaim));
    }
    check("42", "\"42\"", Err(JwtRefusal::BoundClaim));
}

/// RFC 9068 has access tokens say what they are; whoever wants them says so.
#[test]
fn a_role_says_which_typ_it_accepts() {
    let login = |accepted: &[&str], header: &str| {
        let accepted_typ: Vec<String> = accepted.iter().map(|typ| (*typ).to_owned()).collect();
        let role = JwtRole { accepted_typ, ..role() };
        assert_eq!(role.check(), Ok(()));
        let token = sign_texts(jsonwebtoken::Algorithm::ES256, header, &claims().to_string());
        verify(&token, &keys(), &role.rules(&config()), NOW).map(drop)
    };
    let (none, jwt, access) =
        (r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","typ":"jwt"}"#, r#"{"alg":"ES256","typ":"at+JWT"}"#);
    let long = r#"{"alg":"ES256","typ":"application/at+jwt"}"#;
    let refused = Err(JwtError::Typ);
    assert_eq!(
        [none, jwt, access, long].map(|header| login(&[], header)),
        [Ok(()), Ok(()), refused, refused]
    );
    let at = |header| login(&["at+jwt"], header);
    assert_eq!([none, jwt, access, long].map(at), [refused, refused, Ok(()), Ok(())]);
    let both = |header| login(&["application/at+jwt", "JWT"], header);
    assert_eq!([none, jwt, access, long].map(both), [Ok(()); 4]);
    assert!(JwtError::Typ.to_string().contains("typ"));
    let bad = JwtRole { accepted_typ: vec!["a b".into()], ..role() };
    assert_eq!(bad.check(), Err(JwtRoleError::Typ));
}

#[test]
fn users_and_metadata() {
    let mapped = JwtRole {
        user_claim: "/who/email".into(),
        user_claim_json_pointer: true,
        claim_mappings: BTreeMap::from([
            ("project".into(), "project_id".into()),
            ("none".into(), "n".into()),
        ]),
        ..role()
    };
    let identity = login(&mapped, json!({"who": {"email": "a@x"}, "project": "p1"})).unwrap();
    assert_eq!((identity.alias(), identity.subject()), ("a@x", "alice"));
    let meta: Vec<_> = identity.meta().iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(meta, ["project_id=p1", "role=ci"]);
    check(&mapped, json!({}), Err(JwtRefusal::UserClaim));
    check(&mapped, json!({"who": {"email": ["a"]}}), Err(JwtRefusal::UserClaim));
    check(&mapped, json!({"who": {"email": "a\u{7}"}}), Err(JwtRefusal::UserClaim));
    check(&mapped, json!({"who": {"email": "a"}, "project": 7}), Err(JwtRefusal::Mapping));
    check(&mapped, json!({"who": {"email": "a"}, "project": "p".repeat(5000)}), Err(JwtRefusal::Mapping));
}

#[test]
fn leeways() {
    let expired = |role: &JwtRole, ago: u64| login(role, json!({"exp": NOW - ago})).is_ok();
    assert!(expired(&role(), 59) && !expired(&role(), 60));
    let none = JwtRole { expiration_leeway: -1, ..role() };
    assert!(!expired(&none, 0));
    let lax = JwtRole { expiration_leeway: 100, clock_skew_leeway: 20, ..role() };
    assert!(expired(&lax, 119) && !expired(&lax, 120));
    let ahead = |role: &JwtRole, by: u64| login(role, json!({"nbf": NOW + by, "iat": NOW + by})).is_ok();
    assert!(ahead(&role(), 60) && !ahead(&role(), 61));
    let early = JwtRole { not_before_leeway: 100, ..role() };
    assert!(ahead(&early, 100) && !ahead(&early, 101));
    let most = JwtRole { expiration_leeway: 300, clock_skew_leeway: 300, ..role() };
    assert!(expired(&most, 299) && !expired(&most, 300), "never more than the longest");
}

/// Rows of earlier versions have lists for single values, and none of the newer settings.
#[test]
fn a_role_of_an_earlier_version_is_read() {
    let old = r#"{"name":"ci","user_claim":"sub","bound_audiences":["symbolon"],"bound_claims":{"a":["b"],"n":[1.0]}}"#;
    let role: JwtRole = serde_json::from_str(old).unwrap();
    assert_eq!(role.check(), Ok(()));
    check(&role, json!({"a": "b", "n": 1}), Ok(()));
    check(&role, json!({"a": "c", "n": 1}), Err(JwtRefusal::BoundClaim));
    let again: JwtRole = serde_json::from_str(&serde_json::to_string(&role).unwrap()).unwrap();
    assert_eq!(again, role);
}

#[test]
fn roles_and_configurations_are_checked() {
    assert_eq!(role().check(), Ok(()));
    let refused = |role: JwtRole| role.check().unwrap_err();
    assert_eq!(refused(JwtRole { user_claim: String::new(), ..role() }), JwtRoleError::NoUserClaim);
    assert_eq!(refused(JwtRole { bound_audiences: vec![], ..role() }), JwtRoleError::Unbound);
    let by_claim = |pattern: &str, bound_claims_type| JwtRole {
        bound_audiences: vec![],
        bound_claims: BTreeMap::from([("sub".to_owned(), json!([pattern]))]),
        bound_claims_type,
        ..role()
    };
    for everything in ["*", "**"] {
        assert_eq!(
            refused(by_claim(everything, BoundClaimsType::Glob)),
            JwtRoleError::Unbound,
            "{everything}"
        );
        assert_eq!(by_claim(everything, BoundClaimsType::String).check(), Ok(()), "a text with stars");
    }
    assert_eq!(by_claim("a*", BoundClaimsType::Glob).check(), Ok(()));
    let map =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(
        refused(JwtRole { claim_mappings: map(&[("a", "role")]), ..role() }),
        JwtRoleError::ReservedMapping
    );
    assert_eq!(
        refused(JwtRole { claim_mappings: map(&[("a", "x"), ("b", "x")]), ..role() }),
        JwtRoleError::DuplicateMapping
    );
    let bound = |values: Value| JwtRole { bound_claims: BTreeMap::from([("a".into(), values)]), ..role() };
    for unfit in [json!([]), json!([{}]), json!({}), json!(null), json!([["b"]])] {
        assert_eq!(refused(bound(unfit)), JwtRoleError::BoundValue);
    }
    assert_eq!(bound(json!("b")).check(), Ok(()));
    assert_eq!(refused(JwtRole { expiration_leeway: 301, ..role() }), JwtRoleError::Leeway(LeewayError));
    assert_eq!(refused(JwtRole { bound_audiences: vec!["a".into(); 65], ..role() }), JwtRoleError::TooMany);

    assert_eq!(config().check(), Ok(()));
    assert_eq!(JwtConfig::default().check(), Err(JwtConfigError::Sources));
    let two = JwtConfig { jwks_url: "https://x.test".into(), ..config() };
    assert_eq!(two.check(), Err(JwtConfigError::Sources));
    let hmac = JwtConfig { jwt_supported_algs: vec!["HS256".into()], ..config() };
    assert_eq!(hmac.check(), Err(JwtConfigError::Algorithm));
    let discovery = JwtConfig { oidc_discovery_url: "https://d.test".into(), ..JwtConfig::default() };
    assert_eq!(discovery.issuer(), Some("https://d.test"));
}

#[test]
fn identities_become_tokens() {
    let tenant = TenantId::from_bytes([1; 16]);
    let mount = MountPath::parse("team/jwt").unwrap();
    let limits = TtlLimits::of_mount(0, 0);
    let identity = login(&role(), json!({})).unwrap();
    let issued = identity.issue(tenant, &mount, TokenType::DefaultBatch, limits, NOW).unwrap();
    let IssuedKind::Machine(machine) = issued.token else { panic!("expected a machine token") };
    let caller = machine.caller();
    assert_eq!(caller.display_name, "team-jwt-alice");
    assert_eq!(caller.path, "auth/team/jwt/login");
    assert_eq!(caller.creation_ttl_secs, 600, "no longer than the evidence");
    let policies: Vec<_> = caller.policies.iter().map(PolicyName::as_str).collect();
    assert_eq!(policies, ["ci", "default"]);

    let mut long = role();
    long.token = TokenParams { token_type: TokenType::Service, token_ttl: 7200, ..long.token };
    let issued =
        login(&long, json!({})).unwrap().issue(tenant, &mount, TokenType::DefaultBatch, limits, NOW).unwrap();
    let IssuedKind::Service(claims) = issued.token else { panic!("expected a service token") };
    assert_eq!((claims.ttl_secs, claims.renewable, claims.orphan), (7200, true, true));
}
