//! Many requests in one entry: how many, of which kinds, when, and what some of them asked for.

use serde::{Deserialize, Serialize};

use super::{Action, Detail, Draft, Outcome, named};
use crate::clock::Now;

/// Kinds told apart in one entry; requests of further kinds are counted without theirs.
const KINDS_MAX: usize = 8;
/// Requests shown in one entry.
const ASKED_MAX: usize = 8;
/// Longest text taken from a request, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// What an entry says that stands for counted requests, where others say why.
pub const COUNTED: &str = "nobody known: counted";

/// The requests that an entry stands for. Wire type, version 1: fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// How many.
    pub requests: u64,
    /// When the first came, milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// When the last came.
    pub last_ms: u64,
    /// Of which kinds.
    pub kinds: Vec<Kind>,
    /// How many are of none of `kinds`, for there is room for eight.
    pub unlisted: u64,
    /// Some of them: the first that asked for a path of its own.
    pub asked: Vec<Asked>,
    /// How many times counts of a source came together here, which cannot be told apart any more; 0 if all
    /// requests are of one source.
    pub merged: u64,
}

/// How many requests asked for one thing and ended in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kind {
    /// What was asked for.
    #[serde(with = "named::action")]
    pub action: Option<Action>,
    /// How it ended.
    #[serde(with = "named::outcome")]
    pub outcome: Option<Outcome>,
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
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was asked for.
    #[serde(with = "named::action")]
    pub action: Option<Action>,
    /// Path of the request, its beginning if it is long.
    pub path: String,
    /// Role that evidence was given for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Address that it came from.
    pub remote: String,
    /// Identifier that the answer carried.
    pub request_id: String,
}

impl Counts {
    /// Counts a request.
    pub fn add(&mut self, draft: &Draft, now: Now) {
        self.spans(now.unix_ms, now.unix_ms);
        self.requests += 1;
        let detail = &draft.detail;
        self.add_kind(Kind {
            action: Some(detail.action(draft.action)),
            outcome: Some(draft.outcome),
            reason: beginning(&detail.reason),
            requests: 1,
        });
        self.show(Asked::of(detail, draft.action, now));
    }

    /// Takes in what was counted elsewhere. Whose it was cannot be told any more.
    pub fn merge(&mut self, other: Self) {
        self.spans(other.first_ms, other.last_ms);
        self.requests += other.requests;
        self.unlisted += other.unlisted;
        self.merged += other.merged.max(1);
        other.kinds.into_iter().for_each(|kind| self.add_kind(kind));
        other.asked.into_iter().for_each(|asked| self.show(asked));
    }

    /// Makes it shorter, in the order in which it can be missed. `false` if nothing is left to leave out.
    pub fn shorten(&mut self) -> bool {
        if self.asked.pop().is_some() {
            return true;
        }
        let kind = self.kinds.pop();
        self.unlisted += kind.as_ref().map_or(0, |kind| kind.requests);
        kind.is_some()
    }

    fn spans(&mut self, first_ms: u64, last_ms: u64) {
        self.first_ms = if self.requests == 0 { first_ms } else { self.first_ms.min(first_ms) };
        self.last_ms = self.last_ms.max(last_ms);
    }

    fn add_kind(&mut self, kind: Kind) {
        let is_same = |known: &&mut Kind| {
            (known.action, known.outcome, &known.reason) == (kind.action, kind.outcome, &kind.reason)
        };
        if let Some(known) = self.kinds.iter_mut().find(is_same) {
            known.requests += kind.requests;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.push(kind);
        } else {
            self.unlisted += kind.requests;
        }
    }

    fn show(&mut self, asked: Asked) {
        let is_shown = |known: &Asked| (&known.path, known.action) == (&asked.path, asked.action);
        if self.asked.len() < ASKED_MAX && !self.asked.iter().any(is_shown) {
            self.asked.push(asked);
        }
    }
}

impl Asked {
    fn of(detail: &Detail, head: Action, now: Now) -> Self {
        Self {
            time_ms: now.unix_ms,
            action: Some(detail.action(head)),
            path: beginning(&detail.path),
            role: beginning(detail.claim()),
            remote: detail.remote.clone(),
            request_id: detail.request_id.clone(),
        }
    }
}

/// As much of a text as one entry takes from each of many requests.
fn beginning(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned()
}
