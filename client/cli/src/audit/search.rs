//! The log with its details, from an open broker: who, what and from where.

use serde::{Deserialize, Serialize};
use symbolon::Method;

use crate::operator::Operator;
use symbolon::Error;

/// What to look for in the log; everything not given fits.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Name of an action, such as `secret-read`.
    pub action: Option<String>,
    /// `allowed`, `denied` or `failed`.
    pub outcome: Option<String>,
    /// Not before this moment, RFC 3339.
    pub since: Option<String>,
    /// Before this moment, RFC 3339.
    pub before: Option<String>,
    /// Exactly this caller.
    pub caller: Option<String>,
    /// Exactly this token accessor.
    pub accessor: Option<String>,
    /// Paths that begin with this.
    pub path: Option<String>,
    /// Exactly this request.
    pub request_id: Option<String>,
    /// First index.
    pub from: Option<u64>,
    /// End of the indices, exclusive.
    pub until: Option<u64>,
    /// Most entries in one answer.
    pub limit: Option<u64>,
    /// Oldest first; otherwise newest first.
    pub oldest_first: bool,
}

/// An entry with its detail, as an open broker shows it to those who may see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownEntry {
    /// Place in the log.
    pub index: u64,
    /// When, RFC 3339.
    pub time: String,
    /// What was asked for.
    pub action: String,
    /// What everybody reads of it: `refused` for whatever was not authorised.
    #[serde(default)]
    pub head: String,
    /// How it ended.
    pub outcome: String,
    /// False if the detail does not open, which somebody should look into.
    pub readable: bool,
    /// Who asked.
    #[serde(default)]
    pub caller: String,
    /// Accessor of the caller's token.
    #[serde(default)]
    pub accessor: String,
    /// Path of the request.
    #[serde(default)]
    pub path: String,
    /// Version of the secret; 0 if none applies.
    #[serde(default)]
    pub version: u64,
    /// What it was about beside the path, such as the token that was made.
    #[serde(default)]
    pub object: String,
    /// Role or policy that decided.
    #[serde(default)]
    pub role: String,
    /// Address of the caller.
    #[serde(default)]
    pub remote: String,
    /// Identifier of the request.
    #[serde(default)]
    pub request_id: String,
    /// Why it was refused or failed.
    #[serde(default)]
    pub reason: String,
    /// The requests that it stands for, if it stands for many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// Requests by nobody known that share an entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// How many.
    pub requests: u64,
    /// When the first came, RFC 3339.
    pub first: String,
    /// When the last came.
    pub last: String,
    /// Of which kinds, some of them, and the rest as the broker gives it.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// Entries that fit, and where to go on.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// Entries in the asked order.
    pub entries: Vec<ShownEntry>,
    /// What was not looked at yet; a broker looks at a bounded number of entries per call.
    pub next: Option<Span>,
}

/// A range of indices.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Span {
    /// First index.
    pub from: u64,
    /// End, exclusive.
    pub until: u64,
}

impl Operator {
    /// One page of the log with details. Needs `read` and `sudo` on `sys/symbolon/audit`.
    pub async fn search_audit(&self, search: &Search) -> Result<Page, Error> {
        let mut call = self.call(Method::GET, "sys/symbolon/audit");
        let texts = [
            ("action", &search.action),
            ("outcome", &search.outcome),
            ("since", &search.since),
            ("before", &search.before),
            ("caller", &search.caller),
            ("accessor", &search.accessor),
            ("path", &search.path),
            ("request_id", &search.request_id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                call = call.query(name, text);
            }
        }
        for (name, number) in [("from", search.from), ("until", search.until), ("limit", search.limit)] {
            if let Some(number) = number {
                call = call.query(name, &number.to_string());
            }
        }
        let order = if search.oldest_first { "false" } else { "true" };
        call.query("newest_first", order).send().await?.data("entries of the audit log")
    }
}
