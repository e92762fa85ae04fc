//! The log with its details, from an open broker: who, what and from where.

use serde::Deserialize;
use symbolon::{Call, Method};
use symbolon_core::event::Event;

use crate::operator::Operator;
use symbolon::Error;

/// What to look for in the log; everything not given fits.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Name of an action, such as `secret-read`, or several with commas between them.
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
    /// Exactly this path, as the API or as `kv` commands spell it.
    pub path_exactly: Option<String>,
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
    /// No events, only how many fit.
    pub counts_only: bool,
}

/// Entries that fit, and where to go on.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// Entries in the asked order.
    pub events: Vec<Event>,
    /// How many fit, of those that were looked at.
    pub fitting: u64,
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

impl Search {
    /// What to look for, as parameters of a call.
    pub(super) fn asked<'a>(&self, mut call: Call<'a>) -> Call<'a> {
        let texts = [
            ("action", &self.action),
            ("outcome", &self.outcome),
            ("since", &self.since),
            ("before", &self.before),
            ("caller", &self.caller),
            ("accessor", &self.accessor),
            ("path", &self.path),
            ("path_exactly", &self.path_exactly),
            ("request_id", &self.request_id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                call = call.query(name, text);
            }
        }
        call
    }
}

impl Operator {
    /// One page of the log with details. Needs `read` and `sudo` on `sys/symbolon/audit`.
    pub async fn search_audit(&self, search: &Search) -> Result<Page, Error> {
        let mut call = search.asked(self.call(Method::GET, "sys/symbolon/audit"));
        for (name, number) in [("from", search.from), ("until", search.until), ("limit", search.limit)] {
            if let Some(number) = number {
                call = call.query(name, &number.to_string());
            }
        }
        if search.counts_only {
            call = call.query("count", "true");
        }
        let order = if search.oldest_first { "false" } else { "true" };
        call.query("newest_first", order).send().await?.data("entries of the audit log")
    }
}
