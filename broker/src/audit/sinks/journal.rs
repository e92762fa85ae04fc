//! What is known of all sinks, sealed or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_core::clock::Now;
use tokio::sync::Semaphore;

use super::cursor::Cursor;
use super::error::Fault;
use crate::alarms::{Alarm, Alarms};
use crate::config::{Living, SinkConfig};

/// Most characters of a detail.
const DETAIL_CHARS_MAX: usize = 400;
/// A sink that has failed for so long is an alarm, in milliseconds.
const FAILING_MS_MAX: u64 = 60_000;
/// So is one whose next entry has waited for so long.
const LAG_MS_MAX: u64 = 900_000;

/// A peer that has not kept lines is an alarm for so long: who looks now and then must see it.
const REJECTED_MS: u64 = 600_000;

/// What is known of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How far it has come; `None` before its cursor was read.
    pub cursor: Option<Cursor>,
    /// The first entry that its peer may not have, as it is stored: a crash goes back to it.
    pub stored: u64,
    /// When the first entry was written that its peer does not have, if that is known.
    pub waits_since_ms: Option<u64>,
    /// Why it fails, and since when on the boot clock.
    pub failed: Option<(Fault, u64)>,
    /// When its peer would not keep some lines last, on the boot clock.
    pub rejected_at: Option<u64>,
    /// The same in detail, for those who may read it: it can hold addresses.
    pub detail: String,
}

/// What the status tells of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// As the configuration calls it.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether names leave as they are.
    pub is_plain: bool,
    /// The first entry that its peer may not have; `None` before its cursor was read.
    pub next: Option<u64>,
    /// Entries that its peer does not have.
    pub lag: u64,
    /// Seconds for which the first of them has waited.
    pub lag_secs: u64,
    /// Entries that were pruned before the sink had them.
    pub pruned: u64,
    /// Entries that its peer has seen and would not keep.
    pub rejected: u64,
    /// Why it fails, if it does.
    pub failed: Option<Fault>,
    /// The same in detail.
    pub detail: String,
}

/// What this broker sends elsewhere.
pub struct Shipping {
    lives: Option<Living>,
    alarms: Arc<Alarms>,
    known: Mutex<BTreeMap<String, Known>>,
    looked: Mutex<(u64, u64)>,
    /// One sink reads the log at a time, which bounds what all of them keep of it.
    reading: Semaphore,
}

impl Default for Shipping {
    fn default() -> Self {
        Self {
            lives: None,
            alarms: Arc::default(),
            known: Mutex::default(),
            looked: Mutex::default(),
            reading: Semaphore::new(1),
        }
    }
}

impl Shipping {
    /// For a broker with these settings.
    #[must_use]
    pub fn new(lives: Living, alarms: Arc<Alarms>) -> Self {
        Self { lives: Some(lives), alarms, ..Self::default() }
    }

    /// The sinks that there should be now.
    #[must_use]
    pub fn plan(&self) -> Vec<SinkConfig> {
        self.lives.as_ref().map(|lives| lives.now().audit.sinks.clone()).unwrap_or_default()
    }

    /// The turn to read the log.
    pub async fn reading(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.reading.acquire().await.ok()
    }

    /// What is known of one changes.
    pub fn note(&self, name: &str, change: impl FnOnce(&mut Known)) {
        change(self.known().entry(name.to_owned()).or_default());
    }

    /// The log has so many entries now. Sinks that are gone are forgotten, and the alarm is raised or put
    /// down.
    pub fn look(&self, entries: u64, now: Now) {
        *locked(&self.looked) = (entries, now.unix_ms);
        let plan = self.plan();
        self.known().retain(|name, _| plan.iter().any(|sink| sink.name == *name));
        let states = self.states();
        let known = self.known();
        let is_late = |state: &State| {
            let failing = known.get(&state.name).and_then(|known| known.failed);
            let fails_for = failing.map_or(0, |(_, since)| now.boot_ms.saturating_sub(since));
            let rejected_at = known.get(&state.name).and_then(|known| known.rejected_at);
            let rejects = rejected_at.is_some_and(|at| now.boot_ms.saturating_sub(at) < REJECTED_MS);
            fails_for >= FAILING_MS_MAX || state.lag_secs >= LAG_MS_MAX / 1000 || rejects
        };
        self.alarms.set(Alarm::Sink, states.iter().any(is_late));
    }

    /// Why a sink fails. Whether that is news.
    pub fn failed(&self, name: &str, fault: Fault, detail: &str, now: Now) -> bool {
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let mut is_news = false;
        self.note(name, |known| {
            is_news = known.failed.is_none_or(|(last, _)| last != fault);
            let since = known.failed.map_or(now.boot_ms, |(_, since)| since);
            (known.failed, known.detail) = (Some((fault, since)), detail);
        });
        is_news
    }

    /// Entries from this one on are not pruned by age or size, because a sink has not had them. A sink whose
    /// cursor was not read may have had none.
    #[must_use]
    pub fn held_from(&self) -> u64 {
        let known = self.known();
        let stored = |sink: &SinkConfig| known.get(&sink.name).map_or(0, |known| known.stored);
        self.plan().iter().filter(|sink| sink.hold).map(stored).min().unwrap_or(u64::MAX)
    }

    /// What is known of each, in the order of the configuration.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let ((entries, unix_ms), known) = (*locked(&self.looked), self.known());
        let state = |sink: SinkConfig| {
            let known = known.get(&sink.name).cloned().unwrap_or_default();
            let next = known.cursor.as_ref().map(|cursor| cursor.next);
            let lag = next.map_or(0, |next| entries.saturating_sub(next));
            let since = known.waits_since_ms.filter(|_| lag > 0);
            let cursor = known.cursor.unwrap_or_default();
            State {
                name: sink.name,
                kind: sink.kind,
                is_plain: sink.names == crate::config::Names::Plain,
                next,
                lag,
                lag_secs: since.map_or(0, |since| unix_ms.saturating_sub(since) / 1000),
                pruned: cursor.pruned,
                rejected: cursor.rejected,
                failed: known.failed.map(|(fault, _)| fault),
                detail: known.detail,
            }
        };
        self.plan().into_iter().map(state).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        locked(&self.known)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
