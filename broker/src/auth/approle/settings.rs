//! The settings of a role: how a write changes them, and how they are shown.

use serde_json::{Value, json};
use symbolon_core::identity::approle::AppRole;
use symbolon_core::path::RoleName;
use symbolon_core::token::{CidrList, TokenParams};

use crate::auth::roles::route::{cidrs, edit_params, first, set, with_params};
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::Reader;

/// The role that a write leads to; a new one starts from Vault's defaults with `fresh_id` as its role id.
pub(super) fn edit_role(
    existing: Option<AppRole>,
    name: &RoleName,
    fresh_id: &str,
    read: &Reader<'_>,
) -> Result<AppRole, FaceError> {
    let mut role = existing.unwrap_or_else(|| AppRole {
        name: name.clone(),
        role_id: fresh_id.to_owned(),
        bind_secret_id: true,
        secret_id_bound_cidrs: CidrList::default(),
        secret_id_num_uses: 0,
        secret_id_ttl: 0,
        token: TokenParams::default(),
    });
    set(&mut role.role_id, read.string("role_id")?.filter(|id| !id.is_empty()));
    // Cleared is as it was when the role was new: null must not let in whoever has no secret id.
    let binds = if read.is_null("bind_secret_id") { Some(true) } else { read.bool("bind_secret_id")? };
    set(&mut role.bind_secret_id, binds);
    let bound = first(["secret_id_bound_cidrs", "bound_cidr_list"], |name| cidrs(read, name))?;
    set(&mut role.secret_id_bound_cidrs, bound);
    set(&mut role.secret_id_num_uses, read.or_cleared("secret_id_num_uses", Reader::count)?);
    set(&mut role.secret_id_ttl, read.or_cleared("secret_id_ttl", Reader::duration_secs)?);
    if read.bool("local_secret_ids")?.unwrap_or(false) {
        return Err(FaceError::Invalid("local_secret_ids is not supported"));
    }
    edit_params(&mut role.token, read)?;
    Ok(role)
}

pub(super) fn role_facts(role: &AppRole) -> Value {
    let cidrs = role.secret_id_bound_cidrs.to_texts();
    let facts = json!({
        "bind_secret_id": role.bind_secret_id,
        "local_secret_ids": false,
        "secret_id_bound_cidrs": if cidrs.is_empty() { Value::Null } else { json!(cidrs) },
        "secret_id_num_uses": role.secret_id_num_uses,
        "secret_id_ttl": role.secret_id_ttl,
    });
    with_params(facts, &role.token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::call::object;
    use crate::dialect::vault::fields::Fields;

    fn fields(body: Value) -> Fields {
        Fields::new(object(body))
    }

    #[test]
    fn roles_start_with_vaults_defaults_and_change_field_by_field() {
        let name = RoleName::parse("ci").unwrap();
        let body = fields(json!({"token_policies": ["reader"], "token_ttl": "30m", "secret_id_num_uses": 1}));
        let role = edit_role(None, &name, "id-1", &body.reader()).unwrap();
        assert!(role.bind_secret_id);
        assert_eq!((role.role_id.as_str(), role.secret_id_num_uses, role.token.token_ttl), ("id-1", 1, 1800));
        let body = fields(json!({"secret_id_ttl": "1h", "bound_cidr_list": "10.0.0.0/8"}));
        let role = edit_role(Some(role), &name, "id-2", &body.reader()).unwrap();
        assert_eq!((role.role_id.as_str(), role.secret_id_num_uses, role.secret_id_ttl), ("id-1", 1, 3600));
        let facts = role_facts(&role);
        assert_eq!(facts["secret_id_bound_cidrs"], json!(["10.0.0.0/8"]));
        assert_eq!(facts["token_policies"], json!(["reader"]));
    }

    #[test]
    fn null_lets_in_nobody_without_a_secret_id() {
        let name = RoleName::parse("ci").unwrap();
        let body = fields(json!({"bind_secret_id": false, "secret_id_bound_cidrs": "10.0.0.0/8"}));
        let role = edit_role(None, &name, "id-1", &body.reader()).unwrap();
        let role =
            edit_role(Some(role), &name, "", &fields(json!({"bind_secret_id": null})).reader()).unwrap();
        assert!(role.bind_secret_id);
    }
}
