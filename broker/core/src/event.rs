//! One entry of the log as everybody is told it: what `symbolon audit` prints and what leaves for other
//! systems.
//!
//! The members and their order are a promise (`docs/audit-events.md`, `docs/audit-event.schema.json`): one
//! may come, none goes or changes its meaning. What is not known is left out. No value of a secret is in any
//! of them, for none is in a [`Detail`].

use serde::{Deserialize, Serialize};
use symbolon_proto::log::Entry;
use symbolon_proto::moment::utc_millis;

use crate::audit::{self, Action, Detail, Outcome};

mod counts;
mod names;
mod vault;

pub use counts::{Asked, Counts, Kind};

/// An entry of the log, told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was written: RFC 3339, UTC, with milliseconds.
    pub time: String,
    /// What was asked for, such as `secret-read`.
    #[serde(rename = "type")]
    pub action: String,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// Why it was refused or failed, or why the broker did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Actor::is_empty")]
    pub actor: Actor,
    /// Address of the peer as the listener saw it; a network where many requests were counted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Target::is_empty")]
    pub target: Target,
    /// Policies whose rule decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<String>,
    /// Identifier that the answer carried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// The broker that wrote it.
    pub node: String,
    /// Its place in the log, from 0. A store that was restored from a backup gives the same places to other
    /// entries.
    pub index: u64,
    /// Leaf hash of the entry in the log's Merkle tree, 64 hex digits: no other entry has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// What everybody who has the log reads in place of `type`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub head: String,
    /// The requests that it stands for, if there are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Its detail does not open under the deployment's key, which somebody should look into.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unreadable: bool,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// Kind of the login method, or `token`, `custodian` or `broker`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The login mount: two of one method know different people by the same names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount: String,
    /// Role by which they came.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Who it is within the method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Kubernetes namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Uid of the Kubernetes service account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Name that tokens are shown with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Accessor of the token, never the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accessor: String,
}

/// What it was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// The mount that answers for the path: a secrets engine's, `auth/` and a login method's, or `sys`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount: String,
    /// Path of the request, as policies saw it, with the mount.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Version of the secret that was read or written.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: u64,
    /// What else: the token that was made, the ceremony, how many names were listed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
}

impl Event {
    /// Tells an entry. Without its detail, which did not open then, only what everybody may read.
    #[must_use]
    pub fn of(entry: &Entry, detail: Option<&Detail>) -> Self {
        let unreadable = detail.is_none();
        let nothing = Detail::default();
        let detail = detail.unwrap_or(&nothing);
        let action = detail.action(entry.action);
        Self {
            time: utc_millis(entry.time_ms),
            action: action.as_str().to_owned(),
            outcome: entry.outcome.as_str().to_owned(),
            reason: detail.reason.clone(),
            actor: Actor::of(detail, action),
            client: detail.remote.clone(),
            target: Target::of(detail, action),
            policy: detail.policies.iter().map(ToString::to_string).collect(),
            request_id: detail.request_id.clone(),
            node: entry.broker.to_string(),
            index: entry.index,
            hash: entry.encode().map(|bytes| Entry::leaf_hash(&bytes).to_string()).unwrap_or_default(),
            head: if action == entry.action { String::new() } else { entry.action.as_str().to_owned() },
            counts: detail.counts.as_deref().map(Counts::from),
            unreadable,
        }
    }

    /// One line of JSON without the line feed.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }
}

impl Actor {
    fn of(detail: &Detail, action: Action) -> Self {
        let audit::Actor { method, mount, role, subject, namespace, uid } =
            detail.actor.as_deref().cloned().unwrap_or_default();
        // details of earlier versions name the role of a login and the caller only
        let role = if method.is_empty() && is_login(action) { detail.role.clone() } else { role };
        // a login is asked for at its mount
        let mount = match mount.is_empty() && !method.is_empty() && is_login(action) {
            true => mount_of(detail).to_owned(),
            false => mount,
        };
        let subject = if subject.is_empty() { detail.caller.clone() } else { subject };
        let (name, accessor) = (detail.caller.clone(), detail.accessor.clone());
        Self { method, mount, role, subject, namespace, uid, name, accessor }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Target {
    fn of(detail: &Detail, action: Action) -> Self {
        let told = if is_login(action) { "" } else { detail.role.as_str() };
        let object = [detail.object.as_str(), told].into_iter().filter(|text| !text.is_empty());
        Self {
            mount: mount_of(detail).to_owned(),
            path: detail.path.clone(),
            version: detail.version,
            object: object.collect::<Vec<_>>().join("; "),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The beginning of the path that is the mount's own.
fn mount_of(detail: &Detail) -> &str {
    let bytes = usize::try_from(detail.mount_bytes).ok();
    bytes.and_then(|bytes| detail.path.get(..bytes)).unwrap_or_default()
}

/// Whether `asked` is a path or another spelling of it (see [`kv_spelling`]).
#[must_use]
pub fn is_path(path: &str, mount_bytes: u64, asked: &str) -> bool {
    let asked = asked.trim_matches('/');
    let is_kv = |(mount, rest)| asked.strip_prefix(mount).is_some_and(|asked| asked == rest);
    path == asked || kv_parts(path, mount_bytes).is_some_and(is_kv)
}

/// What follows a mount of KV version 2 in the API and in no `kv` command.
const KV_WORDS: [&str; 6] = ["data", "metadata", "delete", "undelete", "destroy", "subkeys"];

/// A path as `kv` commands spell it, `secret/app` for `secret/data/app`; `None` if that is no other spelling.
/// `mount_bytes` of it are the mount's own; if 0, as in details of earlier versions, the first word that may
/// follow a mount counts.
#[must_use]
pub fn kv_spelling(path: &str, mount_bytes: u64) -> Option<String> {
    kv_parts(path, mount_bytes).map(|(mount, rest)| format!("{mount}{rest}"))
}

/// What stands before and after the word that no `kv` command spells.
fn kv_parts(path: &str, mount_bytes: u64) -> Option<(&str, &str)> {
    let mount = usize::try_from(mount_bytes).ok()?;
    let is_word = |at: usize| {
        let rest = path.get(at..)?.strip_prefix('/')?;
        let word = rest.split('/').next().filter(|word| KV_WORDS.contains(word))?;
        Some((at, rest.get(word.len()..)?))
    };
    let (at, rest) = match mount {
        0 => path.match_indices('/').find_map(|(at, _)| is_word(at))?,
        mount => is_word(mount)?,
    };
    Some((path.get(..at)?, rest))
}

/// Whether the role of a detail is the role of a login; elsewhere it says what was done.
fn is_login(action: Action) -> bool {
    action == Action::Login
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
fn is_false(is: &bool) -> bool {
    !is
}

fn name(action: Option<Action>) -> String {
    action.map_or_else(String::new, |action| action.as_str().to_owned())
}

fn outcome(outcome: Option<Outcome>) -> String {
    outcome.map_or_else(String::new, |outcome| outcome.as_str().to_owned())
}

#[cfg(test)]
mod tests;
