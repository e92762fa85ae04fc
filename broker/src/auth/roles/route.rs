//! What the roles of all login methods have in common: the `token_*` parameters and how roles change.
//!
//! A write names only what changes, so each role is edited, not replaced: fields that are absent keep their
//! value.

use serde_json::{Map, Value, json};
use symbolon_core::oauth::WorkloadRule;
use symbolon_core::path::{PolicyName, RoleName};
use symbolon_core::token::{CidrList, TokenParams, TokenType};

use super::{Config, Proof, Role};
use crate::access::mounts::Mount;
use crate::dialect::vault::call::object;
use crate::dialect::vault::error::{FaceError, VaultError};
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call, Reply, Verb, unsupported};

/// A configuration as it was sent, and what was sent with it in vain.
pub struct Sent<C> {
    /// What to store.
    pub config: C,
    /// About parameters that have no effect here.
    pub warnings: Vec<&'static str>,
}

/// Reads or writes a method's configuration.
pub async fn config<C: Config>(
    call: Call<'_>,
    mount: &Mount,
    parse: impl FnOnce(&Reader<'_>) -> Result<Sent<C>, FaceError>,
    show: impl FnOnce(&C) -> Value,
) -> Answer {
    match call.verb {
        Verb::Read => read_config(call, mount, show).await,
        Verb::Write => {
            let read = call.fields.reader();
            let Sent { config, warnings } = parse(&read)?;
            let later = read.bool("skip_jwks_validation")?.unwrap_or(false);
            let proof = if later { Proof::Later } else { Proof::Needed };
            let unproven = super::write_config(&call.who(), mount, &config, proof).await?;
            let warnings = warnings.into_iter().map(str::to_owned).chain(unproven).collect();
            Ok(call.done_with(kind(mount), &read, warnings))
        }
        Verb::List | Verb::Delete | Verb::Patch => unsupported(),
    }
}

/// The configuration as it is stored, and whether logins find their keys with it.
async fn read_config<C: Config>(call: Call<'_>, mount: &Mount, show: impl FnOnce(&C) -> Value) -> Answer {
    let config: C = super::read_config(&call.who(), mount).await?;
    let failure = super::standing(call.session, mount, &config).await;
    let mut facts = object(show(&config));
    let status = if failure.is_none() { "valid" } else { "invalid" };
    facts.insert("status".to_owned(), json!(status));
    let mut envelope = call.request.envelope(kind(mount), Value::Object(facts), &call.fields.reader());
    envelope.warnings.extend(failure.map(|error| error.to_string()));
    Ok(envelope.into_reply())
}

/// Reads, writes or deletes a role.
pub async fn role<R: Role>(
    call: Call<'_>,
    mount: &Mount,
    name: &str,
    edit: impl FnOnce(Option<R>, &RoleName, &Reader<'_>) -> Result<R, FaceError>,
    show: impl FnOnce(&R) -> Value,
) -> Answer {
    let name = RoleName::parse(name)?;
    let (who, read) = (call.who(), call.fields.reader());
    match call.verb {
        Verb::Read => {
            let role = super::read_role(&who, mount, &name).await?;
            Ok(call.request.envelope(kind(mount), show(&role), &read).into_reply())
        }
        Verb::Write => {
            let edit = |present| Ok::<_, VaultError>(edit(present, &name, &read)?);
            let warnings = super::edit_role(&who, mount, &name, edit).await?;
            read.captured(&["name", "role_name"], name.as_str()); // clients repeat it
            Ok(call.done_with(kind(mount), &read, warnings))
        }
        Verb::Delete => {
            super::delete_role::<R>(&who, mount, &name).await?;
            Ok(Reply::no_content())
        }
        Verb::List | Verb::Patch => unsupported(),
    }
}

/// Lists roles.
pub async fn roles<R: Role>(call: Call<'_>, mount: &Mount) -> Answer {
    if call.verb != Verb::List {
        return unsupported();
    }
    let keys = super::list_roles::<R>(&call.who(), mount).await?;
    Ok(call.request.envelope(kind(mount), json!({ "keys": keys }), &call.fields.reader()).into_reply())
}

/// The `mount_type` of answers below a login mount.
#[must_use]
pub fn kind(mount: &Mount) -> &'static str {
    crate::auth::method_of(mount).map_or("", |method| method.facts.kind)
}

/// A field that a login cannot do without.
pub fn required(read: &Reader<'_>, name: &'static str, missing: &'static str) -> Result<String, FaceError> {
    read.string(name)?.filter(|text| !text.trim().is_empty()).ok_or(FaceError::Invalid(missing))
}

/// Takes over those `token_*` parameters that the request names, under their present or their older names.
/// `null` clears.
pub fn edit_params(params: &mut TokenParams, read: &Reader<'_>) -> Result<(), FaceError> {
    let secs = |name| read.or_cleared(name, Reader::duration_secs);
    set(&mut params.token_ttl, first(["token_ttl", "ttl"], secs)?);
    set(&mut params.token_max_ttl, first(["token_max_ttl", "max_ttl"], secs)?);
    set(&mut params.token_period, first(["token_period", "period"], secs)?);
    set(
        &mut params.token_explicit_max_ttl,
        read.or_cleared("token_explicit_max_ttl", Reader::duration_secs)?,
    );
    set(&mut params.token_no_default_policy, read.or_cleared("token_no_default_policy", Reader::bool)?);
    set(
        &mut params.token_num_uses,
        first(["token_num_uses", "num_uses"], |name| read.or_cleared(name, Reader::count))?,
    );
    let policies = first(["token_policies", "policies"], |name| read.or_cleared(name, Reader::comma_list))?;
    set(&mut params.token_policies, policies.map(|names| policy_names(&names)).transpose()?);
    set(
        &mut params.token_bound_cidrs,
        first(["token_bound_cidrs", "bound_cidrs"], |name| cidrs(read, name))?,
    );
    if read.bool("token_strictly_bind_ip")?.unwrap_or(false) {
        return Err(FaceError::Invalid("token_strictly_bind_ip is not supported; use token_bound_cidrs"));
    }
    set(&mut params.token_type, read.string("token_type")?.map(|text| TokenType::parse(&text)).transpose()?);
    Ok(())
}

/// The first of two names that says something. The other one is left unread then, and the answer tells it.
pub fn first<T, E>(
    [present, older]: [&'static str; 2],
    read: impl Fn(&'static str) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    match read(present)? {
        Some(value) => Ok(Some(value)),
        None => read(older),
    }
}

/// Takes over what workloads of a role may ask the token endpoint for. Ours, not Vault's; empty means
/// nothing.
pub fn edit_workload(rule: &mut WorkloadRule, read: &Reader<'_>) -> Result<(), FaceError> {
    set(&mut rule.audiences, read.or_cleared("workload_audiences", Reader::comma_list)?);
    set(&mut rule.scopes, read.or_cleared("workload_scopes", Reader::comma_list)?);
    Ok(())
}

/// Overwrites `field` if a value was named.
pub fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Address ranges.
pub fn cidrs(read: &Reader<'_>, name: &'static str) -> Result<Option<CidrList>, FaceError> {
    let texts = read.or_cleared(name, Reader::comma_list)?;
    let list = texts.map(|texts| CidrList::parse(&texts)).transpose();
    list.map_err(|_| FaceError::Invalid("addresses must be given as 10.0.0.0/8 or 10.0.0.1"))
}

/// A list whose older form was one string with commas, or lines of PEM: each element is one text.
pub fn texts(read: &Reader<'_>, name: &'static str) -> Result<Option<Vec<String>>, FaceError> {
    let list = read.string_list(name)?;
    Ok(list.map(|list| list.into_iter().filter(|text| !text.trim().is_empty()).collect()))
}

/// The `token_*` members of an answer.
#[must_use]
pub fn params_facts(params: &TokenParams) -> Map<String, Value> {
    let policies: Vec<&str> = params.token_policies.iter().map(PolicyName::as_str).collect();
    object(json!({
        "token_bound_cidrs": params.token_bound_cidrs.to_texts(),
        "token_explicit_max_ttl": params.token_explicit_max_ttl,
        "token_max_ttl": params.token_max_ttl,
        "token_no_default_policy": params.token_no_default_policy,
        "token_num_uses": params.token_num_uses,
        "token_period": params.token_period,
        "token_policies": policies,
        "token_strictly_bind_ip": false, // refused where it is asked for
        "token_ttl": params.token_ttl,
        "token_type": params.token_type.as_str(),
    }))
}

/// Members of a role together with its `token_*` members.
#[must_use]
pub fn with_params(facts: Value, params: &TokenParams) -> Value {
    let mut facts = object(facts);
    facts.extend(params_facts(params));
    Value::Object(facts)
}

/// Folded names; the operation decides which of them may be given.
pub fn policy_names(names: &[String]) -> Result<Vec<PolicyName>, FaceError> {
    names.iter().map(|name| PolicyName::parse(name).map_err(FaceError::from)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::fields::Fields;

    fn edit(params: &mut TokenParams, body: Value) -> Result<(), FaceError> {
        edit_params(params, &Fields::new(object(body)).reader())
    }

    #[test]
    fn parameters_keep_what_a_write_does_not_name() {
        let mut params = TokenParams::default();
        edit(
            &mut params,
            json!({"token_policies": "reader,writer", "token_ttl": "1h", "token_type": "batch"}),
        )
        .unwrap();
        edit(&mut params, json!({"token_max_ttl": 7200})).unwrap();
        let facts = params_facts(&params);
        assert_eq!(facts["token_policies"], json!(["reader", "writer"]));
        assert_eq!((&facts["token_ttl"], &facts["token_max_ttl"]), (&json!(3600), &json!(7200)));
        assert_eq!(facts["token_type"], "batch");
    }

    #[test]
    fn null_clears_what_it_names() {
        let mut params = TokenParams::default();
        edit(
            &mut params,
            json!({"token_policies": ["reader"], "token_ttl": 60, "token_bound_cidrs": "10.0.0.0/8"}),
        )
        .unwrap();
        edit(&mut params, json!({"token_policies": null, "token_ttl": null})).unwrap();
        assert!(params.token_policies.is_empty() && params.token_ttl == 0);
        assert!(!params.token_bound_cidrs.to_texts().is_empty(), "what is not named stays");
        edit(&mut params, json!({"token_bound_cidrs": null})).unwrap();
        assert!(params.token_bound_cidrs.to_texts().is_empty());
    }

    #[test]
    fn parameters_have_older_names() {
        let mut params = TokenParams::default();
        edit(&mut params, json!({"policies": ["reader"], "ttl": "10m", "max_ttl": "20m", "num_uses": 2}))
            .unwrap();
        assert_eq!((params.token_ttl, params.token_max_ttl, params.token_num_uses), (600, 1200, 2));
        assert_eq!(params.token_policies[0].as_str(), "reader");
        let both = Fields::new(object(json!({"ttl": "1m", "token_ttl": "2m"})));
        edit_params(&mut params, &both.reader()).unwrap();
        assert_eq!(params.token_ttl, 120);
        assert!(both.warnings()[0].ends_with("[ttl]"), "what does not count is told");
    }

    #[test]
    fn nonsense_is_refused() {
        for body in [
            json!({"token_type": "x"}),
            json!({"token_bound_cidrs": "10.0.0.0/99"}),
            json!({"token_ttl": "x"}),
        ] {
            assert!(edit(&mut TokenParams::default(), body).is_err());
        }
    }
}
