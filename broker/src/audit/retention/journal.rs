//! What is known of the log's retention, sealed or not, and what the configuration says of it now.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};
use symbolon_core::clock::Now;
use symbolon_proto::log::Segment;
use tokio::sync::{Mutex as Turns, Notify};

use super::age::Judged;
use super::plan::{Limits, Stock};
use super::segments::{self, PlaceId};
use crate::alarms::{Alarm, Alarms};
use crate::audit::sinks::journal::Shipping;
use crate::config::{AuditConfig, Bucket, Living, WhenFull};
use crate::place::Patience;

const DAY_MS: u64 = 86_400_000;
const MIB: u64 = 1 << 20;
/// Most characters of a detail: a server's answer can be long.
const DETAIL_CHARS_MAX: usize = 400;

/// What failed, in words that anyone may read: the status shows them without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The log itself.
    Log,
    /// The directory or bucket.
    Place,
    /// What came back was not what was written.
    ReadBack,
    /// An object of the same name has other entries.
    Occupied,
    /// The log was cut, and not by this broker.
    Foreign,
    /// The broker itself.
    Broker,
}

impl Fault {
    /// What failed, and who must act.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Log => {
                "a segment of the log cannot be read as it was signed; run `symbolon audit verify`, nothing of it is pruned"
            }
            Self::Place => "the place in audit.export did not take a segment; the broker's log says more",
            Self::ReadBack => {
                "a segment could not be read back whole from audit.export; the broker's log says more"
            }
            Self::Occupied => {
                "audit.export holds a segment of the same name with other entries, perhaps the only copy of a log that was lost; the broker's log names it: move it elsewhere and keep it, or give this broker another place; nothing is pruned"
            }
            Self::Foreign => {
                "the log begins elsewhere than where this broker cut it last: somebody else wrote to the store; keep a copy of it for an investigation, nothing more is pruned"
            }
            Self::Broker => "the broker could not read its store, or write its log",
        }
    }
}

/// What the status tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The first entry that is kept.
    pub minimum: u64,
    /// Entries from there on of which it is known what they take.
    pub counted_until: u64,
    /// All entries before this one were exported to the present place, or pruned.
    pub exported_until: u64,
    /// Bytes that the log takes in the store, about.
    pub bytes: u64,
    /// Bytes that it may take, if the configuration says so.
    pub budget_bytes: Option<u64>,
    /// Days until they are used up at the pace of the kept segments, if it can be told.
    pub days_left: Option<u64>,
    /// Whether nothing is written but what has a reserve, because they are used up.
    pub is_full: bool,
    /// Whether age is judged by less than the clock says, because that jumped.
    pub is_clock_doubted: bool,
    /// Why the last round failed, if it did.
    pub failed: Option<Fault>,
    /// The same in detail, for those who may read it: it can hold addresses and a server's words.
    pub detail: String,
}

/// What this broker does for the retention of its log.
#[derive(Default)]
pub struct Retention {
    /// How long a bucket may take.
    pub patience: Patience,
    /// Where entries are sent: what has not arrived there is kept as long as there is space.
    pub sinks: Arc<Shipping>,
    lives: Option<Living>,
    alarms: Arc<Alarms>,
    journal: Mutex<Journal>,
    judged: Mutex<Option<Judged>>,
    anchored: AtomicU64,
    seen: Mutex<BTreeMap<Segment, segments::Known>>,
    wake: Notify,
    turns: Turns<()>,
}

/// What a session knows of it, from its beginning on.
pub type Known = OnceLock<Arc<Retention>>;

impl Retention {
    /// For a broker with these settings.
    #[must_use]
    pub fn new(lives: Living, alarms: Arc<Alarms>) -> Self {
        let sinks = Arc::new(Shipping::new(lives.clone(), Arc::clone(&alarms)));
        Self { lives: Some(lives), alarms, sinks, ..Self::default() }
    }

    /// What the configuration says at this moment.
    #[must_use]
    pub fn plan(&self) -> AuditConfig {
        self.lives.as_ref().map(|lives| lives.now().audit.clone()).unwrap_or_default()
    }

    /// What is known.
    #[must_use]
    pub fn journal(&self) -> Journal {
        locked(&self.journal).clone()
    }

    /// What time it is at least, after `stored_ms` was the last that is stored.
    pub fn judge(&self, stored_ms: Option<u64>, now: Now) -> u64 {
        let mut judged = locked(&self.judged);
        let judged = judged.get_or_insert_with(|| Judged::resume(stored_ms, now));
        let time = judged.look(now);
        locked(&self.journal).is_clock_doubted = judged.is_behind(now);
        time
    }

    /// The judged time as it is stored; `None` before it was looked at.
    #[must_use]
    pub fn judged_ms(&self) -> Option<u64> {
        locked(&self.judged).as_ref().map(Judged::unix_ms)
    }

    /// The fragment service remembers the log with so many entries.
    pub fn is_anchored(&self, entries: u64) {
        self.anchored.store(entries, Ordering::Relaxed);
    }

    /// How many it remembers.
    #[must_use]
    pub fn anchored(&self) -> u64 {
        self.anchored.load(Ordering::Relaxed)
    }

    /// A segment was read in the store, and proven against the signed checkpoint.
    pub fn saw(&self, segment: Segment, proven: segments::Known) {
        locked(&self.seen).insert(segment, segments::Known { exported: None, ..proven });
    }

    /// What was proven of a segment since this process began. Rows are nobody's word.
    #[must_use]
    pub fn seen(&self, segment: Segment) -> Option<segments::Known> {
        locked(&self.seen).get(&segment).copied()
    }

    /// Forgets what lies before a segment: it is gone.
    pub fn forget_before(&self, first: Segment) {
        let mut seen = locked(&self.seen);
        *seen = seen.split_off(&first);
    }

    /// The turn to count, export or cut.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns.lock().await
    }

    /// Lets the next round begin at once.
    pub fn hurry(&self) {
        self.wake.notify_one();
    }

    /// Waits until somebody wants that.
    pub async fn hurried(&self) {
        self.wake.notified().await;
    }

    /// A round has looked at the log.
    pub fn looked(&self, limits: &Limits, minimum: u64, stock: &Stock<'_>) {
        let bytes = stock.bytes();
        let is_exported = |known: &segments::Known| limits.place.is_some_and(|place| known.is_in(place));
        let exported = stock.segments.iter().take_while(|(_, known)| is_exported(known)).last();
        let mut journal = locked(&self.journal);
        journal.minimum = minimum;
        journal.counted_until = stock.segments.last().map_or(minimum, |(segment, _)| segment.end());
        journal.exported_until = exported.map_or(minimum, |(segment, _)| segment.end());
        (journal.bytes, journal.budget_bytes) = (bytes, limits.budget_bytes);
        journal.days_left = limits.budget_bytes.and_then(|budget| stock.days_left(budget));
        journal.is_full = limits.is_full(bytes);
        self.alarms.set(Alarm::LogBudget, limits.is_scarce(bytes));
    }

    /// A round did all that it should.
    pub fn succeeded(&self) {
        let mut journal = locked(&self.journal);
        (journal.failed, journal.detail) = (None, String::new());
        self.alarms.set(Alarm::Retention, false);
    }

    /// It did not, and why in detail. Whether the same had not been known.
    pub fn failed(&self, fault: Fault, detail: &str) -> bool {
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let mut journal = locked(&self.journal);
        let is_news = journal.failed != Some(fault) || journal.detail != detail;
        (journal.failed, journal.detail) = (Some(fault), detail);
        self.alarms.set(Alarm::Retention, true);
        is_news
    }
}

impl From<&AuditConfig> for Limits {
    fn from(plan: &AuditConfig) -> Self {
        Self {
            keep_ms: plan.keep_days.map(|days| days.saturating_mul(DAY_MS)),
            keep_bytes: plan.keep_mib.map(|mib| mib.saturating_mul(MIB)),
            budget_bytes: plan.disk_budget_mib.map(|mib| mib.saturating_mul(MIB)),
            prunes_when_full: plan.when_full == WhenFull::Prune,
            place: plan.place().map(|address| place_id(address, plan.bucket.as_ref())),
        }
    }
}

/// What stands for a place in rows that anybody with the disk can read: its address, and of a bucket the
/// server too, for another server has other objects.
#[must_use]
pub fn place_id(address: &str, bucket: Option<&Bucket>) -> PlaceId {
    let endpoint =
        bucket.filter(|_| address.starts_with("s3://")).and_then(|bucket| bucket.endpoint.as_ref());
    let hash = Sha256::new().chain_update(address);
    let hash = endpoint.iter().fold(hash, |hash, endpoint| hash.chain_update([0]).chain_update(endpoint));
    hash.finalize().into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
