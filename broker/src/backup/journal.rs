//! What is known of the last backup, and that there is one at a time: each keeps the store from using space
//! again.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use symbolon_proto::id::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Session;
use crate::alarms::{Alarm, Alarms};
use crate::config::BackupConfig;
use crate::error::{Busy, OpError, Text};
use crate::rows::{COUNTERS, NO_SCOPE, Place};
use crate::store::{Expect, Write};

/// Where the last backup is remembered.
const LAST: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "last backup" };

/// How many intervals may pass without a backup before that is an alarm.
const INTERVALS_MAX: u64 = 2;

/// Most characters of a detail: a server's answer can be long.
const DETAIL_CHARS_MAX: usize = 400;

/// A backup that is whole. Stored; fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// When its rows were read, in seconds since the Unix epoch.
    pub at: u64,
    /// Its name in the place where it lies.
    pub name: String,
    /// Which place that is: a digest of its address.
    #[serde(default)]
    pub place: String,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Entries of the log that it holds at least.
    pub entries: u64,
}

/// What failed, in words that anyone may read: the status shows them without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The broker itself.
    Broker,
    /// A card of a recipient.
    Cards,
    /// The directory or bucket.
    Place,
    /// What came back was not what was written.
    ReadBack,
}

impl Fault {
    /// What failed, and who must act.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Broker => "the broker could not read what it stores, or write its log",
            Self::Cards => "a card in backup.recipients cannot be used",
            Self::Place => "the place in backup.to did not take it; the broker's log says more",
            Self::ReadBack => "it could not be read back whole from backup.to; the broker's log says more",
        }
    }
}

/// What this broker does for its backups, sealed or not.
pub struct Backups {
    /// Where and how often, if the configuration says so.
    pub plan: Option<BackupConfig>,
    alarms: Arc<Alarms>,
    turns: Arc<Semaphore>,
    journal: Mutex<Journal>,
}

/// What a session knows of this broker's backups, from its beginning on.
pub type Known = OnceLock<Arc<Backups>>;

/// What the status tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The newest one in the configured place, as far as this process knows: nothing before its first unseal.
    pub last: Option<Made>,
    /// Why the last attempt failed, if it did.
    pub failed: Option<Fault>,
    /// The same in detail, for those who may read it: it can hold addresses and a server's words.
    pub detail: String,
    /// When somebody looked first, in seconds since the Unix epoch.
    since: Option<u64>,
}

impl Default for Backups {
    /// Those of a broker that makes none by itself.
    fn default() -> Self {
        Self::new(None, Arc::default())
    }
}

impl Backups {
    /// For a broker that is configured like this.
    #[must_use]
    pub fn new(plan: Option<BackupConfig>, alarms: Arc<Alarms>) -> Self {
        Self { plan, alarms, turns: Arc::new(Semaphore::new(1)), journal: Mutex::default() }
    }

    /// The turn to make one.
    pub(super) fn turn(&self) -> Result<OwnedSemaphorePermit, OpError> {
        let busy = Busy::Source(Text::fixed("a backup is being made; begin another one when it has ended"));
        Arc::clone(&self.turns).try_acquire_owned().map_err(|_| OpError::Busy(busy))
    }

    /// Whether one is being made.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.turns.available_permits() == 0
    }

    /// What is known.
    #[must_use]
    pub fn journal(&self) -> Journal {
        self.locked().clone()
    }

    /// Learns from the store what earlier processes made in this place.
    pub async fn remember(&self, session: &Session) -> Result<(), OpError> {
        let stored = session.rows.read::<Made>(LAST).await?.map(|(made, _)| made);
        let here = stored.filter(|made| made.place == self.place());
        let mut journal = self.locked();
        journal.last = journal.last.take().or(here);
        Ok(())
    }

    /// The row that remembers this one.
    pub fn change(&self, session: &Session, made: &Made) -> Result<Write, OpError> {
        Ok(session.rows.put(LAST, &self.placed(made), Expect::Any)?)
    }

    /// One was made and proven to be whole.
    pub fn succeeded(&self, made: &Made) {
        let mut journal = self.locked();
        journal.last = Some(self.placed(made));
        (journal.failed, journal.detail) = (None, String::new());
    }

    /// One was not, and why in detail. Whether the same had not been known.
    pub fn failed(&self, fault: Fault, detail: &str) -> bool {
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let mut journal = self.locked();
        let is_news = journal.failed != Some(fault) || journal.detail != detail;
        (journal.failed, journal.detail) = (Some(fault), detail);
        is_news
    }

    /// Whether the next one is due at this moment, in seconds since the Unix epoch. One of the future was
    /// made under a wrong clock, and counts for nothing.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        let Some(plan) = &self.plan else { return false };
        let is_recent = |made: &Made| made.at <= now && now - made.at < plan.every_secs();
        !self.locked().last.as_ref().is_some_and(is_recent)
    }

    /// Raises the alarm if there has been none for too long, and puts it down otherwise.
    pub fn look(&self, now: u64) {
        let Some(plan) = &self.plan else { return };
        let mut journal = self.locked();
        let since = *journal.since.get_or_insert(now);
        let newest = journal.last.as_ref().map_or(since, |made| made.at);
        let is_late = now.saturating_sub(newest) > plan.every_secs().saturating_mul(INTERVALS_MAX);
        self.alarms.set(Alarm::Backup, is_late || journal.failed.is_some());
    }

    fn placed(&self, made: &Made) -> Made {
        Made { place: self.place(), ..made.clone() }
    }

    fn place(&self) -> String {
        let address = self.plan.as_ref().map_or("", |plan| plan.to.as_str());
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(address))
    }

    fn locked(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
