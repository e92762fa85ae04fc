//! What a stretch of the log comes to: how many of which kind, by whom, to which paths. Out of indices, and
//! out of entries where these do not know.

use std::collections::BTreeMap;

use symbolon_core::audit::{Action, Counts, Detail, Outcome};
use symbolon_core::event::kv_spelling;
use symbolon_proto::log::Entry;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;

use super::block::{ANY, AS_HEAD, Block};
use super::searching::Searcher;
use crate::audit::log::search::LOOKED_AT_MAX;
use crate::audit::log::{Filter, LogError};

/// Different names after which an answer ends, some megabytes; the rest of a segment comes with it.
const NAMES_MAX: usize = 16_384;
/// What counting a block costs, in entries that could have been looked at meanwhile.
const BLOCK_COST: u64 = 32;
/// Entries that are read together.
const STEP: u64 = 256;

/// How often something was, and how often of that it was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Often {
    /// Requests.
    pub requests: u64,
    /// Of them, those that policy or evidence refused.
    pub denied: u64,
}

impl Often {
    fn and(self, requests: u64, outcome: Outcome) -> Self {
        let denied = if outcome == Outcome::Denied { requests } else { 0 };
        self.with(Self { requests, denied })
    }

    const fn with(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, denied: self.denied + other.denied }
    }
}

/// What a stretch of the log comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries in it.
    pub entries: u64,
    /// Requests by what was asked for, and how it ended; more than entries where some stand for many.
    pub kinds: BTreeMap<(Action, Outcome), u64>,
    /// By the name that the caller's tokens are shown with; without requests by nobody known.
    pub callers: BTreeMap<String, Often>,
    /// By path, as `kv` commands spell it; without counted requests.
    pub paths: BTreeMap<String, Often>,
    /// Refused logins by path, and `role` or user that was claimed.
    pub logins: BTreeMap<(String, String), u64>,
    /// The first and the last entry that counted.
    pub span: Option<(u64, u64)>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What was counted.
    pub tally: Tally,
    /// Where to go on.
    pub rest: Option<(u64, u64)>,
    /// The first entry that was not pruned when this answer began.
    pub minimum: u64,
}

/// What a block says of an entry, if it knows all of it: places in its lists.
struct Places {
    kind: usize,
    caller: usize,
    path: usize,
}

impl Tally {
    fn names(&self) -> usize {
        self.callers.len() + self.paths.len() + self.logins.len()
    }

    fn see(&mut self, index: u64) {
        self.entries += 1;
        let (first, last) = self.span.unwrap_or((index, index));
        self.span = Some((first.min(index), last.max(index)));
    }

    fn add_kind(&mut self, kind: (Action, Outcome), requests: u64) {
        if requests > 0 {
            *self.kinds.entry(kind).or_default() += requests;
        }
    }

    fn add_path(&mut self, path: &str, mount_bytes: u64, often: Often) {
        let spelt = kv_spelling(path, mount_bytes);
        add_name(&mut self.paths, spelt.as_deref().unwrap_or(path), often);
    }

    /// An entry with its detail.
    fn add_entry(&mut self, entry: &Entry, detail: Option<&Detail>) {
        self.see(entry.index);
        let nothing = Detail::default();
        let detail = detail.unwrap_or(&nothing);
        let (action, outcome) = (detail.action(entry.action), entry.outcome);
        if let Some(counts) = detail.counts.as_deref() {
            return self.add_counts((action, outcome), counts);
        }
        self.add_kind((action, outcome), 1);
        let once = Often::default().and(1, outcome);
        add_name(&mut self.callers, &detail.caller, once);
        self.add_path(&detail.path, detail.mount_bytes, once);
        if (action, outcome) == REFUSED_LOGIN {
            let claimed = (detail.path.clone(), detail.claim().to_owned());
            *self.logins.entry(claimed).or_default() += 1;
        }
    }

    /// Many requests in one entry.
    fn add_counts(&mut self, (action, outcome): (Action, Outcome), counts: &Counts) {
        for kind in &counts.kinds {
            let of = (kind.action.unwrap_or(action), kind.outcome.unwrap_or(outcome));
            self.add_kind(of, kind.requests);
            if of == REFUSED_LOGIN {
                *self.logins.entry((COUNTED.to_owned(), String::new())).or_default() += kind.requests;
            }
        }
        self.add_kind((action, outcome), counts.unlisted);
    }

    /// The entries `begin..end` of a block that begins with `first`, as far as it knows them; the others are
    /// left to be opened.
    fn add_block(&mut self, first: u64, block: &Block, (begin, end): (u64, u64)) -> Vec<u64> {
        let mut unknown = Vec::new();
        let mut kinds = vec![0; block.kinds.len()];
        let mut callers = vec![Often::default(); block.callers.len()];
        let mut paths = vec![Often::default(); block.paths.len()];
        for index in begin..end {
            let place = usize::try_from(index - first).unwrap_or(usize::MAX);
            let known = places(block, place).and_then(|at| Some((kind(block, at.kind)?, at)));
            let Some(((_, outcome), at)) = known.filter(|(kind, _)| *kind != REFUSED_LOGIN) else {
                unknown.push(index); // a login that was refused says in its detail who was claimed
                continue;
            };
            self.see(index);
            kinds.get_mut(at.kind).into_iter().for_each(|requests| *requests += 1);
            callers.get_mut(at.caller).into_iter().for_each(|often| *often = often.and(1, outcome));
            paths.get_mut(at.path).into_iter().for_each(|often| *often = often.and(1, outcome));
        }
        for (place, requests) in kinds.into_iter().enumerate() {
            kind(block, place).into_iter().for_each(|kind| self.add_kind(kind, requests));
        }
        for (name, often) in block.callers.iter().zip(callers) {
            add_name(&mut self.callers, name, often);
        }
        for ((path, mount), often) in block.paths.iter().zip(&block.mounts).zip(paths) {
            self.add_path(path, (*mount).into(), often);
        }
        unknown
    }
}

const REFUSED_LOGIN: (Action, Outcome) = (Action::Login, Outcome::Denied);
/// In place of a path, of requests that have no entry of their own.
const COUNTED: &str = "(many, counted)";

/// Nobody has no name, and what never was is not counted.
fn add_name(all: &mut BTreeMap<String, Often>, name: &str, often: Often) {
    if name.is_empty() || often.requests == 0 {
        return;
    }
    match all.get_mut(name) {
        Some(so_far) => *so_far = so_far.with(often),
        None => drop(all.insert(name.to_owned(), often)),
    }
}

fn places(block: &Block, place: usize) -> Option<Places> {
    let of = |column: &[u16]| usize::from(*column.get(place)?).checked_sub(1);
    Some(Places { kind: of(&block.kind)?, caller: of(&block.caller)?, path: of(&block.path)? })
}

/// What was asked for and how it ended, if the block knows it.
fn kind(block: &Block, place: usize) -> Option<(Action, Outcome)> {
    let kind = block.kinds.get(place)?;
    let number = match kind.asked {
        ANY => return None,
        AS_HEAD => kind.action,
        asked => asked,
    };
    Some((Action::from_u8(number)?, Outcome::from_u8(kind.outcome)?))
}

impl Searcher<'_> {
    /// What the entries `from..until` of a time come to, and where to go on; oldest first. Of the filter only
    /// the time counts.
    pub async fn tally(&mut self, filter: &Filter, range: (u64, u64)) -> Result<Counted, LogError> {
        let (minimum, (mut from, until)) = self.of_time(filter, range).await?;
        let (mut tally, mut cost) = (Tally::default(), 0);
        while from < until && cost < LOOKED_AT_MAX && tally.names() < NAMES_MAX {
            let first = from / SEGMENT_ENTRIES * SEGMENT_ENTRIES;
            let end = until.min(first + SEGMENT_ENTRIES);
            let block = self.block(from / SEGMENT_ENTRIES).await?;
            match block.filter(|block| is_within(block, filter)) {
                Some(block) => {
                    let unknown = tally.add_block(first, &block, (from, end));
                    cost += BLOCK_COST + unknown.len() as u64;
                    for index in unknown {
                        let (entry, detail) = self.opened(index).await?;
                        tally.add_entry(&entry, detail.as_ref());
                    }
                    from = end;
                }
                None => {
                    let end = end.min(from + STEP);
                    cost += end - from;
                    for index in from..end {
                        let (entry, detail) = self.opened(index).await?;
                        if filter.is_of_time(&entry) {
                            tally.add_entry(&entry, detail.as_ref());
                        }
                    }
                    from = end;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(Counted { tally, rest: (from < until).then_some((from, until)), minimum })
    }
}

/// Whether all entries of a block are of the asked time.
fn is_within(block: &Block, filter: &Filter) -> bool {
    filter.since_ms.is_none_or(|since| block.first_ms >= since)
        && filter.until_ms.is_none_or(|until| block.last_ms < until)
}
