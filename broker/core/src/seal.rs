//! The seal: three different values, so that nobody can forget to ask which state the broker is in.
//!
//! ```text
//! Sealed ──begin──▶ Ceremony ──submit──▶ … ──finish (t shares, check value)──▶ EpochKeys
//!                      └──────── expired, or a wrong combination ────────▶ Sealed
//! EpochKeys ──complete──▶ Unsealed ──seal──▶ Sealed
//! ```
//!
//! Whatever needs keys takes `&Unsealed`. Dropping it wipes them. The fragment itself and its root key live
//! only inside [`Ceremony::finish`], and in a ceremony that changes something while
//! `Change::apply` runs (`docs/skb1.md` 6.2, 7.5 and 7.6). [`EpochKeys`] are half of the
//! way: what was carried over from earlier epochs is in the store.

mod ceremony;
mod keys;
mod record;

use std::sync::Arc;

use rand_core::CryptoRng;
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::share::{self, ShareSetManifest};

pub use self::ceremony::{CEREMONY_MS_MAX, Ceremony, CeremonyError, Progress};
pub use self::keys::{EpochKeys, Unsealed};
pub use self::record::{ForeignRecord, InitError, Recovery, SEAL_RECORD_FORMAT, SealRecord};

/// The first fragment epoch.
pub const FIRST_EPOCH: u32 = 1;

/// A broker without keys.
#[derive(Clone)]
pub struct Sealed {
    record: Arc<SealRecord>,
    deployment: DeploymentId,
    broker: BrokerId,
    set: ShareSetManifest,
    frag_epoch: u32,
}

impl Sealed {
    /// Reads the seal record.
    pub fn open(record: SealRecord) -> Result<Self, ForeignRecord> {
        let bytes = data_encoding::HEXLOWER.decode(record.share_set.as_bytes()).map_err(|_| ForeignRecord)?;
        let set = ShareSetManifest::decode(&bytes).map_err(|_| ForeignRecord)?;
        let frag_epoch = match (record.format, record.frag_epoch) {
            (1 | SEAL_RECORD_FORMAT, 0) => set.frag_epoch(),
            (2 | SEAL_RECORD_FORMAT, epoch) if epoch >= set.frag_epoch().max(FIRST_EPOCH) => epoch,
            _ => return Err(ForeignRecord),
        };
        Ok(Self {
            deployment: record.deployment.parse().map_err(|_| ForeignRecord)?,
            broker: record.broker.parse().map_err(|_| ForeignRecord)?,
            set,
            frag_epoch,
            record: Arc::new(record),
        })
    }

    /// The same deployment with its record in the format of this version; `None` if it is that already.
    #[must_use]
    pub fn raised(&self) -> Option<Self> {
        if self.record.format == SEAL_RECORD_FORMAT {
            return None;
        }
        let record = SealRecord { format: SEAL_RECORD_FORMAT, ..(*self.record).clone() };
        Some(Self { record: Arc::new(record), ..self.clone() })
    }

    /// The same deployment with another share set or fragment epoch. That no epoch is written says how names
    /// are hashed until keys are carried over, so it stays so as long as the epoch does.
    pub(crate) fn succeeded_by(&self, set: ShareSetManifest, frag_epoch: u32) -> Self {
        let mut record = (*self.record).clone();
        record.share_set = data_encoding::HEXLOWER.encode(&set.encode());
        if frag_epoch != self.frag_epoch {
            (record.format, record.frag_epoch) = (SEAL_RECORD_FORMAT, frag_epoch);
        }
        Self { record: Arc::new(record), set, frag_epoch, ..self.clone() }
    }

    /// The public record.
    #[must_use]
    pub fn record(&self) -> &SealRecord {
        &self.record
    }

    /// Deployment id.
    #[must_use]
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// Id of this broker.
    #[must_use]
    pub fn broker(&self) -> BrokerId {
        self.broker
    }

    /// Custodians and their digests.
    #[must_use]
    pub fn share_set(&self) -> &ShareSetManifest {
        &self.set
    }

    /// The fragment epoch f in use.
    #[must_use]
    pub fn frag_epoch(&self) -> u32 {
        self.frag_epoch
    }

    /// Starts to collect as many shares as open the broker. The nonce tells one ceremony from the next.
    pub fn begin(&self, rng: &mut dyn CryptoRng) -> Ceremony {
        Ceremony::new(self.clone(), share::Ceremony::new(self.set.clone()), rng)
    }

    /// Starts to collect the shares of everybody, to see that all of them are right.
    pub fn begin_drill(&self, rng: &mut dyn CryptoRng) -> Ceremony {
        Ceremony::new(self.clone(), share::Ceremony::drill(self.set.clone()), rng)
    }
}
