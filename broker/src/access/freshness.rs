//! When what a session holds in memory is read again.
//!
//! Mounts and policies are held as values, and other brokers may serve the same store. Every commit that
//! changes one of them writes one small row with it. What counts is that row's revision, which the store
//! makes larger with every write, so brokers that write it at the same moment need not agree on anything. A
//! request looks at the revision, not more often than every [`LOOK_MS`], and whoever finds another one reads
//! mounts and policies again. The revision is read before them: what is committed in between is found at the
//! next look. Whoever comes while one looks waits for it, and a look that fails is no look: nobody is judged
//! by what is older than the interval.
//!
//! A deployment that was never changed since it runs this version has no such row: then what was read at the
//! unseal holds.

use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::clock::Now;
use symbolon_proto::id::TenantId;

use super::mounts::Mounts;
use super::policies::Policies;
use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place, Rows};
use crate::store::{Expect, Write};

/// Least time between two looks: how long another broker's change may take to be seen here.
pub const LOOK_MS: u64 = 500;

/// Nobody has looked yet.
const NEVER: u64 = u64::MAX;

const ROW: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "configuration" };

/// What requests see in memory, as the store has it.
pub struct Configuration {
    pub(super) mounts: Mounts,
    pub(super) policies: Policies,
    pub(super) revision: u64,
}

impl Configuration {
    /// Reads all of it.
    pub async fn read(rows: &Rows) -> Result<Self, OpError> {
        let revision = stored_revision(rows).await?;
        Ok(Self { mounts: Mounts::read(rows).await?, policies: Policies::read(rows).await?, revision })
    }

    /// For a session in which nobody's policies are asked.
    #[must_use]
    pub fn without_policies(mounts: Mounts) -> Self {
        Self { mounts, policies: Policies::default(), revision: 0 }
    }
}

async fn stored_revision(rows: &Rows) -> Result<u64, OpError> {
    Ok(rows.revision(ROW).await?.unwrap_or(0))
}

/// What was seen last, and when. A request that need not look reads one number.
pub(super) struct Freshness {
    /// When the last look began that came to its end.
    looked: AtomicU64,
    seen: AtomicU64,
    looking: tokio::sync::Mutex<()>,
}

impl Freshness {
    /// Of what is in memory.
    pub(super) fn of(configuration: &Configuration) -> Self {
        Self {
            looked: AtomicU64::new(NEVER),
            seen: AtomicU64::new(configuration.revision),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether whoever asks now must look, or wait for somebody who does.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let looked = self.looked.load(Ordering::Acquire);
        looked == NEVER || now.boot_ms.saturating_sub(looked) >= LOOK_MS
    }

    /// The turn to look.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.looking.lock().await
    }

    /// Whether what is stored is not what is in memory.
    pub(super) async fn is_other(&self, rows: &Rows) -> Result<bool, OpError> {
        Ok(stored_revision(rows).await? != self.seen.load(Ordering::Acquire))
    }

    /// This is in memory now.
    pub(super) fn took(&self, revision: u64) {
        self.seen.store(revision, Ordering::Release);
    }

    /// A look that began then has come to its end.
    pub(super) fn has_looked(&self, began: Now) {
        self.looked.store(began.boot_ms, Ordering::Release);
    }
}

/// The change that goes with every change of mounts or policies.
pub(super) fn changed(rows: &Rows) -> Result<Write, OpError> {
    Ok(rows.put(ROW, &(), Expect::Any)?)
}
