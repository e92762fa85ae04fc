//! Which bucket a new secret goes into.
//!
//! A bucket holds at most 1,024 secrets under one KEK. A broker claims a whole bucket by compare-and-set on
//! the mount's counter and then fills it from memory, so that creating a secret costs no shared counter. What
//! a restart leaves unfilled stays unfilled: a bucket is a number and 154 bytes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use symbolon_core::audit::{Action, Draft};
use symbolon_proto::id::{MountId, TenantId};
use tokio::sync::Mutex;

use super::{BUCKET_SECRETS_MAX, Keys, MountKeks};
use crate::audit::writer::Writer;
use crate::error::OpError;
use crate::keys;
use crate::rows::{COUNTERS, Place, Rows};
use crate::store::Expect;

/// Claims by other brokers that one claim may lose against before it gives up.
const CLAIM_TRIES: usize = 16;

/// What making a bucket needs: rows, who commits, and keys.
pub struct Ledger<'a> {
    /// Encrypted rows.
    pub rows: &'a Rows,
    /// Who commits.
    pub writer: &'a Writer,
    /// Who makes keys.
    pub keys: &'a Keys,
}

/// Buckets claimed by this broker and not yet full, one per mount.
#[derive(Default)]
pub struct Buckets {
    claimed: Mutex<HashMap<MountId, Claimed>>,
}

struct Claimed {
    bucket: u32,
    left: u32,
}

/// The next bucket of a mount. Wire type.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct NextBucket(u32);

impl Buckets {
    /// A bucket with room for one more secret of `mount`. A place that is then not used is lost, which costs
    /// nothing. The caller holds a pass, because a claim makes a key.
    pub async fn assign(&self, ledger: &Ledger<'_>, mount: MountId) -> Result<u32, OpError> {
        let mut claimed = self.claimed.lock().await;
        if let Some(open) = claimed.get_mut(&mount).filter(|open| open.left > 0) {
            open.left -= 1;
            return Ok(open.bucket);
        }
        let bucket = claim(ledger, mount).await?;
        claimed.insert(mount, Claimed { bucket, left: BUCKET_SECRETS_MAX - 1 });
        Ok(bucket)
    }
}

async fn claim(ledger: &Ledger<'_>, mount: MountId) -> Result<u32, OpError> {
    for _ in 0..CLAIM_TRIES {
        match try_claim(ledger, mount).await {
            Err(OpError::Conflict(_)) => {}
            result => return result,
        }
    }
    Err(OpError::BUSY)
}

async fn try_claim(ledger: &Ledger<'_>, mount: MountId) -> Result<u32, OpError> {
    let place = Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: mount, group: "", name: "bucket" };
    let (NextBucket(bucket), expect) = match ledger.rows.read(place).await? {
        Some((next, revision)) => (next, Expect::Revision(revision)),
        None => (NextBucket::default(), Expect::Absent),
    };
    let epoch = MountKeks::read(ledger.rows, mount).await?.epoch;
    let slot = keys::slot(mount, bucket, epoch);
    let (capsule, kek) = ledger.keys.create_proven(slot.into()).await?;
    let counter = ledger.rows.put(place, &NextBucket(bucket + 1), expect)?;
    let draft = Draft::by_broker(Action::KeyRotate, "new key for a bucket of secrets");
    let _receipt = ledger.writer.commit(vec![counter, capsule], draft).await?;
    ledger.keys.keep(slot, kek);
    Ok(bucket)
}
