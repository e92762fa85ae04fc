//! What is written of requests by nobody known: the first of a source, then counts.
//!
//! ```text
//! request ─▶ is its source being counted? ─ yes ─▶ +1 ─▶ its window ends ─▶ one entry
//!                └─ no ─▶ is there budget?  ─ yes ─▶ an entry   │ no budget left
//!                              └─ no ─▶ +1 ─────────────────────┴─▶ others ─▶ one entry
//! ```
//!
//! **Window.** 10 s for a source that has just come, so that its counts are in the log while somebody may
//! still act on them; each next one without a pause is twice as long, up to a minute: a client that repeats a
//! dead token for a year leaves an entry a minute. A window without requests ends the counting, and the next
//! request is a first one again.
//!
//! **Bound.** Every entry of a source takes from one budget: [`ENTRIES_AT_ONCE`] at once and one more every
//! [`ENTRY_MS`]. Counts that find none left are merged into those of others, which are written every
//! [`OTHERS_MS`] and take from no budget. So strangers add at most 66 entries a minute after the first 120,
//! however many addresses they have. No request goes uncounted.
//!
//! **What decides** between an entry and a count is the source and the load by others; never what was asked
//! for, or why it was refused: how fast an answer comes tells neither.

use std::collections::HashMap;

use symbolon_proto::source::Source;

use crate::audit::{Action, COUNTED, Counts, Detail, Draft, Outcome};
use crate::clock::Now;

/// Entries that may be written at once after a quiet time.
pub const ENTRIES_AT_ONCE: u64 = 120;
/// Time after which one more may be written, in milliseconds.
pub const ENTRY_MS: u64 = 1_000;
/// Between two entries of what cannot be told apart, in milliseconds.
pub const OTHERS_MS: u64 = 10_000;
/// First window of a source, in milliseconds.
pub const WINDOW_MS: u64 = 10_000;
/// Longest window of a source, in milliseconds.
pub const WINDOW_MAX_MS: u64 = 60_000;
/// Sources told apart. A source holds at most some 6 KB.
pub const SOURCES_MAX: usize = 256;

/// The sources that are being counted.
#[derive(Debug, Default)]
pub struct Strangers {
    sources: HashMap<Source, Counted>,
    /// Counts of sources that had to make room, within the budget.
    ended: Vec<(Source, Counts)>,
    others: Option<Others>,
    budget: Budget,
    is_closed: bool,
}

#[derive(Debug)]
struct Counted {
    window_ms: u64,
    ends_boot_ms: u64,
    last_boot_ms: u64,
    counts: Counts,
}

#[derive(Debug)]
struct Others {
    ends_boot_ms: u64,
    counts: Counts,
}

/// Counts on their way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    source: Option<Source>,
    counts: Counts,
}

impl Strangers {
    /// A request by nobody known. What comes back is to be written before it is answered; nothing means that
    /// it was counted.
    pub fn note(&mut self, source: Source, draft: Draft, now: Now) -> Option<Draft> {
        // an open list is no refusal; whatever failed for nobody known is
        let draft = if draft.outcome == Outcome::Allowed { draft } else { draft.veiled() };
        if self.is_closed {
            return Some(draft);
        }
        self.forget_silent(source, now);
        if let Some(known) = self.sources.get_mut(&source) {
            known.last_boot_ms = now.boot_ms;
            known.counts.add(&draft, now);
            return None;
        }
        self.make_room(now);
        let mut counted = Counted::from(now);
        let is_written = self.budget.take(now);
        if !is_written {
            counted.counts.add(&draft, now);
        }
        self.sources.insert(source, counted);
        is_written.then_some(draft)
    }

    /// The first request of a source could not be written: the next is a first one again.
    pub fn not_written(&mut self, source: Source) {
        if self.sources.get(&source).is_some_and(|counted| counted.counts.requests == 0) {
            self.sources.remove(&source);
        }
    }

    /// Counts whose time has come.
    pub fn due(&mut self, now: Now) -> Vec<Summary> {
        self.end_windows(now, |counted| counted.ends_boot_ms <= now.boot_ms);
        self.take_summaries(|others| others.ends_boot_ms <= now.boot_ms)
    }

    /// All counts, for nothing will be counted any more: requests that are still under way are written one by
    /// one.
    pub fn close(&mut self, now: Now) -> Vec<Summary> {
        self.is_closed = true;
        self.end_windows(now, |_| true);
        self.sources.clear();
        self.take_summaries(|_| true)
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, summary: Summary, now: Now) {
        self.merge(summary.counts, now);
    }

    fn forget_silent(&mut self, source: Source, now: Now) {
        let is_over = |counted: &Counted| counted.ends_boot_ms <= now.boot_ms && counted.counts.requests == 0;
        if self.sources.get(&source).is_some_and(is_over) {
            self.sources.remove(&source);
        }
    }

    /// The source that has been quiet the longest is told apart no longer.
    fn make_room(&mut self, now: Now) {
        if self.sources.len() < SOURCES_MAX {
            return;
        }
        let quietest = self.sources.iter().min_by_key(|(_, counted)| counted.last_boot_ms);
        let Some(quietest) = quietest.map(|(source, _)| *source) else { return };
        if let Some(counted) = self.sources.remove(&quietest) {
            self.end(quietest, counted.counts, now);
        }
    }

    fn end_windows(&mut self, now: Now, is_over: impl Fn(&Counted) -> bool) {
        let over: Vec<_> = self.sources.iter().filter(|(_, counted)| is_over(counted)).collect();
        for source in over.into_iter().map(|(source, _)| *source).collect::<Vec<_>>() {
            let counts = self.sources.get_mut(&source).and_then(|counted| counted.next_window(now));
            match counts {
                Some(counts) => self.end(source, counts, now),
                None => drop(self.sources.remove(&source)),
            }
        }
    }

    fn end(&mut self, source: Source, counts: Counts, now: Now) {
        if counts.requests == 0 {
            return;
        }
        if self.budget.take(now) {
            self.ended.push((source, counts));
        } else {
            self.merge(counts, now);
        }
    }

    fn merge(&mut self, counts: Counts, now: Now) {
        let ends_boot_ms = now.boot_ms.saturating_add(OTHERS_MS);
        let others = self.others.get_or_insert_with(|| Others { ends_boot_ms, counts: Counts::default() });
        others.counts.merge(counts);
    }

    fn take_summaries(&mut self, is_due: impl Fn(&Others) -> bool) -> Vec<Summary> {
        let ended = self.ended.drain(..);
        let mut summaries: Vec<_> =
            ended.map(|(source, counts)| Summary { source: Some(source), counts }).collect();
        let others = self.others.take_if(|others| is_due(others));
        summaries.extend(others.map(|others| Summary { source: None, counts: others.counts }));
        summaries
    }
}

impl Counted {
    fn from(now: Now) -> Self {
        Self {
            window_ms: WINDOW_MS,
            ends_boot_ms: now.boot_ms.saturating_add(WINDOW_MS),
            last_boot_ms: now.boot_ms,
            counts: Counts::default(),
        }
    }

    /// What was counted, if anything was, and the window that follows.
    fn next_window(&mut self, now: Now) -> Option<Counts> {
        if self.counts.requests == 0 {
            return None;
        }
        self.window_ms = (self.window_ms * 2).min(WINDOW_MAX_MS);
        self.ends_boot_ms = now.boot_ms.saturating_add(self.window_ms);
        Some(std::mem::take(&mut self.counts))
    }
}

impl Summary {
    /// How many requests it stands for.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.requests
    }

    /// Its entry.
    #[must_use]
    pub fn draft(&self) -> Draft {
        let detail = Detail {
            remote: self.source.as_ref().map(Source::to_string).unwrap_or_default(),
            reason: COUNTED.to_owned(),
            counts: Some(Box::new(self.counts.clone())),
            ..Detail::default()
        };
        Draft { action: Action::Refused, outcome: Outcome::Denied, detail }
    }
}

/// Every entry "lasts" [`ENTRY_MS`]; the budget is used up while [`ENTRIES_AT_ONCE`] last.
#[derive(Debug, Default)]
struct Budget {
    lasting_until_boot_ms: u64,
}

impl Budget {
    fn take(&mut self, now: Now) -> bool {
        let until = self.lasting_until_boot_ms.max(now.boot_ms);
        let has_room = until - now.boot_ms <= (ENTRIES_AT_ONCE - 1) * ENTRY_MS;
        if has_room {
            self.lasting_until_boot_ms = until.saturating_add(ENTRY_MS);
        }
        has_room
    }
}

#[cfg(test)]
mod tests;
