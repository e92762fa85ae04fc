//! When what a session holds in memory is read again.
//!
//! Mounts and policies are held as values, and other brokers may serve the same store. Every commit that
//! changes one of them writes one small row with it. What counts is that row's revision, which the store
//! makes larger with every write, so brokers that write it at the same moment need not agree on anything. A
//! request looks at the revision, not more often than every [`LOOK_MS`], and whoever finds another one reads
//! mounts and policies again. The revision is read before them: what is committed in between is found at the
//! next look.
//!
//! A deployment that was never changed since it runs this version has no such row: then what was read at the
//! unseal holds.

use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::clock::Now;
use symbolon_proto::id::TenantId;

use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place, Rows};
use crate::store::{Expect, Write};

/// Least time between two looks: how long another broker's change may take to be seen here.
pub const LOOK_MS: u64 = 500;

/// Nobody has looked yet.
const NEVER: u64 = u64::MAX;

const ROW: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "configuration" };

/// What was seen last, and when. No lock: a request that need not look reads one number.
pub(super) struct Freshness {
    looked: AtomicU64,
    seen: AtomicU64,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { looked: AtomicU64::new(NEVER), seen: AtomicU64::new(0) }
    }
}

impl Freshness {
    /// Whether it is this request that looks.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let looked = self.looked.load(Ordering::Relaxed);
        let due = looked == NEVER || now.boot_ms.saturating_sub(looked) >= LOOK_MS;
        due && self.looked.compare_exchange(looked, now.boot_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The revision of what is stored, if it is not the one in memory.
    pub(super) async fn other(&self, rows: &Rows) -> Result<Option<u64>, OpError> {
        let revision = rows.revision(ROW).await?.unwrap_or(0);
        Ok((revision != self.seen.load(Ordering::Acquire)).then_some(revision))
    }

    /// What is in memory was read after this revision.
    pub(super) fn has_read(&self, revision: u64) {
        self.seen.store(revision, Ordering::Release);
    }
}

/// The change that goes with every change of mounts or policies.
pub(super) fn changed(rows: &Rows) -> Result<Write, OpError> {
    Ok(rows.put(ROW, &(), Expect::Any)?)
}
