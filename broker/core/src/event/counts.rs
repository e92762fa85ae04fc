//! Many requests in one event.

use serde::{Deserialize, Serialize};
use symbolon_proto::moment::utc_millis;

use super::{is_zero, name, outcome};
use crate::audit;

/// The requests that an event stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// How many.
    pub requests: u64,
    /// When the first came, as the event's `time`.
    pub first: String,
    /// When the last came.
    pub last: String,
    /// Of which kinds.
    pub kinds: Vec<Kind>,
    /// How many are of none of `kinds`.
    #[serde(skip_serializing_if = "is_zero")]
    pub unlisted: u64,
    /// Some of them.
    pub asked: Vec<Asked>,
    /// How many times counts of several sources came together, which cannot be told apart any more.
    #[serde(skip_serializing_if = "is_zero")]
    pub merged: u64,
}

/// How many requests asked for one thing and ended in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kind {
    /// What was asked for.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// How it ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many.
    pub requests: u64,
}

/// One of the counted requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// When.
    pub time: String,
    /// What was asked for.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Role that evidence was given for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Address that it came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// Path of the request, its beginning if it is long.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Identifier that the answer carried.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

impl From<&audit::Counts> for Counts {
    fn from(counts: &audit::Counts) -> Self {
        Self {
            requests: counts.requests,
            first: utc_millis(counts.first_ms),
            last: utc_millis(counts.last_ms),
            kinds: counts.kinds.iter().map(Kind::from).collect(),
            unlisted: counts.unlisted,
            asked: counts.asked.iter().map(Asked::from).collect(),
            merged: counts.merged,
        }
    }
}

impl From<&audit::Kind> for Kind {
    fn from(kind: &audit::Kind) -> Self {
        Self {
            action: name(kind.action),
            outcome: outcome(kind.outcome),
            reason: kind.reason.clone(),
            requests: kind.requests,
        }
    }
}

impl From<&audit::Asked> for Asked {
    fn from(asked: &audit::Asked) -> Self {
        Self {
            time: utc_millis(asked.time_ms),
            action: name(asked.action),
            role: asked.role.clone(),
            client: asked.remote.clone(),
            path: asked.path.clone(),
            request_id: asked.request_id.clone(),
        }
    }
}
