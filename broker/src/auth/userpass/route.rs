//! `auth/<userpass mount>`: users, their passwords and policies, login.

use serde_json::json;
use symbolon_core::identity::userpass::User;
use symbolon_core::path::UserName;
use symbolon_proto::Zeroizing;

use super::{self as operations, MISSING_PASSWORD, Wanted};
use crate::access::mounts::Mount;
use crate::auth::roles::route::{edit_params, first, policy_names, set, with_params};
use crate::auth::roles::{self, route::kind};
use crate::auth::token::issued_answer;
use crate::dialect::vault::error::{FaceError, VaultError};
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call, Reply, Verb, unsupported};

/// Routes a request below a userpass mount.
pub async fn route(call: Call<'_>, mount: &Mount, rest: &str) -> Answer {
    let rest: Vec<&str> = rest.split('/').collect();
    match (rest.as_slice(), call.verb) {
        (["users"], _) => roles::route::roles::<User>(call, mount).await,
        (["users", name], Verb::Read) => read_user(call, mount, name).await,
        (["users", name], Verb::Write) => edit(call, mount, name, "", user).await,
        (["users", name], Verb::Delete) => delete_user(call, mount, name).await,
        (["users", name, "password"], Verb::Write) => edit(call, mount, name, "password", new_password).await,
        (["users", name, "policies"], Verb::Write) => edit(call, mount, name, "policies", new_policies).await,
        (["login", name], Verb::Write) => log_in(call, mount, name).await,
        (["users", _] | ["users", _, "password" | "policies"] | ["login", _], _) => unsupported(),
        _ => Err(call.unrouted().await),
    }
}

async fn log_in(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    let password = password(&call.fields.reader())?.ok_or(MISSING_PASSWORD)?;
    let issued = operations::log_in(&call.who(), mount, name, password).await?;
    Ok(issued_answer(call, kind(mount), issued))
}

async fn read_user(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    let row = operations::row_name(&UserName::parse(name)?);
    let user: User = roles::read_role(&call.who(), mount, &row).await?;
    let facts = with_params(json!({}), &user.token);
    Ok(call.request.envelope(kind(mount), facts, &call.fields.reader()).into_reply())
}

async fn delete_user(call: Call<'_>, mount: &Mount, name: &str) -> Answer {
    operations::delete_user(&call.who(), mount, &UserName::parse(name)?).await?;
    Ok(Reply::no_content())
}

async fn edit(
    call: Call<'_>,
    mount: &Mount,
    name: &str,
    part: &'static str,
    parse: fn(Option<&User>, &Reader<'_>) -> Result<Wanted, FaceError>,
) -> Answer {
    let (name, read) = (UserName::parse(name)?, call.fields.reader());
    let edit = |present: Option<&User>| Ok::<_, VaultError>(parse(present, &read)?);
    operations::edit_user(&call.who(), mount, &name, part, edit).await?;
    read.captured(&["name", "username"], name.as_str()); // clients repeat it
    Ok(call.done(kind(mount), &read))
}

/// `users/:name`: everything, with what is not named left as it is.
fn user(present: Option<&User>, read: &Reader<'_>) -> Result<Wanted, FaceError> {
    if read.string("password_hash")?.is_some_and(|hash| !hash.is_empty()) {
        return Err(FaceError::Invalid("password_hash is not supported; send the password"));
    }
    let mut token = present.map(|user| user.token.clone()).unwrap_or_default();
    edit_params(&mut token, read)?;
    Ok(Wanted { token, password: password(read)? })
}

/// `users/:name/password`.
fn new_password(present: Option<&User>, read: &Reader<'_>) -> Result<Wanted, FaceError> {
    let token = present.ok_or(NO_USER)?.token.clone();
    let password = password(read)?.ok_or(FaceError::Invalid("missing password"))?;
    Ok(Wanted { token, password: Some(password) })
}

/// `users/:name/policies`.
fn new_policies(present: Option<&User>, read: &Reader<'_>) -> Result<Wanted, FaceError> {
    let mut token = present.ok_or(NO_USER)?.token.clone();
    let names = first(["token_policies", "policies"], |name| read.comma_list(name))?;
    set(&mut token.token_policies, names.map(|names| policy_names(&names)).transpose()?);
    Ok(Wanted { token, password: None })
}

const NO_USER: FaceError = FaceError::Invalid("username does not exist");

fn password(read: &Reader<'_>) -> Result<Option<Zeroizing<String>>, FaceError> {
    Ok(read.string("password")?.filter(|text| !text.is_empty()).map(Zeroizing::new))
}
