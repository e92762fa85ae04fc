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
    /// The first entry that was not pruned.
    pub minimum: u64,
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

/// All pages together. Bounded: beyond 200,000 names of a kind the others are counted as one.
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
    /// The first entry that was not pruned, as the latest page had it.
    pub minimum: u64,
}

impl Tally {
    /// Adds a page.
    pub fn add(&mut self, page: &Counted) {
        self.entries += page.entries;
        self.minimum = self.minimum.max(page.minimum);
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

impl Tally {
    /// Whether entries of the counted time may have been pruned. None were if the log keeps an entry before
    /// the first that counted.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.minimum > 0 && self.span.is_none_or(|(first, _)| first <= self.minimum)
    }

    /// Whether names were counted as one, so that this one may be among them.
    #[must_use]
    pub fn folds_callers(&self) -> bool {
        self.callers.contains_key(OTHERS)
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
    fn a_count_is_cut_if_it_begins_where_the_log_does_after_a_prune() {
        let tally = |minimum, span| Tally { minimum, span, ..Tally::default() };
        for (minimum, span, is_cut) in [
            (0, None, false),
            (0, Some((0, 9)), false),
            (4096, Some((4096, 5000)), true),
            (4096, None, true),
            (4096, Some((4097, 5000)), false),
        ] {
            assert_eq!(tally(minimum, span).is_cut(), is_cut, "{minimum} {span:?}");
        }
    }

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
