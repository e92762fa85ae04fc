//! `auth/<approle mount>`: roles, secret ids, login.

use serde_json::{Value, json};
use symbolon_core::identity::approle::{AppRole, SecretIdRecord, SecretIdRequest};
use symbolon_core::json as strict_json;
use symbolon_core::path::RoleName;
use symbolon_proto::Zeroizing;

use super::parts::{self, Part};
use super::settings::{edit_role, role_facts};
use super::{self as operations, Which};
use crate::access::mounts::Mount;
use crate::auth::roles;
use crate::auth::roles::route::{cidrs, required};
use crate::auth::token::issued_answer;
use crate::dialect::time::rfc3339;
use crate::dialect::vault::call::object;
use crate::dialect::vault::envelope::{Data, Envelope};
use crate::dialect::vault::error::{FaceError, VaultError};
use crate::dialect::vault::fields::{Fields, Reader};
use crate::dialect::vault::status::Status;
use crate::dialect::vault::{Answer, Call, Reply, Verb, unsupported};

/// Routes a request below an AppRole mount.
pub async fn route(call: Call<'_>, mount: &Mount, rest: &str) -> Answer {
    let rest: Vec<&str> = rest.split('/').collect();
    match (rest.as_slice(), call.verb) {
        (["role"], _) => roles::route::roles::<AppRole>(call, mount).await,
        (["role", name], _) => role(call, mount, name).await,
        (["role", name, "role-id"], Verb::Read) => read_role_id(call, mount, name).await,
        (["role", name, "role-id"], Verb::Write) => write_role_id(call, mount, name).await,
        (["role", name, "secret-id"], Verb::Write) => new_secret_id(call, mount, name, false).await,
        (["role", name, "secret-id"], Verb::List) => list_secret_ids(call, mount, name).await,
        (["role", name, "custom-secret-id"], Verb::Write) => new_secret_id(call, mount, name, true).await,
        (["role", name, "secret-id", "lookup"], Verb::Write) => lookup(call, mount, name, By::SecretId).await,
        (["role", name, "secret-id-accessor", "lookup"], Verb::Write) => {
            lookup(call, mount, name, By::Accessor).await
        }
        (["role", name, "secret-id", "destroy"], Verb::Write | Verb::Delete) => {
            destroy(call, mount, name, By::SecretId).await
        }
        (["role", name, "secret-id-accessor", "destroy"], Verb::Write | Verb::Delete) => {
            destroy(call, mount, name, By::Accessor).await
        }
        (["tidy", "secret-id"], Verb::Write) => tidy(call, mount).await,
        (["login"], Verb::Write) => log_in(call, mount).await,
        (
            ["login"] | ["tidy", "secret-id"] | ["role", _, "role-id" | "secret-id" | "custom-secret-id"],
            _,
        ) => unsupported(),
        (["role", _, "secret-id" | "secret-id-accessor", "lookup" | "destroy"], _) => unsupported(),
        (["role", name, part], _) => match Part::at(part) {
            Some(part) => parts::route(call, mount, name, part).await,
            None => Err(call.unrouted().await),
        },
        _ => Err(call.unrouted().await),
    }
}

async fn log_in(call: Call<'_>, mount: &Mount) -> Answer {
    let read = call.fields.reader();
    let role_id = required(&read, "role_id", "missing role_id")?;
    // A role that binds addresses instead has no secret ids.
    let secret_id = read.string("secret_id")?.unwrap_or_default();
    let issued = operations::login(&call.who(), mount, &role_id, &secret_id).await?;
    Ok(issued_answer(call, roles::route::kind(mount), issued))
}

/// Nothing is begun: what has ended is removed in rounds, whoever asks.
async fn tidy(call: Call<'_>, mount: &Mount) -> Answer {
    operations::tidy(&call.who(), mount).await?;
    let envelope = call.request.envelope(roles::route::kind(mount), Value::Null, &call.fields.reader());
    let note = "secret ids whose time is over are removed by themselves, in rounds five minutes apart";
    let envelope = Envelope { data: Data::None, warnings: vec![note.to_owned()], ..envelope };
    Ok(envelope.with_status(Status::ACCEPTED))
}

async fn role(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    let fresh_id = operations::fresh_role_id();
    let edit = |existing: Option<AppRole>, name: &RoleName, read: &Reader<'_>| {
        edit_role(existing, name, &fresh_id, read)
    };
    roles::route::role(call, mount, name, edit, role_facts).await
}

async fn read_role_id(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    let name = RoleName::parse(name)?;
    let role: AppRole = roles::read_part(&call.who(), mount, &name, "role-id").await?;
    Ok(call
        .request
        .envelope(roles::route::kind(mount), json!({ "role_id": role.role_id }), &call.fields.reader())
        .into_reply())
}

async fn write_role_id(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    let (name, read) = (RoleName::parse(name)?, call.fields.reader());
    let role_id = required(&read, "role_id", "missing role_id")?;
    let edit = |existing: Option<AppRole>| match existing {
        Some(role) => Ok::<_, VaultError>(AppRole { role_id, ..role }),
        None => Err(FaceError::Invalid("the role does not exist").into()),
    };
    let who = call.who();
    roles::edit_part(&who, mount, &name, "role-id", edit).await?;
    Ok(call.done(roles::route::kind(mount), &read))
}

async fn new_secret_id(call: Call<'_>, mount: &Mount, name: &str, custom: bool) -> Answer {
    let (name, read) = (RoleName::parse(name)?, call.fields.reader());
    let given =
        if custom { Some(Zeroizing::new(required(&read, "secret_id", "missing secret_id")?)) } else { None };
    let (wish, who) = (parse_secret_id(&read)?, call.who());
    let made = operations::create_secret_id(&who, mount, &name, &wish, given).await?;
    let data = json!({
        "secret_id": made.secret_id.as_str(),
        "secret_id_accessor": made.record.accessor,
        "secret_id_num_uses": made.record.uses_left.unwrap_or(0),
        "secret_id_ttl": made.record.ttl_secs,
    });
    Ok(call.request.envelope(roles::route::kind(mount), data, &read).into_reply())
}

async fn list_secret_ids(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    let name = RoleName::parse(name)?;
    let keys = operations::list_secret_ids(&call.who(), mount, &name).await?;
    Ok(call
        .request
        .envelope(roles::route::kind(mount), json!({ "keys": keys }), &call.fields.reader())
        .into_reply())
}

/// How a request names a secret id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    SecretId,
    Accessor,
}

impl By {
    fn read(self, read: &Reader<'_>) -> Result<String, FaceError> {
        match self {
            Self::SecretId => required(read, "secret_id", "missing secret_id"),
            Self::Accessor => required(read, "secret_id_accessor", "missing secret_id_accessor"),
        }
    }

    fn which(self, text: &str) -> Which<'_> {
        match self {
            Self::SecretId => Which::SecretId(text),
            Self::Accessor => Which::Accessor(text),
        }
    }
}

async fn lookup(call: Call<'_>, mount: &Mount, name: &str, by: By) -> Answer {
    let (name, read) = (RoleName::parse(name)?, call.fields.reader());
    let text = by.read(&read)?;
    let which = by.which(&text);
    let found = operations::lookup_secret_id(&call.who(), mount, &name, which).await?;
    Ok(match found {
        Some(record) => {
            call.request.envelope(roles::route::kind(mount), secret_id_facts(&record), &read).into_reply()
        }
        None => Reply::no_content(), // an accessor would have been absent: 404
    })
}

async fn destroy(call: Call<'_>, mount: &Mount, name: &str, by: By) -> Answer {
    let (name, read) = (RoleName::parse(name)?, call.fields.reader());
    let text = by.read(&read)?;
    let which = by.which(&text);
    operations::destroy_secret_id(&call.who(), mount, &name, which).await?;
    Ok(Reply::no_content())
}

/// What a client wants of a new secret id. `metadata` is a string that holds a JSON object, or the object
/// itself.
fn parse_secret_id(read: &Reader<'_>) -> Result<SecretIdRequest, FaceError> {
    Ok(SecretIdRequest {
        metadata: match read.string("metadata") {
            Ok(None) => std::collections::BTreeMap::new(),
            Ok(Some(text)) if text.is_empty() => std::collections::BTreeMap::new(),
            Ok(Some(text)) => {
                let inner =
                    Fields::new(object_with(strict_json::parse(text.as_bytes(), strict_json::Limits::BODY)?));
                inner.reader().string_map("metadata")?.unwrap_or_default()
            }
            Err(_) => read.string_map("metadata")?.unwrap_or_default(),
        },
        cidr_list: cidrs(read, "cidr_list")?.unwrap_or_default(),
        token_bound_cidrs: cidrs(read, "token_bound_cidrs")?.unwrap_or_default(),
        num_uses: read.count("num_uses")?,
        ttl_secs: read.duration_secs("ttl")?,
    })
}

/// Puts a parsed map back under the name that its field has, to read it with the same rules.
fn object_with(map: strict_json::Map) -> strict_json::Map {
    object(json!({ "metadata": map }))
}

/// Facts about a secret id; never the secret id.
fn secret_id_facts(record: &SecretIdRecord) -> Value {
    let time = |secs: u64| rfc3339(secs.saturating_mul(1000));
    json!({
        "cidr_list": record.cidr_list.to_texts(),
        "creation_time": time(record.created),
        "expiration_time": record.expires_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time),
        "last_updated_time": time(record.updated),
        "metadata": record.metadata,
        "secret_id_accessor": record.accessor,
        "secret_id_num_uses": record.uses_left.unwrap_or(0),
        "secret_id_ttl": record.ttl_secs,
        "token_bound_cidrs": record.token_bound_cidrs.to_texts(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::call::object;

    fn fields(body: Value) -> Fields {
        Fields::new(object(body))
    }

    #[test]
    fn metadata_comes_as_text_or_as_object() {
        for metadata in [json!("{\"team\":\"x\"}"), json!({"team": "x"})] {
            let body = fields(json!({"metadata": metadata, "ttl": "5m"}));
            let wish = parse_secret_id(&body.reader()).unwrap();
            assert_eq!((wish.metadata["team"].as_str(), wish.ttl_secs), ("x", Some(300)));
        }
        for metadata in [json!("{"), json!("[1]"), json!({"team": [1]})] {
            let body = fields(json!({"metadata": metadata}));
            assert!(parse_secret_id(&body.reader()).is_err());
        }
        let nothing = fields(json!({}));
        assert_eq!(parse_secret_id(&nothing.reader()).unwrap(), SecretIdRequest::default());
    }
}
