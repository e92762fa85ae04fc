//! `role/<name>/<part>`: one setting of a role by itself, as some tools read and write them.

use serde_json::{Map, Value, json};
use symbolon_core::identity::approle::AppRole;
use symbolon_core::path::RoleName;

use super::settings::{edit_role, role_facts};
use crate::access::mounts::Mount;
use crate::auth::roles;
use crate::dialect::vault::error::{FaceError, VaultError};
use crate::dialect::vault::fields::{Fields, Reader};
use crate::dialect::vault::{Answer, Call, Verb, unsupported};

/// A setting with a path of its own.
pub(super) struct Part {
    path: &'static str,
    /// What answers call it.
    field: &'static str,
    /// Names that a write may use.
    names: &'static [&'static str],
}

const fn part(path: &'static str, field: &'static str, names: &'static [&'static str]) -> Part {
    Part { path, field, names }
}

const PARTS: [Part; 12] = [
    part("policies", "token_policies", &["token_policies", "policies"]),
    part("token-ttl", "token_ttl", &["token_ttl"]),
    part("token-max-ttl", "token_max_ttl", &["token_max_ttl"]),
    part("token-num-uses", "token_num_uses", &["token_num_uses"]),
    part("token-bound-cidrs", "token_bound_cidrs", &["token_bound_cidrs"]),
    part("period", "token_period", &["token_period", "period"]),
    part("bind-secret-id", "bind_secret_id", &["bind_secret_id"]),
    part("secret-id-num-uses", "secret_id_num_uses", &["secret_id_num_uses"]),
    part("secret-id-ttl", "secret_id_ttl", &["secret_id_ttl"]),
    part("secret-id-bound-cidrs", "secret_id_bound_cidrs", &["secret_id_bound_cidrs"]),
    part("bound-cidr-list", "bound_cidr_list", &["bound_cidr_list"]),
    part("local-secret-ids", "local_secret_ids", &["local_secret_ids"]),
];

impl Part {
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        PARTS.iter().find(|part| part.path == path)
    }

    /// `null` for an older name of another setting, as OpenBao answers.
    fn of(&self, role: &AppRole) -> Value {
        role_facts(role).get(self.field).cloned().unwrap_or_default()
    }

    /// Those fields of a request that are of this part; others stay unread, and are warned of.
    fn only(&self, call: Call<'_>, read: &Reader<'_>) -> Fields {
        read.accept(self.names);
        let all = call.fields.as_map().iter().filter(|(name, _)| self.names.contains(&name.as_str()));
        Fields::new(all.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

pub(super) async fn route(call: Call<'_>, mount: &Mount, name: &str, part: &'static Part) -> Answer {
    let name = RoleName::parse(name)?;
    match call.verb {
        Verb::Read => read(call, mount, &name, part).await,
        Verb::Write => {
            let reader = call.fields.reader();
            let fields = part.only(call, &reader);
            if fields.as_map().is_empty() {
                return Err(FaceError::Invalid("the setting that the path names is missing").into());
            }
            change(call, mount, &name, part, &fields).await?;
            Ok(call.done(roles::route::kind(mount), &reader))
        }
        // As it was when the role was new.
        Verb::Delete => {
            let fresh = edit_role(None, &name, "", &Fields::new(Map::new()).reader())?;
            let value = Some(part.of(&fresh)).filter(|value| !value.is_null()).unwrap_or_else(|| json!([]));
            let fields = Fields::new(Map::from_iter([(part.field.to_owned(), value)]));
            let reset = |role| Ok::<_, VaultError>(edit_role(Some(role), &name, "", &fields.reader())?);
            roles::reset_part(&call.who(), mount, &name, part.path, reset).await?;
            Ok(call.done(roles::route::kind(mount), &call.fields.reader()))
        }
        Verb::List | Verb::Patch => unsupported(),
    }
}

async fn read(call: Call<'_>, mount: &Mount, name: &RoleName, part: &'static Part) -> Answer {
    let role: AppRole = roles::read_part(&call.who(), mount, name, part.path).await?;
    let data = Map::from_iter([(part.field.to_owned(), part.of(&role))]);
    Ok(call
        .request
        .envelope(roles::route::kind(mount), Value::Object(data), &call.fields.reader())
        .into_reply())
}

async fn change(
    call: Call<'_>,
    mount: &Mount,
    name: &RoleName,
    part: &'static Part,
    fields: &Fields,
) -> Result<(), VaultError> {
    let edit = |existing: Option<AppRole>| match existing {
        Some(role) => Ok::<_, VaultError>(edit_role(Some(role), name, "", &fields.reader())?),
        None => Err(FaceError::Invalid("the role does not exist").into()),
    };
    roles::edit_part(&call.who(), mount, name, part.path, edit).await.map(drop)
}
