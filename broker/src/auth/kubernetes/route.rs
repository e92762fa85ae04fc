//! `auth/<kubernetes mount>`: configuration, roles, login with a service-account token.

use serde_json::{Value, json};
use symbolon_core::identity::kubernetes::{AliasNameSource, KubernetesConfig, KubernetesRole};
use symbolon_core::oauth::WorkloadRule;
use symbolon_core::path::RoleName;
use symbolon_core::token::TokenParams;

use crate::access::mounts::Mount;
use crate::auth::kubernetes;
use crate::auth::roles;
use crate::auth::roles::route::{Sent, edit_params, edit_workload, required, set, texts, with_params};
use crate::auth::token::issued_answer;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::{Reader, signed_secs};
use crate::dialect::vault::{Answer, Call, Verb, unsupported};

/// Routes a request below a Kubernetes mount.
pub async fn route(call: Call<'_>, mount: &Mount, rest: &str) -> Answer {
    let rest: Vec<&str> = rest.split('/').collect();
    match (rest.as_slice(), call.verb) {
        (["config"], _) => roles::route::config(call, mount, parse_config, config_facts).await,
        (["role"], _) => roles::route::roles::<KubernetesRole>(call, mount).await,
        (["role", name], _) => roles::route::role(call, mount, name, edit_role, role_facts).await,
        (["login"], Verb::Write) => log_in(call, mount).await,
        (["login"], _) => unsupported(),
        _ => Err(call.unrouted().await),
    }
}

async fn log_in(call: Call<'_>, mount: &Mount) -> Answer {
    let read = call.fields.reader();
    let (role, jwt) = (required(&read, "role", "missing role")?, required(&read, "jwt", "missing jwt")?);
    let issued = kubernetes::log_in(&call.who(), mount, &role, &jwt).await?;
    Ok(issued_answer(call, roles::route::kind(mount), issued))
}

/// The configuration that a write leads to; Vault replaces it as a whole.
fn parse_config(read: &Reader<'_>) -> Result<Sent<KubernetesConfig>, FaceError> {
    // Tokens are verified with the cluster's keys; the API server is never called with somebody's
    // credentials.
    read.accept(&["disable_local_ca_jwt"]);
    read.idle(&["token_reviewer_jwt", "use_annotations_as_alias_metadata"]);
    let mut config = KubernetesConfig::default();
    set(&mut config.kubernetes_host, read.string("kubernetes_host")?);
    set(&mut config.kubernetes_ca_cert, read.string("kubernetes_ca_cert")?);
    set(&mut config.pem_keys, texts(read, "pem_keys")?);
    set(&mut config.jwks, read.string("jwks")?);
    set(&mut config.issuer, read.string("issuer")?);
    set(&mut config.disable_iss_validation, read.bool("disable_iss_validation")?);
    set(&mut config.accept_api_audience, read.bool("accept_api_audience")?);
    set(&mut config.accept_legacy_tokens, read.bool("accept_legacy_tokens")?);
    set(&mut config.token_lifetime_max, read.duration_secs("token_lifetime_max")?);
    set(&mut config.expiration_leeway, signed_secs(read, "expiration_leeway")?);
    set(&mut config.not_before_leeway, signed_secs(read, "not_before_leeway")?);
    set(&mut config.clock_skew_leeway, signed_secs(read, "clock_skew_leeway")?);
    Ok(Sent { config, warnings: Vec::new() })
}

fn config_facts(config: &KubernetesConfig) -> Value {
    json!({
        "accept_api_audience": config.accept_api_audience,
        "accept_legacy_tokens": config.accept_legacy_tokens,
        "clock_skew_leeway": config.clock_skew_leeway,
        "disable_iss_validation": config.disable_iss_validation,
        "disable_local_ca_jwt": true,
        "expiration_leeway": config.expiration_leeway,
        "issuer": config.issuer,
        "jwks": config.jwks,
        "kubernetes_ca_cert": config.kubernetes_ca_cert,
        "kubernetes_host": config.kubernetes_host,
        "not_before_leeway": config.not_before_leeway,
        "pem_keys": config.pem_keys,
        "token_lifetime_max": config.token_lifetime_max,
        "token_reviewer_jwt_set": false,
    })
}

fn edit_role(
    existing: Option<KubernetesRole>,
    name: &RoleName,
    read: &Reader<'_>,
) -> Result<KubernetesRole, FaceError> {
    if read.string("bound_service_account_namespace_selector")?.is_some_and(|text| !text.is_empty()) {
        return Err(FaceError::Invalid(
            "namespace selectors need the API server and are not supported; list namespaces",
        ));
    }
    let mut role = existing.unwrap_or_else(|| KubernetesRole {
        name: name.clone(),
        bound_service_account_names: Vec::new(),
        bound_service_account_namespaces: Vec::new(),
        audience: String::new(),
        alias_name_source: AliasNameSource::default(),
        workload: WorkloadRule::default(),
        token: TokenParams::default(),
    });
    set(
        &mut role.bound_service_account_names,
        read.or_cleared("bound_service_account_names", Reader::comma_list)?,
    );
    set(
        &mut role.bound_service_account_namespaces,
        read.or_cleared("bound_service_account_namespaces", Reader::comma_list)?,
    );
    set(&mut role.audience, read.or_cleared("audience", Reader::string)?);
    set(&mut role.alias_name_source, alias_name_source(read)?);
    edit_workload(&mut role.workload, read)?;
    edit_params(&mut role.token, read)?;
    Ok(role)
}

fn alias_name_source(read: &Reader<'_>) -> Result<Option<AliasNameSource>, FaceError> {
    Ok(match read.string("alias_name_source")?.as_deref() {
        None | Some("") => None,
        Some("serviceaccount_uid") => Some(AliasNameSource::ServiceaccountUid),
        Some("serviceaccount_name") => Some(AliasNameSource::ServiceaccountName),
        Some(_) => {
            return Err(FaceError::Invalid(
                "alias_name_source must be serviceaccount_uid or serviceaccount_name",
            ));
        }
    })
}

fn role_facts(role: &KubernetesRole) -> Value {
    let facts = json!({
        "alias_name_source": match role.alias_name_source {
            AliasNameSource::ServiceaccountUid => "serviceaccount_uid",
            AliasNameSource::ServiceaccountName => "serviceaccount_name",
        },
        "audience": role.audience,
        "bound_service_account_names": role.bound_service_account_names,
        "bound_service_account_namespace_selector": "",
        "bound_service_account_namespaces": role.bound_service_account_namespaces,
        "workload_audiences": role.workload.audiences,
        "workload_scopes": role.workload.scopes,
    });
    with_params(facts, &role.token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::call::object;
    use crate::dialect::vault::fields::Fields;

    #[test]
    fn roles_as_hvac_and_the_cli_write_them() {
        let name = RoleName::parse("eso").unwrap();
        let body = Fields::new(object(json!({
            "bound_service_account_names": "eso", "bound_service_account_namespaces": ["apps", "infra"],
            "policies": ["reader"], "ttl": "10m", "audience": null,
        })));
        let role = edit_role(None, &name, &body.reader()).unwrap();
        let facts = role_facts(&role);
        assert_eq!(facts["bound_service_account_names"], json!(["eso"]));
        assert_eq!(facts["bound_service_account_namespaces"], json!(["apps", "infra"]));
        assert_eq!((&facts["token_ttl"], &facts["audience"]), (&json!(600), &json!("")));
        let body =
            Fields::new(object(json!({"audience": "vault", "alias_name_source": "serviceaccount_name"})));
        let role = edit_role(Some(role), &name, &body.reader()).unwrap();
        assert_eq!((role.audience.as_str(), role.bound_service_account_names.len()), ("vault", 1));
    }

    #[test]
    fn the_configuration_never_shows_a_reviewer_token() {
        let body = Fields::new(object(json!({
            "kubernetes_host": "https://k", "pem_keys": ["PEM"], "token_reviewer_jwt": "hunter2",
        })));
        let read = body.reader();
        let Sent { config, .. } = parse_config(&read).unwrap();
        assert_eq!(read.unrecognised(), None);
        assert!(body.warnings()[0].contains("token_reviewer_jwt"));
        assert!(config.disable_iss_validation);
        assert!(!config_facts(&config).to_string().contains("hunter2"));
    }
}
