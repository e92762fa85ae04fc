//! `sys/`: status, life cycle, mounts, policies, capabilities.

pub(in crate::faces) mod audit;
mod backup;
pub(in crate::faces) mod ceremony;
mod custody;
mod elsewhere;
pub(super) mod lifecycle;
mod mounts;
mod retention;
mod root;
mod rotate;
mod sinks;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use symbolon_core::path::ApiPath;
use symbolon_core::policy::Capabilities;

use super::policy;
use crate::access::mounts::Side;
use crate::auth::token::{self, Which};
use crate::dialect::vault::call::object;
use crate::dialect::vault::envelope::Envelope;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::ops::policy::Spelling;
use crate::ops::rotate::Spelling as KekSpelling;
use crate::ops::rules;
use crate::wrapping;

/// Most paths that one question about capabilities may name.
const PATHS_MAX: usize = 256;

/// Routes a request below `sys/` that needs an open broker.
pub async fn route(call: Call<'_>, rest: &[&str]) -> Answer {
    match (rest, call.verb) {
        (["mounts", path @ ..], _) => mounts::route(call, Side::Secrets, path).await,
        (["auth", path @ ..], _) => mounts::route(call, Side::Logins, path).await,
        (["internal", "ui", "mounts"], Verb::Read) => mounts::all_visible(call).await,
        (["internal", "ui", "mounts", path @ ..], Verb::Read) => mounts::visible(call, path).await,
        (["internal", "ui", "resultant-acl"], Verb::Read) => resultant_acl(call).await,
        (["policies", "acl", name @ ..], _) => policy::route(call, Spelling::Current, name).await,
        (["policy", name @ ..], _) => policy::route(call, Spelling::Old, name).await,
        (["rotate"], Verb::Write) => rotate::all_keks(call, KekSpelling::Vault).await,
        (["symbolon", "audit"], Verb::Read) => audit::search(call).await,
        (["symbolon", "audit", "report"], Verb::Read) => audit::report(call).await,
        (["symbolon", "audit", what @ ("segments" | "prune")], _) => retention::route(call, what).await,
        (["symbolon", "audit", what @ ("sinks" | "hash")], _) => sinks::route(call, what).await,
        (["symbolon", "backup"], _) => backup::route(call).await,
        (["symbolon", "rotate", what @ ..], _) => rotate::route(call, what).await,
        (["symbolon", "rotation"], Verb::Read) => rotate::status(call).await,
        (["wrapping", what @ ..], _) => wrapping::route::route(call, what).await,
        (["capabilities-self"], Verb::Write) => capabilities(call, Subject::Own).await,
        (["capabilities"], Verb::Write) => capabilities(call, Subject::Token).await,
        (["capabilities-accessor"], Verb::Write) => capabilities(call, Subject::Accessor).await,
        (["rotate" | "capabilities-self" | "capabilities" | "capabilities-accessor"], _) => unsupported(),
        (other, _) => match elsewhere::way(other) {
            Some(way) => Err(way.into()),
            None => Err(call.unrouted().await),
        },
    }
}

/// Whose capabilities.
#[derive(Clone, Copy)]
enum Subject {
    Own,
    Token,
    Accessor,
}

impl Subject {
    fn named(self, read: &Reader<'_>, call: Call<'_>) -> Result<String, FaceError> {
        let (text, missing) = match self {
            Self::Own => {
                let own = call.request.token.as_ref().map_or("", |token| token.as_str());
                read.captured(&["token"], own); // clients repeat it
                return Ok(String::new());
            }
            Self::Token => (read.string("token")?, "missing token"),
            Self::Accessor => (read.string("accessor")?, "missing accessor"),
        };
        text.filter(|text| !text.is_empty()).ok_or(FaceError::Invalid(missing))
    }
}

async fn capabilities(call: Call<'_>, subject: Subject) -> Answer {
    let read = call.fields.reader();
    let named = subject.named(&read, call)?;
    let which = match subject {
        Subject::Own => Which::Own,
        Subject::Token => Which::Token(&named),
        Subject::Accessor => Which::Accessor(&named),
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
    let found = token::capabilities(&call.who(), which, &paths).await?;
    let found: Vec<Capabilities> = found.into_iter().map(|(_, capabilities)| capabilities).collect();
    let mut envelope = call.request.envelope("system", capabilities_answer(&asked, &found), &read);
    envelope.copied_to_top = true;
    Ok(envelope.into_reply())
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

async fn resultant_acl(call: Call<'_>) -> Answer {
    let rules = rules::own(&call.who()).await?;
    let show = |rules: &BTreeMap<String, Capabilities>| -> Map<String, Value> {
        rules.iter().map(|(path, found)| (path.clone(), json!({ "capabilities": found.names() }))).collect()
    };
    let data =
        json!({ "root": rules.root, "exact_paths": show(&rules.exact), "glob_paths": show(&rules.globs) });
    Ok(Envelope::object(&call.request.request_id, "system", object(data)).into_reply())
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
