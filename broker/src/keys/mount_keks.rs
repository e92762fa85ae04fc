//! Which KEK epoch the secrets of a mount are at.

use serde::{Deserialize, Serialize};
use symbolon_proto::id::{MountId, TenantId};

use super::FIRST_KEK_EPOCH;
use crate::error::OpError;
use crate::rows::{COUNTERS, Place, RecordError, Rows};
use crate::store::{Expect, Write};

/// KEK epochs of a mount. Wire type; fields are only ever added. A mount that was never rolled has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountKeks {
    /// New payloads are encrypted under this epoch.
    pub epoch: u32,
    /// How far a roll is.
    pub phase: Phase,
    /// Payloads that the roll under way, or the last one, has moved.
    pub moved: u64,
    /// When that roll was asked for, Unix milliseconds; 0 if there was none.
    pub started_ms: u64,
    /// When it ended; 0 if it has not.
    pub finished_ms: u64,
}

/// The steps of a roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Every payload is under the epoch.
    Settled,
    /// Buckets get their KEKs of the next epoch; nobody uses these yet.
    Preparing {
        /// The next epoch.
        next: u32,
    },
    /// New payloads are under the epoch; older ones are being moved to it.
    Moving,
}

impl Default for MountKeks {
    fn default() -> Self {
        Self { epoch: FIRST_KEK_EPOCH, phase: Phase::Settled, moved: 0, started_ms: 0, finished_ms: 0 }
    }
}

fn place(mount: MountId) -> Place<'static> {
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: mount, group: "", name: "kek epochs" }
}

impl MountKeks {
    /// The epochs of a mount now.
    pub async fn read(rows: &Rows, mount: MountId) -> Result<Self, OpError> {
        Ok(Self::row(rows, mount).await?.0)
    }

    /// The same with what the row must be for a change to happen.
    pub(crate) async fn row(rows: &Rows, mount: MountId) -> Result<(Self, Expect), OpError> {
        Ok(match rows.read(place(mount)).await? {
            Some((keks, revision)) => (keks, Expect::Revision(revision)),
            None => (Self::default(), Expect::Absent),
        })
    }

    /// The change that stores them.
    pub(crate) fn put(&self, rows: &Rows, mount: MountId, expect: Expect) -> Result<Write, RecordError> {
        rows.put(place(mount), self, expect)
    }

    /// The change that asks for a roll; `None` if one is under way.
    pub async fn request_roll(rows: &Rows, mount: MountId, now_ms: u64) -> Result<Option<Write>, OpError> {
        let (keks, expect) = Self::row(rows, mount).await?;
        if keks.phase != Phase::Settled {
            return Ok(None);
        }
        let next =
            keks.epoch.checked_add(1).ok_or(OpError::invalid("no KEK epoch is left for this mount"))?;
        let requested =
            Self { phase: Phase::Preparing { next }, moved: 0, started_ms: now_ms, finished_ms: 0, ..keks };
        Ok(Some(requested.put(rows, mount, expect)?))
    }
}
