//! `sys/`: status, life cycle, mounts, policies, capabilities.

mod audit;
mod ceremony;
mod lifecycle;
mod mounts;
mod rotate;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use symbolon_core::path::ApiPath;
use symbolon_core::policy::Capabilities;

use super::answer::object;
use super::envelope::Envelope;
use super::error::FaceError;
use super::policy::{self, Spelling};
use super::request::{VaultRequest, Verb};
use super::{Answer, unrouted, unsupported};
use crate::auth::token::{self, Which};
use crate::ops::mount::Side;
use crate::ops::{App, rules};

/// Most paths that one question about capabilities may name.
const PATHS_MAX: usize = 256;

/// Routes a request below `sys/`.
pub async fn route(app: &App, request: &VaultRequest, rest: &[&str]) -> Answer {
    match (rest, request.verb) {
        (["health"], Verb::Read) => lifecycle::health(app, request),
        (["seal-status"], Verb::Read) => lifecycle::seal_status(app),
        (["init"], Verb::Read) => lifecycle::is_initialised(app),
        (["init"], Verb::Write) => lifecycle::init(app, request).await,
        (["unseal"], Verb::Write) => lifecycle::unseal(app, request).await,
        (["seal"], Verb::Write) => lifecycle::seal(app, request).await,
        (["leader"], Verb::Read) => lifecycle::leader(app),
        (["mounts", path @ ..], _) => mounts::route(app, request, Side::Secrets, path).await,
        (["auth", path @ ..], _) => mounts::route(app, request, Side::Logins, path).await,
        (["internal", "ui", "mounts"], Verb::Read) => mounts::all_visible(app, request).await,
        (["internal", "ui", "mounts", path @ ..], Verb::Read) => mounts::visible(app, request, path).await,
        (["internal", "ui", "resultant-acl"], Verb::Read) => resultant_acl(app, request).await,
        (["policies", "acl"], _) => policy::route(app, request, Spelling::Current, None).await,
        (["policies", "acl", name], _) => policy::route(app, request, Spelling::Current, Some(name)).await,
        (["policy"], _) => policy::route(app, request, Spelling::Old, None).await,
        (["policy", name], _) => policy::route(app, request, Spelling::Old, Some(name)).await,
        (["rotate"], Verb::Write) => rotate::all_keks(app, request).await,
        (["symbolon", "ceremony", what @ ..], _) => ceremony::route(app, request, what).await,
        (["symbolon", "ceremonies", what @ ..], _) => ceremony::kept(app, request, what).await,
        (["symbolon", "audit"], Verb::Read) => audit::search(app, request).await,
        (["symbolon", "rotate", what @ ..], _) => rotate::route(app, request, what).await,
        (["symbolon", "rotation"], Verb::Read) => rotate::status(app, request).await,
        (["capabilities-self"], Verb::Write) => capabilities(app, request, Subject::Own).await,
        (["capabilities"], Verb::Write) => capabilities(app, request, Subject::Token).await,
        (["capabilities-accessor"], Verb::Write) => capabilities(app, request, Subject::Accessor).await,
        (["health" | "seal-status" | "init" | "unseal" | "seal" | "leader" | "rotate"], _) => unsupported(),
        (["capabilities-self" | "capabilities" | "capabilities-accessor"], _) => unsupported(),
        _ => unrouted(app, request).await,
    }
}

/// Whose capabilities.
#[derive(Clone, Copy)]
enum Subject {
    Own,
    Token,
    Accessor,
}

async fn capabilities(app: &App, request: &VaultRequest, subject: Subject) -> Answer {
    let read = request.fields.reader();
    let (token, accessor) =
        (read.string("token")?.unwrap_or_default(), read.string("accessor")?.unwrap_or_default());
    let which = match subject {
        Subject::Own => Which::Own,
        Subject::Token if !token.is_empty() => Which::Token(&token),
        Subject::Accessor if !accessor.is_empty() => Which::Accessor(&accessor),
        Subject::Token => return Err(FaceError::Invalid("missing token").into()),
        Subject::Accessor => return Err(FaceError::Invalid("missing accessor").into()),
    };
    let asked = match read.comma_list("paths")? {
        Some(paths) => paths,
        None => read.comma_list("path")?.unwrap_or_default(),
    };
    if asked.is_empty() || asked.len() > PATHS_MAX {
        return Err(FaceError::Invalid("between 1 and 256 paths must be supplied").into());
    }
    let paths: Vec<ApiPath> =
        asked.iter().map(|path| ApiPath::from_decoded(path)).collect::<Result<_, _>>()?;
    let found = token::capabilities(app, &request.requester(), &request.path, which, &paths).await?;
    let found: Vec<Capabilities> = found.into_iter().map(|(_, capabilities)| capabilities).collect();
    let mut envelope = request.envelope("system", capabilities_answer(&asked, &found), &read);
    envelope.copied_to_top = true;
    Ok(envelope.into_response())
}

/// One member per path, spelled as it was asked, and `capabilities` if it was only one.
fn capabilities_answer(asked: &[String], found: &[Capabilities]) -> Value {
    let mut data: Map<String, Value> =
        asked.iter().zip(found).map(|(path, found)| (path.clone(), json!(found.names()))).collect();
    if let [only] = found {
        data.insert("capabilities".to_owned(), json!(only.names()));
    }
    Value::Object(data)
}

async fn resultant_acl(app: &App, request: &VaultRequest) -> Answer {
    let rules = rules::own(app, &request.requester(), &request.path).await?;
    let show = |rules: &BTreeMap<String, Capabilities>| -> Map<String, Value> {
        rules.iter().map(|(path, found)| (path.clone(), json!({ "capabilities": found.names() }))).collect()
    };
    let data =
        json!({ "root": rules.root, "exact_paths": show(&rules.exact), "glob_paths": show(&rules.globs) });
    Ok(Envelope::object(&request.request_id, "system", object(data)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_name_each_path_and_the_only_one_twice() {
        let asked = ["secret/data/a".to_owned()];
        let one = capabilities_answer(&asked, &[Capabilities::NONE]);
        assert_eq!(one, json!({"secret/data/a": ["deny"], "capabilities": ["deny"]}));
        let asked = ["a".to_owned(), "b/".to_owned()];
        let two = capabilities_answer(&asked, &[Capabilities::ROOT, Capabilities::NONE]);
        assert_eq!(two, json!({"a": ["root"], "b/": ["deny"]}));
    }
}
