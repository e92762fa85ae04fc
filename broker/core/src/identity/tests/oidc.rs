use std::collections::BTreeMap;

use serde_json::{Value, json};
use symbolon_proto::id::TenantId;

use crate::identity::jwt::{JwtError, verify};
use crate::identity::jwt_role::{
    BoundClaimsType, JwtConfig, JwtConfigError, JwtRefusal, JwtRole, JwtRoleError,
};
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
    check(&role(), json!({"exp": NOW - 60}), Err(JwtRefusal::Jwt(JwtError::Expired)));
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
        bound_claims: BTreeMap::from([(claim.to_owned(), serde_json::from_value(values).unwrap())]),
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
    assert!(expired(&role(), 9) && !expired(&role(), 10));
    let none = JwtRole { expiration_leeway: -1, ..role() };
    assert!(!expired(&none, 0));
    let lax = JwtRole { expiration_leeway: 100, clock_skew_leeway: 20, ..role() };
    assert!(expired(&lax, 119) && !expired(&lax, 120));
}

#[test]
fn roles_and_configurations_are_checked() {
    assert_eq!(role().check(), Ok(()));
    let refused = |role: JwtRole| role.check().unwrap_err();
    assert_eq!(refused(JwtRole { user_claim: String::new(), ..role() }), JwtRoleError::NoUserClaim);
    assert_eq!(refused(JwtRole { bound_audiences: vec![], ..role() }), JwtRoleError::Unbound);
    let by_claim = |pattern: &str, bound_claims_type| JwtRole {
        bound_audiences: vec![],
        bound_claims: BTreeMap::from([("sub".to_owned(), vec![json!(pattern)])]),
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
    let bound =
        |values: Vec<Value>| JwtRole { bound_claims: BTreeMap::from([("a".into(), values)]), ..role() };
    assert_eq!(refused(bound(vec![])), JwtRoleError::BoundValue);
    assert_eq!(refused(bound(vec![json!({})])), JwtRoleError::BoundValue);
    assert_eq!(refused(JwtRole { expiration_leeway: 301, ..role() }), JwtRoleError::Leeway);
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
