//! What a time comes to in the log, page by page as a broker counts it, put together here.

use std::collections::BTreeMap;

use serde::Deserialize;
use symbolon::{Error, Method};

use super::search::Span;
use crate::operator::Operator;

/// Different names that are told apart; what is beyond is counted as one.
pub const NAMES_MAX: usize = 200_000;
/// Under which name.
pub const OTHERS: &str = "(others)";

/// One page, as it is answered.
#[derive(Clone, Debug, Deserialize)]
pub struct Counted {
    /// Entries.
    pub entries: u64,
    /// The first of them.
    pub first: Option<u64>,
    /// The last.
    pub last: Option<u64>,
    kinds: Vec<KindCount>,
    callers: Vec<NameCount>,
    paths: Vec<NameCount>,
    refused_logins: Vec<LoginCount>,
    /// What was not looked at yet.
    pub next: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
struct KindCount {
    #[serde(rename = "type")]
    action: String,
    outcome: String,
    requests: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct NameCount {
    name: String,
    requests: u64,
    denied: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct LoginCount {
    path: String,
    claimed: String,
    requests: u64,
}

/// How often, and how often of that it was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Often {
    /// Requests.
    pub requests: u64,
    /// Of them refused.
    pub denied: u64,
}

/// Requests by action and outcome.
pub type Kinds = BTreeMap<(String, String), u64>;
/// Refused logins by path and who was claimed.
pub type Logins = BTreeMap<(String, String), u64>;

/// All pages together. Bounded: beyond [`NAMES_MAX`] names of a kind the others are counted as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries.
    pub entries: u64,
    /// The first and the last of them.
    pub span: Option<(u64, u64)>,
    /// By action and outcome.
    pub kinds: Kinds,
    /// By caller.
    pub callers: BTreeMap<String, Often>,
    /// By path.
    pub paths: BTreeMap<String, Often>,
    /// Refused logins.
    pub logins: Logins,
}

impl Tally {
    /// Adds a page.
    pub fn add(&mut self, page: &Counted) {
        self.entries += page.entries;
        if let (Some(first), Some(last)) = (page.first, page.last) {
            let (from, until) = self.span.unwrap_or((first, last));
            self.span = Some((from.min(first), until.max(last)));
        }
        for kind in &page.kinds {
            *self.kinds.entry((kind.action.clone(), kind.outcome.clone())).or_default() += kind.requests;
        }
        add_names(&mut self.callers, &page.callers);
        add_names(&mut self.paths, &page.paths);
        for login in &page.refused_logins {
            let name = (login.path.clone(), login.claimed.clone());
            let is_known = self.logins.contains_key(&name) || self.logins.len() < NAMES_MAX;
            let name = if is_known { name } else { (OTHERS.to_owned(), String::new()) };
            *self.logins.entry(name).or_default() += login.requests;
        }
    }
}

fn add_names(all: &mut BTreeMap<String, Often>, page: &[NameCount]) {
    for NameCount { name, requests, denied } in page {
        let is_known = all.contains_key(name) || all.len() < NAMES_MAX;
        let name = if is_known { name.as_str() } else { OTHERS };
        let often = all.entry(name.to_owned()).or_default();
        often.requests += requests;
        often.denied += denied;
    }
}

impl Operator {
    /// One page of what the entries of a time come to. Needs `read` and `sudo` on
    /// `sys/symbolon/audit/report`.
    pub async fn count_audit(
        &self,
        since: Option<&str>,
        before: Option<&str>,
        span: Span,
    ) -> Result<Counted, Error> {
        let mut call = self.call(Method::GET, "sys/symbolon/audit/report");
        for (name, text) in [("since", since), ("before", before)] {
            if let Some(text) = text {
                call = call.query(name, text);
            }
        }
        call = call.query("from", &span.from.to_string()).query("until", &span.until.to_string());
        call.send().await?.data("numbers of the audit log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_nothing_is_left_uncounted() {
        let mut all = BTreeMap::new();
        let page = |first: usize| {
            let name = |number: usize| NameCount { name: format!("n{number}"), requests: 2, denied: 1 };
            (first..first + NAMES_MAX / 2).map(name).collect::<Vec<_>>()
        };
        for first in [0, NAMES_MAX / 2, NAMES_MAX, 0] {
            add_names(&mut all, &page(first));
        }
        assert_eq!(all.len(), NAMES_MAX + 1);
        assert_eq!(all["n0"], Often { requests: 4, denied: 2 });
        assert_eq!(all[OTHERS].requests, NAMES_MAX as u64);
    }
}
