use serde_json::{Value, json};

use crate::identity::VerifiedIdentity;
use crate::identity::jwt::{JwtError, verify};
use crate::identity::kubernetes::{
    AliasNameSource, KubernetesConfig, KubernetesRefusal, KubernetesRole, KubernetesRoleError,
};
use crate::identity::testing::*;
use crate::oauth::WorkloadRule;
use crate::path::RoleName;
use crate::token::TokenParams;

const AUDIENCE: &str = "https://symbolon.test";

fn role() -> KubernetesRole {
    KubernetesRole {
        name: RoleName::parse("ESO").unwrap(),
        bound_service_account_names: vec!["eso".into()],
        bound_service_account_namespaces: vec!["apps".into(), "team-*".into()],
        audience: AUDIENCE.into(),
        alias_name_source: AliasNameSource::default(),
        workload: WorkloadRule::default(),
        token: TokenParams::default(),
    }
}

fn login(
    role: &KubernetesRole,
    config: &KubernetesConfig,
    claims: &Value,
) -> Result<VerifiedIdentity, KubernetesRefusal> {
    let jwt = verify(&sign(claims), &keys(), &config.rules(), NOW)?;
    role.admit(config, &jwt, None, NOW)
}

fn check(changes: Value, answer: Result<(), KubernetesRefusal>) {
    let claims = with(pod_claims(), changes.clone());
    assert_eq!(login(&role(), &KubernetesConfig::default(), &claims).map(|_| ()), answer, "{changes}");
}

fn of(namespace: &str, name: &str) -> Value {
    json!({
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u"}},
    })
}

#[test]
fn a_projected_token_is_admitted_with_its_facts() {
    let identity = login(&role(), &KubernetesConfig::default(), &pod_claims()).unwrap();
    assert_eq!(identity.subject(), "system:serviceaccount:apps:eso");
    assert_eq!(identity.alias(), "sa-uid");
    assert_eq!(identity.meta()["role"], "eso");
    assert_eq!(identity.meta()["service_account_namespace"], "apps");
    assert_eq!(identity.attributes()["pod_uid"], "pod-uid");
    assert_eq!(identity.evidence_ends_at(), Some(NOW + 600));
    let by_name = KubernetesRole { alias_name_source: AliasNameSource::ServiceaccountName, ..role() };
    assert_eq!(login(&by_name, &KubernetesConfig::default(), &pod_claims()).unwrap().alias(), "apps/eso");
}

#[test]
fn only_bound_accounts_are_admitted() {
    check(of("team-a", "eso"), Ok(()));
    check(of("apps", "other"), Err(KubernetesRefusal::NotBound));
    check(of("other", "eso"), Err(KubernetesRefusal::NotBound));
    check(of("apps", "eso2"), Err(KubernetesRefusal::NotBound));
    check(of("xteam-a", "eso"), Err(KubernetesRefusal::NotBound));
}

#[test]
fn contradictions_and_look_alikes_are_refused() {
    let refused = Err(KubernetesRefusal::NotServiceAccount);
    check(json!({"sub": "system:serviceaccount:other:eso"}), refused);
    check(json!({"sub": "system:serviceaccount:apps:eso/"}), refused);
    check(json!({"sub": "alice"}), refused);
    check(json!({"sub": null}), refused);
    check(json!({"kubernetes.io": null}), refused);
    check(json!({"kubernetes.io": {}}), refused);
    for (namespace, name) in
        [("Apps", "eso"), ("apps", "es\u{43e}"), ("apps", "e%2f"), ("apps", ""), ("apps:x", "eso")]
    {
        check(of(namespace, name), refused);
    }
    check(
        json!({"kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "eso", "uid": ""}}}),
        refused,
    );
    let mut odd = pod_claims();
    odd["kubernetes.io"]["warnafter"] = json!("9999999999");
    assert_eq!(login(&role(), &KubernetesConfig::default(), &odd).map(|_| ()), refused);
}

#[test]
fn the_audience_must_be_ours_unless_the_operator_says_otherwise() {
    check(json!({"aud": ["https://kubernetes.default.svc"]}), Err(KubernetesRefusal::Audience));
    check(json!({"aud": AUDIENCE}), Ok(()));
    check(json!({"aud": null}), Err(KubernetesRefusal::Audience));
    let open = KubernetesRole { audience: String::new(), ..role() };
    let closed = KubernetesConfig::default();
    assert_eq!(login(&open, &closed, &pod_claims()), Err(KubernetesRefusal::AudienceUnset));
    let opted = KubernetesConfig { accept_api_audience: true, ..closed };
    let api = with(pod_claims(), json!({"aud": ["https://kubernetes.default.svc"]}));
    assert!(login(&open, &opted, &api).is_ok());
    assert_eq!(
        login(&role(), &opted, &api),
        Err(KubernetesRefusal::Audience),
        "the role's audience still counts"
    );
}

#[test]
fn year_long_and_stale_tokens_are_refused() {
    check(json!({"exp": NOW - 5 + 86_400}), Ok(()));
    check(json!({"exp": NOW + 86_400}), Err(KubernetesRefusal::Lifetime));
    check(json!({"exp": NOW + 365 * 86_400}), Err(KubernetesRefusal::Lifetime));
    check(json!({"iat": null}), Err(KubernetesRefusal::Lifetime));
    let mut year = with(pod_claims(), json!({"exp": NOW + 365 * 86_400}));
    let lax = KubernetesConfig { token_lifetime_max: 400 * 86_400, ..KubernetesConfig::default() };
    assert!(login(&role(), &lax, &year).is_ok());
    year["kubernetes.io"]["warnafter"] = json!(NOW);
    assert_eq!(login(&role(), &lax, &year), Err(KubernetesRefusal::Stale));
    year["kubernetes.io"]["warnafter"] = json!(NOW + 1);
    assert!(login(&role(), &lax, &year).is_ok());
    check(json!({"exp": NOW - 100}), Err(KubernetesRefusal::Jwt(JwtError::Expired)));
}

fn legacy() -> Value {
    json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:apps:eso",
        "kubernetes.io/serviceaccount/namespace": "apps",
        "kubernetes.io/serviceaccount/service-account.name": "eso",
        "kubernetes.io/serviceaccount/service-account.uid": "sa-uid",
        "kubernetes.io/serviceaccount/secret.name": "eso-token",
    })
}

#[test]
fn legacy_tokens_need_an_opt_in() {
    let open = KubernetesRole { audience: String::new(), ..role() };
    let default = KubernetesConfig::default();
    assert_eq!(login(&open, &default, &legacy()), Err(KubernetesRefusal::Jwt(JwtError::NoExpiry)));
    let with_expiry = with(legacy(), json!({"exp": NOW + 60}));
    assert_eq!(login(&open, &default, &with_expiry), Err(KubernetesRefusal::Legacy));
    let opted = KubernetesConfig { accept_legacy_tokens: true, ..default };
    let identity = login(&open, &opted, &legacy()).unwrap();
    assert_eq!(identity.meta()["service_account_secret_name"], "eso-token");
    assert_eq!(identity.evidence_ends_at(), None);
    assert_eq!(login(&role(), &opted, &legacy()), Err(KubernetesRefusal::Audience));
    // A projected token does not become endless by the opt-in.
    let endless = with(pod_claims(), json!({"exp": null}));
    assert_eq!(login(&role(), &opted, &endless), Err(KubernetesRefusal::Lifetime));
    let foreign = with(legacy(), json!({"iss": "https://evil.test"}));
    assert_eq!(login(&open, &opted, &foreign), Err(KubernetesRefusal::NotServiceAccount));
}

#[test]
fn the_issuer_counts_if_configured() {
    let strict = |issuer: &str| KubernetesConfig {
        issuer: issuer.into(),
        disable_iss_validation: false,
        ..KubernetesConfig::default()
    };
    assert!(login(&role(), &strict("https://kubernetes.default.svc.cluster.local"), &pod_claims()).is_ok());
    let other = login(&role(), &strict("https://kubernetes.default.svc.cluster.local/"), &pod_claims());
    assert_eq!(other, Err(KubernetesRefusal::Issuer));
}

#[test]
fn a_cluster_has_leeways_of_its_own() {
    let expired = |config: &KubernetesConfig, ago: u64| {
        login(&role(), config, &with(pod_claims(), json!({"exp": NOW - ago}))).is_ok()
    };
    let default = KubernetesConfig::default();
    assert!(expired(&default, 59) && !expired(&default, 60));
    let strict = KubernetesConfig { expiration_leeway: -1, ..default.clone() };
    assert!(!expired(&strict, 0));
    let lax = KubernetesConfig { expiration_leeway: 100, clock_skew_leeway: 20, ..default.clone() };
    assert!(expired(&lax, 119) && !expired(&lax, 120));
    let ahead = |config: &KubernetesConfig, by: u64| {
        login(&role(), config, &with(pod_claims(), json!({"nbf": NOW + by, "iat": NOW + by}))).is_ok()
    };
    assert!(ahead(&default, 60) && !ahead(&default, 61));
    let early = KubernetesConfig { not_before_leeway: 100, ..default };
    assert!(ahead(&early, 100) && !ahead(&early, 101));
    assert_eq!(early.check(), Ok(()));
    assert!(KubernetesConfig { clock_skew_leeway: 301, ..early }.check().is_err());
    let old: KubernetesConfig = serde_json::from_str(r#"{"kubernetes_host":"https://k"}"#).unwrap();
    assert!(expired(&old, 59) && !expired(&old, 60), "a row of an earlier version");
}

/// Only what somebody can set, and only to who shows a token of the cluster.
#[test]
fn a_refusal_says_why_if_a_setting_is_the_reason() {
    let says = |refusal: KubernetesRefusal, setting: &str| {
        let answer = refusal.answer();
        assert!(answer.starts_with("permission denied: ") && answer.contains(setting), "{answer}");
    };
    says(KubernetesRefusal::AudienceUnset, "accept_api_audience");
    says(KubernetesRefusal::Audience, "serviceAccountRef.audiences");
    says(KubernetesRefusal::Lifetime, "token_lifetime_max");
    says(KubernetesRefusal::Legacy, "accept_legacy_tokens");
    says(KubernetesRefusal::Jwt(JwtError::NoExpiry), "accept_legacy_tokens");
    for silent in [
        KubernetesRefusal::NotBound,
        KubernetesRefusal::Issuer,
        KubernetesRefusal::NotServiceAccount,
        KubernetesRefusal::Jwt(JwtError::Signature),
        KubernetesRefusal::Jwt(JwtError::Expired),
    ] {
        assert_eq!(silent.answer(), "permission denied");
    }
}

#[test]
fn a_role_whose_logins_will_fail_or_admit_everybody_is_warned_of() {
    let (default, open) =
        (KubernetesConfig::default(), KubernetesConfig { accept_api_audience: true, ..Default::default() });
    assert_eq!(role().warnings(&default), Vec::<&str>::new());
    let without = KubernetesRole { audience: String::new(), ..role() };
    let warnings = without.warnings(&default);
    assert!(warnings.len() == 1 && warnings[0].contains("audience="), "{warnings:?}");
    assert_eq!(without.warnings(&open), Vec::<&str>::new());
    let everybody = KubernetesRole {
        bound_service_account_names: vec!["*".into()],
        bound_service_account_namespaces: vec!["*".into()],
        ..role()
    };
    assert_eq!(everybody.check(), Ok(()));
    assert!(everybody.warnings(&default)[0].contains("every service account"));
    let anybody = KubernetesRole { audience: String::new(), ..everybody };
    assert_eq!(anybody.check(), Err(KubernetesRoleError::Everybody));
}

#[test]
fn roles_are_checked() {
    assert_eq!(role().check(), Ok(()));
    let with = |names: &[&str], namespaces: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        KubernetesRole {
            bound_service_account_names: own(names),
            bound_service_account_namespaces: own(namespaces),
            audience: String::new(),
            ..role()
        }
        .check()
    };
    assert_eq!(with(&[], &["a"]), Err(KubernetesRoleError::NoNames));
    assert_eq!(with(&["a"], &[]), Err(KubernetesRoleError::NoNamespaces));
    for everything in ["*", "**", "*****"] {
        assert_eq!(with(&[everything], &["*"]), Err(KubernetesRoleError::Everybody), "{everything}");
        assert_eq!(
            with(&["a", "*"], &["b", everything]),
            Err(KubernetesRoleError::Everybody),
            "{everything}"
        );
        assert_eq!(with(&[everything], &["a"]), Ok(()));
    }
    assert_eq!(with(&["*"], &["a"]), Ok(()));
    assert_eq!(with(&["a"; 257], &["a"]), Err(KubernetesRoleError::TooMany));
    let text = serde_json::to_string(&role()).unwrap();
    assert_eq!(serde_json::from_str::<KubernetesRole>(&text).unwrap(), role());
    let misspelt = text.replace("\"audience\"", "\"audiences\"");
    assert!(serde_json::from_str::<KubernetesRole>(&misspelt).is_err());
}
