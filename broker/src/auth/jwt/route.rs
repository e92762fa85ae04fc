//! `auth/<jwt mount>`: configuration, roles, login with a token of an OIDC issuer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use symbolon_core::identity::jwt_role::{BoundClaimsType, JwtConfig, JwtRole};
use symbolon_core::oauth::WorkloadRule;
use symbolon_core::path::RoleName;
use symbolon_core::token::TokenParams;

use crate::access::mounts::Mount;
use crate::auth::jwt;
use crate::auth::roles;
use crate::auth::roles::route::{Sent, edit_params, edit_workload, required, set, texts, with_params};
use crate::auth::token::issued_answer;
use crate::dialect::vault::call::object;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::{Reader, signed_secs};
use crate::dialect::vault::{Answer, Call, Verb, unsupported};

/// Routes a request below a JWT mount.
pub async fn route(call: Call<'_>, mount: &Mount, rest: &str) -> Answer {
    let rest: Vec<&str> = rest.split('/').collect();
    match (rest.as_slice(), call.verb) {
        (["config"], _) => roles::route::config(call, mount, parse_config, config_facts).await,
        (["role"], _) => roles::route::roles::<JwtRole>(call, mount).await,
        (["role", name], _) => roles::route::role(call, mount, name, edit_role, role_facts).await,
        (["login"], Verb::Write) => log_in(call, mount).await,
        (["login"], _) => unsupported(),
        _ => Err(call.unrouted().await),
    }
}

/// Without a role the mount's default one counts.
async fn log_in(call: Call<'_>, mount: &Mount) -> Answer {
    let read = call.fields.reader();
    let (role, jwt) = (read.string("role")?.unwrap_or_default(), required(&read, "jwt", "missing jwt")?);
    let issued = jwt::log_in(&call.who(), mount, &role, &jwt).await?;
    Ok(issued_answer(call, roles::route::kind(mount), issued))
}

/// The configuration that a write leads to; Vault replaces it as a whole.
fn parse_config(read: &Reader<'_>) -> Result<Sent<JwtConfig>, FaceError> {
    read.accept(&["namespace_in_state", "oidc_response_types"]);
    for name in ["oidc_client_id", "oidc_client_secret", "oidc_response_mode"] {
        if read.string(name)?.is_some_and(|text| !text.is_empty()) {
            return Err(FaceError::Invalid(
                "browser logins are not supported; leave out the oidc_client fields",
            ));
        }
    }
    read.idle(&["provider_config"]);
    let mut warnings = Vec::new();
    let mut config = JwtConfig::default();
    set(&mut config.oidc_discovery_url, read.string("oidc_discovery_url")?);
    if let Some(issuer) = config.oidc_discovery_url.strip_suffix(WELL_KNOWN) {
        config.oidc_discovery_url = issuer.to_owned();
        warnings.push("oidc_discovery_url was stored without .well-known/openid-configuration at its end");
    }
    set(&mut config.oidc_discovery_ca_pem, read.string("oidc_discovery_ca_pem")?);
    set(&mut config.jwks_url, read.string("jwks_url")?);
    set(&mut config.jwks_ca_pem, read.string("jwks_ca_pem")?);
    set(&mut config.jwks, read.string("jwks")?);
    set(&mut config.jwt_validation_pubkeys, texts(read, "jwt_validation_pubkeys")?);
    set(&mut config.jwt_supported_algs, read.comma_list("jwt_supported_algs")?);
    set(&mut config.bound_issuer, read.string("bound_issuer")?);
    set(&mut config.default_role, read.string("default_role")?);
    Ok(Sent { config, warnings })
}

/// Where discovery documents are, below an issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

fn config_facts(config: &JwtConfig) -> Value {
    json!({
        "bound_issuer": config.bound_issuer,
        "default_role": config.default_role,
        "jwks": config.jwks,
        "jwks_ca_pem": config.jwks_ca_pem,
        "jwks_url": config.jwks_url,
        "jwt_supported_algs": config.jwt_supported_algs,
        "jwt_validation_pubkeys": config.jwt_validation_pubkeys,
        "namespace_in_state": true,
        "oidc_client_id": "",
        "oidc_discovery_ca_pem": config.oidc_discovery_ca_pem,
        "oidc_discovery_url": config.oidc_discovery_url,
        "oidc_response_mode": "",
        "oidc_response_types": [],
        "provider_config": {},
    })
}

fn edit_role(existing: Option<JwtRole>, name: &RoleName, read: &Reader<'_>) -> Result<JwtRole, FaceError> {
    // Members of browser logins that clients send along for roles of type jwt.
    read.idle(&["allowed_redirect_uris", "oidc_scopes", "verbose_oidc_logging", "max_age", "callback_mode"]);
    read.idle(&["oauth2_metadata", "oidc_disable_confirmation"]);
    check_role_type(existing.is_none(), read)?;
    if read.bool("token_policies_template_claims")?.unwrap_or(false) {
        return Err(FaceError::Invalid(
            "token_policies_template_claims is not supported; list token_policies",
        ));
    }
    let mut role = existing.unwrap_or_else(|| JwtRole {
        name: name.clone(),
        user_claim: String::new(),
        user_claim_json_pointer: false,
        bound_audiences: Vec::new(),
        bound_subject: String::new(),
        bound_claims: BTreeMap::new(),
        bound_claims_type: BoundClaimsType::default(),
        claim_mappings: BTreeMap::new(),
        groups_claim: String::new(),
        expiration_leeway: 0,
        not_before_leeway: 0,
        clock_skew_leeway: 0,
        accepted_typ: Vec::new(),
        workload: WorkloadRule::default(),
        token: TokenParams::default(),
    });
    set(&mut role.user_claim, read.or_cleared("user_claim", Reader::string)?);
    set(&mut role.user_claim_json_pointer, read.or_cleared("user_claim_json_pointer", Reader::bool)?);
    set(&mut role.bound_audiences, read.or_cleared("bound_audiences", Reader::comma_list)?);
    set(&mut role.bound_subject, read.or_cleared("bound_subject", Reader::string)?);
    set(&mut role.bound_claims, bound_claims(read)?);
    set(&mut role.bound_claims_type, bound_claims_type(read)?);
    set(&mut role.claim_mappings, read.or_cleared("claim_mappings", Reader::string_map)?);
    set(&mut role.groups_claim, read.or_cleared("groups_claim", Reader::string)?);
    set(&mut role.expiration_leeway, read.or_cleared("expiration_leeway", signed_secs)?);
    set(&mut role.not_before_leeway, read.or_cleared("not_before_leeway", signed_secs)?);
    set(&mut role.clock_skew_leeway, read.or_cleared("clock_skew_leeway", signed_secs)?);
    set(&mut role.accepted_typ, read.or_cleared("accepted_typ", Reader::comma_list)?);
    edit_workload(&mut role.workload, read)?;
    edit_params(&mut role.token, read)?;
    Ok(role)
}

/// Vault's default is `oidc`, which is a browser login; leaving it out would mean something else there.
fn check_role_type(new: bool, read: &Reader<'_>) -> Result<(), FaceError> {
    match read.string("role_type")?.as_deref() {
        Some("jwt") => Ok(()),
        None | Some("") if !new => Ok(()),
        _ => Err(FaceError::Invalid("role_type must be jwt; browser logins are not supported")),
    }
}

/// A value, or a list of which one must match.
fn bound_claims(read: &Reader<'_>) -> Result<Option<BTreeMap<String, Value>>, FaceError> {
    if read.is_null("bound_claims") {
        return Ok(Some(BTreeMap::new()));
    }
    let claims = read.object("bound_claims")?;
    Ok(claims.map(|claims| claims.iter().map(|(claim, value)| (claim.clone(), value.clone())).collect()))
}

fn bound_claims_type(read: &Reader<'_>) -> Result<Option<BoundClaimsType>, FaceError> {
    Ok(match read.string("bound_claims_type")?.as_deref() {
        None | Some("") => None,
        Some("string") => Some(BoundClaimsType::String),
        Some("glob") => Some(BoundClaimsType::Glob),
        Some(_) => return Err(FaceError::Invalid("bound_claims_type must be string or glob")),
    })
}

fn role_facts(role: &JwtRole) -> Value {
    let mut facts = object(json!({
        "accepted_typ": role.accepted_typ,
        "bound_audiences": role.bound_audiences,
        "bound_claims": if role.bound_claims.is_empty() { Value::Null } else { json!(role.bound_claims) },
        "bound_claims_type": match role.bound_claims_type {
            BoundClaimsType::String => "string",
            BoundClaimsType::Glob => "glob",
        },
        "bound_subject": role.bound_subject,
        "claim_mappings": if role.claim_mappings.is_empty() { Value::Null } else { json!(role.claim_mappings) },
        "clock_skew_leeway": role.clock_skew_leeway,
        "expiration_leeway": role.expiration_leeway,
        "groups_claim": role.groups_claim,
        "not_before_leeway": role.not_before_leeway,
        "workload_audiences": role.workload.audiences,
        "workload_scopes": role.workload.scopes,
        "role_type": "jwt",
        "user_claim": role.user_claim,
        "user_claim_json_pointer": role.user_claim_json_pointer,
    }));
    facts.extend(object(browser_facts()));
    with_params(Value::Object(facts), &role.token)
}

/// What clients read of every role, and what no role here uses.
fn browser_facts() -> Value {
    json!({
        "allowed_redirect_uris": null,
        "callback_mode": "client",
        "max_age": 0,
        "oauth2_metadata": null,
        "oidc_disable_confirmation": false,
        "oidc_scopes": null,
        "token_policies_template_claims": false,
        "verbose_oidc_logging": false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::fields::Fields;

    fn edit(existing: Option<JwtRole>, body: Value) -> Result<JwtRole, FaceError> {
        edit_role(existing, &RoleName::parse("app").unwrap(), &Fields::new(object(body)).reader())
    }

    #[test]
    fn roles_as_hvac_writes_them() {
        let role = edit(None, json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["symbolon"], "allowed_redirect_uris": [],
            "bound_claims": {"team": "blue", "env": ["dev", "prod"]}, "token_policies": ["reader"], "token_ttl": 600,
            "clock_skew_leeway": "-1",
        })).unwrap();
        assert_eq!(role.bound_claims["team"], json!("blue"));
        let facts = role_facts(&role);
        assert_eq!(facts["bound_claims"], json!({"env": ["dev", "prod"], "team": "blue"}));
        assert_eq!((&facts["clock_skew_leeway"], &facts["token_ttl"]), (&json!(-1), &json!(600)));
        let role = edit(Some(role), json!({"bound_subject": "svc"})).unwrap();
        assert_eq!((role.bound_subject.as_str(), role.bound_audiences.len()), ("svc", 1));
    }

    #[test]
    fn browser_roles_are_refused_and_never_assumed() {
        assert!(edit(None, json!({"user_claim": "sub"})).is_err());
        assert!(edit(None, json!({"user_claim": "sub", "role_type": "oidc"})).is_err());
    }

    #[test]
    fn the_configuration_takes_one_key_or_several() {
        for keys in [json!("PEM"), json!(["PEM"])] {
            let body = Fields::new(object(json!({"jwt_validation_pubkeys": keys, "default_role": "app"})));
            let config = parse_config(&body.reader()).unwrap().config;
            assert_eq!(config.jwt_validation_pubkeys, ["PEM"]);
            assert_eq!(config_facts(&config)["default_role"], "app");
        }
        let body = Fields::new(object(json!({"oidc_client_id": "x"})));
        assert!(parse_config(&body.reader()).is_err());
    }
}
