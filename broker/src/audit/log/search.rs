//! Searching the log: heads are looked at first, details opened only where the head fits and cannot decide by
//! itself. Times never go back within a log, so a search ends where they leave what was asked for.

use symbolon_core::audit::{Action, Asked, Counts, Detail, Kind, Outcome};
use symbolon_core::event::{is_path, kv_spelling};
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::Entry;

use super::detail::{self, DetailPlace};
use super::error::LogError;
use super::reader::LogReader;
use super::rows::StoredEntry;

/// Most entries that one call looks at, or as much work of other kinds; the answer says where to go on.
pub const LOOKED_AT_MAX: u64 = 10_000;
/// Most entries that one call returns.
pub const FOUND_MAX: usize = 1000;
/// Entries read at a time.
const STEP: u64 = 256;

/// What to look for. An empty filter finds everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these actions, any if there are none; of what was refused, what was asked for.
    pub actions: Vec<Action>,
    /// Only this outcome.
    pub outcome: Option<Outcome>,
    /// Not before, milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Before, milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// Only this caller, exactly.
    pub caller: Option<String>,
    /// Only this token accessor, exactly.
    pub accessor: Option<String>,
    /// Only paths that begin with this, as the API or as `kv` commands spell them.
    pub path_prefix: Option<String>,
    /// Only this path, in either spelling.
    pub path: Option<String>,
    /// Only this request.
    pub request_id: Option<String>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First index, inclusive.
    pub from: u64,
    /// End, exclusive; beyond the log's end means its end.
    pub until: u64,
    /// Latest first.
    pub newest_first: bool,
    /// Most entries to return, at most [`FOUND_MAX`].
    pub limit: usize,
    /// Only counts: returns none, and says how many would fit.
    pub counts_only: bool,
}

/// An entry with its detail open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// Its detail; `None` if it does not open under this deployment's key, which somebody should look into.
    pub detail: Option<Detail>,
}

/// What one call found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries that fit, in the asked order.
    pub found: Vec<Found>,
    /// How many fit, of those that were looked at.
    pub fitting: u64,
    /// What is left of the range; `None` if nothing is.
    pub rest: Option<Range>,
}

impl LogReader {
    /// Entries of `range` that fit `filter`, with their details, found by looking at all of them. Looks at no
    /// more than [`LOOKED_AT_MAX`] at a time.
    pub async fn search(
        &self,
        audit: &AuditKey,
        deployment: DeploymentId,
        filter: &Filter,
        range: Range,
    ) -> Result<Page, LogError> {
        let mut looking = Looking::begin(self, (audit, deployment), filter, range).await?;
        while !looking.is_done() {
            looking.scan(STEP).await?;
        }
        Ok(looking.into_page())
    }
}

/// A search on its way through its range.
pub(in crate::audit) struct Looking<'a> {
    log: &'a LogReader,
    keys: (&'a AuditKey, DeploymentId),
    filter: &'a Filter,
    /// What is left.
    pub(in crate::audit) rest: Range,
    found: Vec<Found>,
    fitting: u64,
    cost: u64,
}

impl<'a> Looking<'a> {
    /// Begins, with what is there of `range`.
    pub(in crate::audit) async fn begin(
        log: &'a LogReader,
        keys: (&'a AuditKey, DeploymentId),
        filter: &'a Filter,
        range: Range,
    ) -> Result<Self, LogError> {
        let from = range.from.max(log.pruned().await?.minimum); // what was pruned is not there to be found
        let (until, limit) = (range.until.min(log.size().await?), range.limit.min(FOUND_MAX));
        let rest = Range { from, until, limit, ..range };
        Ok(Self { log, keys, filter, rest, found: Vec::new(), fitting: 0, cost: 0 })
    }

    /// Whether nothing is left, or enough was found or looked at for one answer.
    pub(in crate::audit) fn is_done(&self) -> bool {
        self.rest.from >= self.rest.until || self.is_full() || self.cost >= LOOKED_AT_MAX
    }

    fn is_full(&self) -> bool {
        !self.rest.counts_only && self.found.len() >= self.rest.limit
    }

    /// The entry that is next.
    pub(in crate::audit) fn next(&self) -> u64 {
        if self.rest.newest_first { self.rest.until.saturating_sub(1) } else { self.rest.from }
    }

    /// Looks at the next entries, at most `step`.
    pub(in crate::audit) async fn scan(&mut self, step: u64) -> Result<(), LogError> {
        let Range { from, until, newest_first, .. } = self.rest;
        let step = step.min(STEP).min(until - from);
        let begin = if newest_first { until - step } else { from };
        let mut stored: Vec<_> = (begin..).zip(self.log.read(begin, begin + step).await?).collect();
        if newest_first {
            stored.reverse();
        }
        for (index, stored) in stored {
            if self.is_full() || self.rest.from >= self.rest.until {
                break;
            }
            self.look(index, &stored)?;
        }
        tokio::task::yield_now().await; // opening a step takes some milliseconds
        Ok(())
    }

    /// Looks at an entry, which becomes the last one that was looked at.
    pub(in crate::audit) fn look(&mut self, index: u64, stored: &StoredEntry) -> Result<(), LogError> {
        let entry = Entry::decode(&stored.bytes).map_err(|_| LogError::Bundle { index })?;
        self.pass(index);
        if self.filter.ends_at(&entry, self.rest.newest_first) {
            self.rest.from = self.rest.until;
            return Ok(());
        }
        let (audit, deployment) = self.keys;
        let counts_only = self.rest.counts_only;
        let fit = self.filter.look(entry, counts_only, |entry| open_detail(audit, deployment, entry));
        self.fitting += u64::from(fit.is_some());
        self.found.extend(fit.filter(|_| !counts_only));
        self.cost += 1;
        Ok(())
    }

    /// Passes over everything as far as `index`, and over that.
    pub(in crate::audit) fn pass(&mut self, index: u64) {
        if self.rest.newest_first { self.rest.until = index } else { self.rest.from = index + 1 }
    }

    /// Counts an entry that fits, which nobody asked to see.
    pub(in crate::audit) fn count(&mut self) {
        self.fitting += 1;
    }

    /// Work that was as much as looking at so many entries.
    pub(in crate::audit) fn spend(&mut self, cost: u64) {
        self.cost += cost;
    }

    /// What was found.
    pub(in crate::audit) fn into_page(self) -> Page {
        let rest = Some(self.rest).filter(|rest| rest.from < rest.until);
        Page { found: self.found, fitting: self.fitting, rest }
    }
}

/// The detail of an entry; `None` if it does not open.
pub(in crate::audit) fn open_detail(
    audit: &AuditKey,
    deployment: DeploymentId,
    entry: &Entry,
) -> Option<Detail> {
    let place =
        DetailPlace { deployment, broker: entry.broker, action: entry.action, outcome: entry.outcome };
    detail::open(audit, &place, &entry.detail).ok()
}

impl Filter {
    /// The entry if it fits, with its detail. A count that the head alone decides opens none.
    fn look(
        &self,
        entry: Entry,
        counts_only: bool,
        open: impl FnOnce(&Entry) -> Option<Detail>,
    ) -> Option<Found> {
        if !self.fits_head(&entry) {
            return None;
        }
        let asks_detail = self.asks_detail(&entry);
        if counts_only && !asks_detail {
            return Some(Found { entry, detail: None });
        }
        let detail = open(&entry);
        let fits = detail.as_ref().map_or(!asks_detail, |detail| self.fits_detail(&entry, detail));
        fits.then_some(Found { entry, detail })
    }

    /// Whether neither this entry nor any that follows in the asked order is of the asked time.
    fn ends_at(&self, entry: &Entry, newest_first: bool) -> bool {
        match newest_first {
            true => self.since_ms.is_some_and(|since| entry.time_ms < since),
            false => self.until_ms.is_some_and(|until| entry.time_ms >= until),
        }
    }

    fn fits_head(&self, entry: &Entry) -> bool {
        // what was refused says in its detail what it was
        (self.takes(entry.action) || entry.action == Action::Refused)
            && self.outcome.is_none_or(|outcome| outcome == entry.outcome)
            && self.is_of_time(entry)
    }

    pub(in crate::audit) fn is_of_time(&self, entry: &Entry) -> bool {
        self.since_ms.is_none_or(|since| entry.time_ms >= since)
            && self.until_ms.is_none_or(|until| entry.time_ms < until)
    }

    /// Whether it asks for nothing, so that everything fits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::audit) fn takes(&self, action: Action) -> bool {
        self.actions.is_empty() || self.actions.contains(&action)
    }

    pub(in crate::audit) fn takes_path(&self, path: &str, mount_bytes: u64) -> bool {
        let fits = |prefix: &str| {
            path.starts_with(prefix)
                || kv_spelling(path, mount_bytes).is_some_and(|path| path.starts_with(prefix))
        };
        self.path_prefix.as_deref().is_none_or(fits)
            && self.path.as_deref().is_none_or(|asked| is_path(path, mount_bytes, asked))
    }

    /// Whether only a detail can tell that `entry` fits.
    fn asks_detail(&self, entry: &Entry) -> bool {
        let texts = [&self.caller, &self.accessor, &self.path_prefix, &self.path, &self.request_id];
        texts.into_iter().any(Option::is_some) || !self.takes(entry.action)
    }

    fn fits_detail(&self, entry: &Entry, detail: &Detail) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.caller, &detail.caller)
            && is(&self.accessor, &detail.accessor)
            && (self.fits_request(entry, detail)
                || detail.counts.as_ref().is_some_and(|all| self.fits_counted(all)))
    }

    fn fits_request(&self, entry: &Entry, detail: &Detail) -> bool {
        (self.takes(entry.action) || self.takes(detail.action(entry.action)))
            && self.request_id.as_deref().is_none_or(|wanted| wanted == detail.request_id)
            && self.takes_path(&detail.path, detail.mount_bytes)
    }

    /// Whether some of the counted requests fit, as far as the entry shows them.
    fn fits_counted(&self, counts: &Counts) -> bool {
        let is_kind =
            |kind: &Kind| self.actions.is_empty() || kind.action.is_some_and(|action| self.takes(action));
        let is_asked = |asked: &Asked| {
            (self.actions.is_empty() || asked.action.is_some_and(|action| self.takes(action)))
                && self.request_id.as_deref().is_none_or(|wanted| wanted == asked.request_id)
                && self.takes_path(&asked.path, 0)
        };
        match (self.path_prefix.as_ref().or(self.path.as_ref()), &self.request_id) {
            (None, None) => counts.kinds.iter().any(is_kind),
            _ => counts.asked.iter().any(is_asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use symbolon_proto::id::BrokerId;

    use super::*;

    /// Opening costs far more than a head, and a count may be of the whole log.
    #[test]
    fn a_count_opens_a_detail_only_if_the_head_does_not_decide() {
        let (index, time_ms, broker, outcome) = (0, 7, BrokerId::from_bytes([9; 16]), Outcome::Denied);
        let entry = |action| Entry { index, time_ms, action, outcome, broker, detail: Vec::new() };
        let opened = std::cell::Cell::new(0);
        let count = |filter: &Filter, action| {
            let look = |_: &Entry| {
                opened.set(opened.get() + 1);
                None
            };
            (filter.look(entry(action), true, look).is_some(), opened.replace(0))
        };
        let reads = Filter { actions: vec![Action::SecretRead], since_ms: Some(7), ..Filter::default() };
        assert_eq!(count(&reads, Action::SecretRead), (true, 0));
        assert_eq!(count(&reads, Action::Login), (false, 0));
        assert_eq!(count(&reads, Action::Refused), (false, 1), "only the detail says what was refused");
        assert_eq!(count(&Filter::default(), Action::Refused), (true, 0));
        let by = Filter { caller: Some("ci".to_owned()), ..Filter::default() };
        assert_eq!(count(&by, Action::SecretRead), (false, 1));
    }
}
