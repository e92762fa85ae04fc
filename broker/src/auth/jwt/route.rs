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
use crate::auth::roles::route::{edit_params, edit_workload, required, set, texts, with_params};
use crate::auth::token::issued_answer;
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
fn parse_config(read: &Reader<'_>) -> Result<JwtConfig, FaceError> {
    read.accept(&["namespace_in_state", "provider_config", "oidc_response_types"]);
    for name in ["oidc_client_id", "oidc_client_secret", "oidc_response_mode"] {
        if read.string(name)?.is_some_and(|text| !text.is_empty()) {
            return Err(FaceError::Invalid(
                "browser logins are not supported; leave out the oidc_client fields",
            ));
        }
    }
    let mut config = JwtConfig::default();
    set(&mut config.oidc_discovery_url, read.string("oidc_discovery_url")?);
    set(&mut config.oidc_discovery_ca_pem, read.string("oidc_discovery_ca_pem")?);
    set(&mut config.jwks_url, read.string("jwks_url")?);
    set(&mut config.jwks_ca_pem, read.string("jwks_ca_pem")?);
    set(&mut config.jwks, read.string("jwks")?);
    set(&mut config.jwt_validation_pubkeys, texts(read, "jwt_validation_pubkeys")?);
    set(&mut config.jwt_supported_algs, read.comma_list("jwt_supported_algs")?);
    set(&mut config.bound_issuer, read.string("bound_issuer")?);
    set(&mut config.default_role, read.string("default_role")?);
    Ok(config)
}

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
    check_role_type(existing.is_none(), read)?;
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
        workload: WorkloadRule::default(),
        token: TokenParams::default(),
    });
    set(&mut role.user_claim, read.string("user_claim")?);
    set(&mut role.user_claim_json_pointer, read.bool("user_claim_json_pointer")?);
    set(&mut role.bound_audiences, read.comma_list("bound_audiences")?);
    set(&mut role.bound_subject, read.string("bound_subject")?);
    set(&mut role.bound_claims, bound_claims(read)?);
    set(&mut role.bound_claims_type, bound_claims_type(read)?);
    set(&mut role.claim_mappings, read.string_map("claim_mappings")?);
    set(&mut role.groups_claim, read.string("groups_claim")?);
    set(&mut role.expiration_leeway, signed_secs(read, "expiration_leeway")?);
    set(&mut role.not_before_leeway, signed_secs(read, "not_before_leeway")?);
    set(&mut role.clock_skew_leeway, signed_secs(read, "clock_skew_leeway")?);
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

/// A value, or several of which one must match.
fn bound_claims(read: &Reader<'_>) -> Result<Option<BTreeMap<String, Vec<Value>>>, FaceError> {
    let Some(claims) = read.object("bound_claims")? else { return Ok(None) };
    let values = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        single => vec![single.clone()],
    };
    Ok(Some(claims.iter().map(|(claim, value)| (claim.clone(), values(value))).collect()))
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
    let claims: BTreeMap<&String, Value> = role
        .bound_claims
        .iter()
        .map(|(claim, values)| match values.as_slice() {
            [only] => (claim, only.clone()),
            several => (claim, json!(several)),
        })
        .collect();
    let facts = json!({
        "allowed_redirect_uris": null,
        "bound_audiences": role.bound_audiences,
        "bound_claims": if claims.is_empty() { Value::Null } else { json!(claims) },
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
    });
    with_params(facts, &role.token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::call::object;
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
        assert_eq!(role.bound_claims["team"], [json!("blue")]);
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
            let config = parse_config(&body.reader()).unwrap();
            assert_eq!(config.jwt_validation_pubkeys, ["PEM"]);
            assert_eq!(config_facts(&config)["default_role"], "app");
        }
        let body = Fields::new(object(json!({"oidc_client_id": "x"})));
        assert!(parse_config(&body.reader()).is_err());
    }
}
