//! Every way in, against every bound that a role may have.

use std::net::IpAddr;

use rand_core::UnwrapErr;
use serde_json::{Value, json};
use symbolon_proto::id::TenantId;

use crate::identity::approle::{AppRole, AppRoleError, AppRoleRefusal, SecretIdRecord, SecretIdRequest};
use crate::identity::jwt::verify;
use crate::identity::jwt_role::{JwtConfig, JwtRole, JwtRoleError};
use crate::identity::kubernetes::{KubernetesConfig, KubernetesRole, KubernetesRoleError};
use crate::identity::testing::*;
use crate::identity::userpass::{self, PasswordCost, PasswordHash, User};
use crate::identity::{IssuedKind, OutOfBounds, VerifiedIdentity};
use crate::oauth::{OAuthError, RuleError, SigningKey, TOKEN_SECS_MAX, UnsignedToken, WorkloadRule, parse};
use crate::path::{MountPath, UserName};
use crate::token::ttl::TtlLimits;
use crate::token::{CidrList, TokenClaims, TokenParams, TokenType};

type Remote = Option<IpAddr>;
type Admit = fn(&TokenParams, Remote) -> Result<VerifiedIdentity, String>;

const METHODS: [(&str, Admit); 5] = [
    ("approle", approle),
    ("approle without secret id", approle_by_address),
    ("jwt", jwt),
    ("kubernetes", kubernetes),
    ("userpass", userpass),
];

/// Methods whose evidence the token endpoint takes, by either grant.
const WORKLOADS: [(&str, Admit); 2] = [("jwt", jwt), ("kubernetes", kubernetes)];

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn role(params: &TokenParams, more: Value) -> AppRole {
    let base = json!({"name": "r", "role_id": "id", "bind_secret_id": true, "token": params});
    serde_json::from_value(with(base, more)).unwrap()
}

fn secret_id(role: &AppRole, more: Value) -> SecretIdRecord {
    let fresh = role.secret_id(&SecretIdRequest::default(), "h".into(), "a".into(), NOW).unwrap();
    serde_json::from_value(with(serde_json::to_value(fresh).unwrap(), more)).unwrap()
}

fn approle(params: &TokenParams, remote: Remote) -> Result<VerifiedIdentity, String> {
    let role = role(params, json!({}));
    let record = secret_id(&role, json!({}));
    role.admit(Some(&record), remote, NOW).map(|(identity, _)| identity).map_err(text)
}

fn approle_by_address(params: &TokenParams, remote: Remote) -> Result<VerifiedIdentity, String> {
    let role = role(params, json!({"bind_secret_id": false}));
    role.admit(None, remote, NOW).map(|(identity, _)| identity).map_err(text)
}

fn jwt(params: &TokenParams, remote: Remote) -> Result<VerifiedIdentity, String> {
    let role: JwtRole = serde_json::from_value(json!({
        "name": "r", "user_claim": "sub", "bound_audiences": ["symbolon"], "token": params,
    }))
    .unwrap();
    let config = JwtConfig { jwt_validation_pubkeys: vec![P256_PUB.into()], ..JwtConfig::default() };
    let jwt = verify(&sign(&claims()), &keys(), &role.rules(&config), NOW).unwrap();
    role.admit(&config, &jwt, remote).map_err(text)
}

fn kubernetes(params: &TokenParams, remote: Remote) -> Result<VerifiedIdentity, String> {
    let role: KubernetesRole = serde_json::from_value(json!({
        "name": "r", "bound_service_account_names": ["eso"], "bound_service_account_namespaces": ["apps"],
        "audience": "https://symbolon.test", "token": params,
    }))
    .unwrap();
    let config = KubernetesConfig::default();
    let jwt = verify(&sign(&pod_claims()), &keys(), &config.rules(), NOW).unwrap();
    role.admit(&config, &jwt, remote, NOW).map_err(text)
}

fn userpass(params: &TokenParams, remote: Remote) -> Result<VerifiedIdentity, String> {
    let password = PasswordHash::with_salt("pw", [7; 16], PasswordCost::default()).unwrap();
    let user = User { name: UserName::parse("ana").unwrap(), password, token: params.clone() };
    userpass::admit(Some(&user), "pw", remote).map_err(text)
}

fn cidrs(text: &str) -> CidrList {
    CidrList::parse(&[text]).unwrap()
}

fn at(text: &str) -> Remote {
    Some(text.parse().unwrap())
}

fn params(params: Value) -> TokenParams {
    serde_json::from_value(params).unwrap()
}

/// The claims of a service token of a mount whose tokens live for half an hour, and an hour at most.
fn issued(identity: &VerifiedIdentity) -> TokenClaims {
    issued_through("m", identity)
}

fn issued_through(mount: &str, identity: &VerifiedIdentity) -> TokenClaims {
    let (mount, limits) = (MountPath::parse(mount).unwrap(), TtlLimits::of_mount(1800, 3600));
    let issued = identity.issue(TenantId::SYSTEM, &mount, TokenType::DefaultService, limits, NOW).unwrap();
    let IssuedKind::Service(claims) = issued.token else { panic!("expected a service token") };
    claims
}

#[test]
fn every_method_admits_from_the_addresses_of_its_role_only() {
    let bound = params(json!({"token_bound_cidrs": ["10.0.0.0/8"]}));
    for (name, admit) in METHODS {
        let refused = Err(OutOfBounds.to_string());
        assert!(admit(&bound, at("10.1.1.1")).is_ok(), "{name}");
        for elsewhere in [at("11.1.1.1"), at("::1"), None] {
            assert_eq!(admit(&bound, elsewhere), refused, "{name} from {elsewhere:?}");
        }
        assert!(admit(&TokenParams::default(), None).is_ok(), "{name} without a bound");
    }
}

/// Two clusters, or two forges, have the same names for different people.
#[test]
fn people_of_two_mounts_are_told_apart() {
    for (name, admit) in METHODS {
        let identity = admit(&TokenParams::default(), None).unwrap();
        let [one, other] = ["eu/k8s", "us/k8s"].map(|mount| issued_through(mount, &identity).who.unwrap());
        assert_eq!((one.mount.as_str(), other.mount.as_str()), ("auth/eu/k8s", "auth/us/k8s"), "{name}");
        assert_eq!((&one.method, &one.subject), (&other.method, &other.subject), "{name}");
        assert_eq!(*one, *identity.actor(&MountPath::parse("eu/k8s").unwrap()), "{name}");
    }
}

#[test]
fn every_method_issues_within_every_bound_of_its_role() {
    for (name, admit) in METHODS {
        let of = |role: Value| issued(&admit(&params(role), at("10.1.1.1")).unwrap());
        assert_eq!(of(json!({})).ttl_secs, 1800, "{name}: the mount's default");
        assert_eq!(of(json!({"token_ttl": 60})).ttl_secs, 60, "{name}");
        assert_eq!(of(json!({"token_ttl": 9000})).ttl_secs, 3600, "{name}: the mount's maximum");
        let brief = of(json!({"token_max_ttl": 70}));
        assert_eq!((brief.ttl_secs, brief.max_ttl_secs), (70, 70), "{name}");
        let brief = of(json!({"token_explicit_max_ttl": 80}));
        assert_eq!((brief.ttl_secs, brief.explicit_max_ttl_secs), (80, 80), "{name}");
        let periodic = of(json!({"token_period": 90, "token_explicit_max_ttl": 85}));
        assert_eq!((periodic.ttl_secs, periodic.period_secs), (85, 90), "{name}");
        assert_eq!(of(json!({"token_num_uses": 3})).num_uses, 3, "{name}");
        let bound = of(json!({"token_bound_cidrs": ["10.0.0.0/8"]})).bound_cidrs;
        assert_eq!(bound, cidrs("10.0.0.0/8"), "{name}");
        let policies = of(json!({"token_policies": ["p"], "token_no_default_policy": true})).policies;
        assert_eq!(policies.len(), 1, "{name}");
    }
}

/// Seconds that a workload token gets, by either grant.
fn workload_secs(admit: Admit, role: Value) -> Result<u64, OAuthError> {
    let identity = admit(&params(role), at("10.1.1.1")).unwrap();
    let grants = [
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", "a.b.c"),
        ][..],
        &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", "a.b.c")],
    ];
    let got = grants.map(|grant| {
        let pairs = grant.iter().chain(&[("audience", "https://api.test")]);
        let pairs: Vec<_> = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let rule = WorkloadRule { audiences: vec!["https://api.test".into()], scopes: Vec::new() };
        let request = parse(&pairs).unwrap();
        let granted = rule.grant(&request, &identity, TtlLimits::of_mount(0, 200), NOW)?;
        let (mount, key) = (MountPath::parse("m").unwrap(), SigningKey::first((&[1; 32], &[1; 32]), NOW));
        let mut rng = UnwrapErr(getrandom::SysRng);
        let unsigned = UnsignedToken::prepare("i", &mount, &identity, granted, &key, NOW, &mut rng)?;
        Ok(unsigned.with_signature(&[1; 64]).unwrap().expires_in())
    });
    assert_eq!(got[0], got[1]);
    got[0]
}

#[test]
fn workload_tokens_keep_every_bound_of_the_role() {
    const { assert!(TOKEN_SECS_MAX > 200) };
    for (name, admit) in WORKLOADS {
        assert_eq!(workload_secs(admit, json!({})), Ok(200), "{name}: the mount's maximum");
        for bound in ["token_ttl", "token_max_ttl", "token_explicit_max_ttl", "token_period"] {
            let mut role = json!({});
            role[bound] = json!(60);
            assert_eq!(workload_secs(admit, role), Ok(60), "{name}: {bound}");
        }
        let counted = workload_secs(admit, json!({"token_num_uses": 3}));
        assert_eq!(counted, Err(OAuthError::InvalidGrant), "{name}: nobody counts a signed token");
        assert!(workload_secs(admit, json!({"token_bound_cidrs": ["10.0.0.0/8"]})).is_ok(), "{name}");
    }
}

#[test]
fn a_role_that_counts_has_no_workload_audiences() {
    let (token, workload) = (json!({"token_num_uses": 1}), json!({"audiences": ["https://api.test"]}));
    let jwt: JwtRole = serde_json::from_value(json!({
        "name": "r", "user_claim": "sub", "bound_subject": "x", "token": token, "workload": workload,
    }))
    .unwrap();
    assert_eq!(jwt.check(), Err(JwtRoleError::Workload(RuleError::Counted)));
    let kubernetes: KubernetesRole = serde_json::from_value(json!({
        "name": "r", "bound_service_account_names": ["a"], "bound_service_account_namespaces": ["b"],
        "token": token, "workload": workload,
    }))
    .unwrap();
    assert_eq!(kubernetes.check(), Err(KubernetesRoleError::Workload(RuleError::Counted)));
}

#[test]
fn a_secret_id_is_made_within_its_role() {
    let both = json!({"secret_id_bound_cidrs": ["127.0.0.0/8"]});
    let bound = role(&params(json!({"token_bound_cidrs": ["127.0.0.0/8"]})), both);
    let free = role(&TokenParams::default(), json!({}));
    let make = |role: &AppRole, logins: &str, tokens: &str| {
        let parse = |text: &str| if text.is_empty() { CidrList::default() } else { cidrs(text) };
        let (cidr_list, token_bound_cidrs) = (parse(logins), parse(tokens));
        let request = SecretIdRequest { cidr_list, token_bound_cidrs, ..SecretIdRequest::default() };
        role.secret_id(&request, "h".into(), "a".into(), NOW).map(|_| ())
    };
    for wide in ["0.0.0.0/0", "10.0.0.0/8", "127.0.0.0/7", "::/0", "::ffff:127.0.0.0/8"] {
        assert_eq!(make(&bound, wide, ""), Err(AppRoleError::Addresses), "cidr_list {wide}");
        assert_eq!(make(&bound, "", wide), Err(AppRoleError::Addresses), "token_bound_cidrs {wide}");
        assert_eq!(make(&free, wide, wide), Ok(()), "a role without a bound");
    }
    assert_eq!(make(&bound, "127.0.0.0/8", "127.1.0.0/16"), Ok(()));
    assert_eq!(make(&bound, "", ""), Ok(()), "the role's own");
}

#[test]
fn what_openbao_refuses_is_refused() {
    let recorded = include_str!("../testdata/openbao-secret-id-cidrs.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let (written, asked) = recorded["calls"].as_array().unwrap().split_first().unwrap();
    let list = |body: &Value, name: &str| -> CidrList { serde_json::from_value(body[name].clone()).unwrap() };
    let body = &written["body"];
    let token = params(json!({"token_bound_cidrs": body["token_bound_cidrs"]}));
    let bound = role(&token, json!({"secret_id_bound_cidrs": body["secret_id_bound_cidrs"]}));
    for call in asked {
        let mut request = SecretIdRequest::default();
        for name in call["body"].as_object().unwrap().keys() {
            let wanted = list(&call["body"], name);
            match name.as_str() {
                "cidr_list" => request.cidr_list = wanted,
                _ => request.token_bound_cidrs = wanted,
            }
        }
        let made = bound.secret_id(&request, "h".into(), "a".into(), NOW);
        assert!(call["status"] == 500 && made == Err(AppRoleError::Addresses), "{call}");
    }
}

#[test]
fn a_secret_id_that_was_made_wider_gives_no_more_than_its_role() {
    let role = role(&params(json!({"token_bound_cidrs": ["10.0.0.0/8"]})), json!({}));
    let login = |tokens: &str, from: &str| {
        let record = secret_id(&role, json!({"token_bound_cidrs": [tokens]}));
        role.admit(Some(&record), at(from), NOW).map(|(identity, _)| issued(&identity).bound_cidrs)
    };
    let refused = AppRoleRefusal::Address(OutOfBounds);
    assert_eq!(login("0.0.0.0/0", "10.1.1.1"), Ok(cidrs("10.0.0.0/8")));
    assert_eq!(login("0.0.0.0/0", "11.1.1.1"), Err(refused));
    assert_eq!(login("10.1.0.0/16", "10.1.1.1"), Ok(cidrs("10.1.0.0/16")));
    assert_eq!(login("10.1.0.0/16", "10.2.1.1"), Err(refused), "its token could not be used from there");
    assert_eq!(login("11.0.0.0/8", "11.1.1.1"), Err(refused), "nobody keeps both");
}

#[test]
fn logins_come_from_where_role_and_secret_id_say() {
    let role = role(&TokenParams::default(), json!({"secret_id_bound_cidrs": ["10.0.0.0/8"]}));
    let record = secret_id(&role, json!({"cidr_list": ["10.1.0.0/16", "11.0.0.0/8"]}));
    for (from, good) in [("10.1.1.1", true), ("10.2.1.1", false), ("11.1.1.1", false)] {
        assert_eq!(role.admit(Some(&record), at(from), NOW).is_ok(), good, "{from}");
    }
}
