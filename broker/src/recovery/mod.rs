//! Recovery from escrow, offline, on a copy of the store (`docs/recovery.md`).
//!
//! ```text
//! copy ──open──▶ Copy ──fragment──▶ Unlocked ──escrow shares──▶ Recovered ──▶ report, or every secret
//!  (locked)                     rows readable              k of each key epoch
//! ```
//!
//! The same code reads the store as in a running broker; only the other half of the keys is computed here,
//! with k from the escrow envelopes (`local.rs`). Nothing is written and nobody is asked: production does not
//! notice. This bypasses revocation, which is what an escrow is for.

mod local;
mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use symbolon_core::clock::{Clock, Now};
use symbolon_core::dead_man::DeadMan;
use symbolon_core::seal::{EpochKeys, SealRecord, Sealed, Unsealed};
use symbolon_proto::custody::XWingSeed;
use symbolon_proto::custody::escrow::{self, EscrowEnvelope, EscrowKey};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::manifest::{Manifest, VerifiedManifest};
use symbolon_proto::share::ShareSetManifest;

use self::local::LocalKeys;
pub use self::report::{EpochReport, Found, Report};
use crate::access::mounts::Mounts;
use crate::access::session::Parts;
use crate::access::{Configuration, Session};
use crate::config::HighTier;
use crate::custody::deployment::{self, Deployment};
use crate::custody::escrow::{ESCROW_ENVELOPES, ESCROW_KEY, StoredEnvelopes, StoredEscrowKey};
use crate::custody::unseal::{read_enrolment, start_log};
use crate::error::OpError;
use crate::keys::{Keys, SystemKeks};
use crate::ops;
use crate::remote::Leases;
use crate::remote::group::escrow::fits;
use crate::rows::{RecordError, Rows, seal_record_key};
use crate::store::embedded::EmbeddedStore;
use crate::store::{Store, StoreError};

/// Page cache of a copy that is read once.
const CACHE_BYTES: usize = 64 << 20;

/// Why nothing was recovered. Names who must act; the copy is as before.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The copy cannot be opened.
    #[error("the copy of the store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// A store without a deployment.
    #[error("the copy holds no deployment; copy the store of an initialised broker")]
    NotInitialised,
    /// The seal record is of another version, or damaged.
    #[error(
        "the seal record of the copy cannot be read; take a whole copy, made while the broker was stopped or by its backup"
    )]
    SealRecord,
    /// Rows do not open under these keys.
    #[error("a row of the copy failed its integrity check; take another copy")]
    Integrity,
    /// No escrow.
    #[error(
        "this deployment has no escrow: its recovery policy is `none`, and without the fragment service its data is lost"
    )]
    NoEscrow,
    /// The escrow key of another deployment, or not the private half of the stored one.
    #[error("the escrow shares do not give the private half of this deployment's escrow key")]
    OtherEscrowKey,
    /// Fewer usable envelopes than shares are needed.
    #[error("key epoch {key_epoch}: {usable} of {needed} remote shares are in escrow{}", named(.wrong))]
    TooFew {
        /// The key epoch.
        key_epoch: u32,
        /// Envelopes that opened.
        usable: usize,
        /// t.
        needed: u16,
        /// What is wrong with the others.
        wrong: Vec<String>,
    },
    /// The shares do not give the key of the manifest.
    #[error("key epoch {key_epoch}: {source}")]
    Combine {
        /// The key epoch.
        key_epoch: u32,
        /// Why.
        source: escrow::CombineError,
    },
    /// The store's own reader failed.
    #[error("the copy cannot be read: {0}")]
    Read(OpError),
}

fn named(wrong: &[String]) -> String {
    if wrong.is_empty() { String::new() } else { format!("; {}", wrong.join("; ")) }
}

impl From<OpError> for RecoveryError {
    fn from(error: OpError) -> Self {
        match error {
            damaged if damaged == OpError::INTEGRITY => Self::Integrity,
            other => Self::Read(other),
        }
    }
}

impl From<RecordError> for RecoveryError {
    fn from(error: RecordError) -> Self {
        OpError::from(error).into()
    }
}

/// For recovery no time passes: a version that was deleted, but not destroyed, still has its value.
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Now {
        Now { unix_ms: 0, boot_ms: 0 }
    }
}

/// A copy of a store, opened and locked.
pub struct Copy {
    store: Arc<dyn Store>,
    sealed: Sealed,
}

impl Copy {
    /// Opens a copy. A store that a broker has open is refused.
    pub async fn open(path: &Path) -> Result<Self, RecoveryError> {
        Self::of(Arc::new(EmbeddedStore::open(path, CACHE_BYTES)?)).await
    }

    /// A copy that is open already.
    pub async fn of(store: Arc<dyn Store>) -> Result<Self, RecoveryError> {
        let row = store.get(&seal_record_key()).await?.ok_or(RecoveryError::NotInitialised)?;
        let record: SealRecord = serde_json::from_slice(&row.value).map_err(|_| RecoveryError::SealRecord)?;
        let sealed = Sealed::open(record).map_err(|_| RecoveryError::SealRecord)?;
        Ok(Self { store, sealed })
    }

    /// Whose shares give the fragment.
    #[must_use]
    pub fn share_set(&self) -> &ShareSetManifest {
        self.sealed.share_set()
    }

    /// With the fragment the rows can be read, the escrow envelopes among them.
    pub async fn unlock(self, fragment: &Fragment) -> Result<Unlocked, RecoveryError> {
        let keys = EpochKeys::derive(fragment, &self.sealed);
        let unsealed = Arc::new(deployment::complete(self.store.as_ref(), keys).await?);
        let rows = Rows::new(Arc::clone(&self.store), Arc::clone(&unsealed));
        let enrolled = read_enrolment(&rows, &self.sealed).await?;
        let (key, _) = rows.read::<StoredEscrowKey>(ESCROW_KEY).await?.ok_or(RecoveryError::NoEscrow)?;
        let escrow_key = key.decode().map_err(|_| RecoveryError::Integrity)?;
        let stored = rows.read::<StoredEnvelopes>(ESCROW_ENVELOPES).await?.ok_or(RecoveryError::NoEscrow)?;
        let envelopes = stored.0.decode().map_err(|_| RecoveryError::Integrity)?;
        let manifests = enrolled.older.into_iter().chain([enrolled.manifest]).collect();
        Ok(Unlocked { store: self.store, unsealed, rows, escrow_key, envelopes, manifests })
    }
}

/// A copy whose rows can be read, and no secret yet.
pub struct Unlocked {
    store: Arc<dyn Store>,
    unsealed: Arc<Unsealed>,
    rows: Rows,
    escrow_key: EscrowKey,
    envelopes: Vec<EscrowEnvelope>,
    manifests: Vec<VerifiedManifest>,
}

impl Unlocked {
    /// Whose shares give the escrow key.
    #[must_use]
    pub fn escrow_key(&self) -> &EscrowKey {
        &self.escrow_key
    }

    /// With the private escrow key every remote key is put together and checked against its manifest.
    pub async fn recover(self, seed: &XWingSeed) -> Result<Recovered, RecoveryError> {
        if seed.public_key() != *self.escrow_key.public() {
            return Err(RecoveryError::OtherEscrowKey);
        }
        let (mut keys, mut epochs) = (BTreeMap::new(), Vec::new());
        for manifest in &self.manifests {
            let (key, epoch) = recover_epoch(manifest.manifest(), &self.envelopes, seed)?;
            keys.insert(epoch.key_epoch, key);
            epochs.push(epoch);
        }
        let newest = self.manifests.last().ok_or(RecoveryError::Integrity)?.manifest();
        let evaluator = Arc::new(LocalKeys::new(newest.key, keys));
        Ok(Recovered { session: self.session(evaluator).await?, epochs })
    }

    async fn session(self, evaluator: Arc<LocalKeys>) -> Result<Arc<Session>, RecoveryError> {
        let clock: Arc<dyn Clock> = Arc::new(NoTime);
        let Self { store, unsealed, rows, .. } = self;
        let deployment = Deployment::read(store.as_ref(), &unsealed).await?;
        let writer = start_log(&store, &clock, &unsealed, &deployment.log).await?;
        let keys = Keys::start(
            Arc::clone(&unsealed),
            Arc::clone(&store),
            evaluator,
            Leases::default(),
            Arc::clone(&clock),
            HighTier::default(),
        );
        keys.replace_system_keks(SystemKeks::read(&rows).await?);
        // No background task runs, so nothing counts the hours.
        let dead_man = DeadMan::new(u64::MAX, clock.now());
        let configuration = Configuration::without_policies(Mounts::read(&rows).await?);
        let generation = 0;
        Ok(Session::assemble(Parts {
            rows,
            keys,
            configuration,
            clock,
            unsealed,
            writer,
            generation,
            dead_man,
            shape: ops::shape(),
        }))
    }
}

/// k of one epoch from the envelopes of its sharing. Envelopes that are wrong are named even if enough others
/// are right.
fn recover_epoch(
    manifest: &Manifest,
    envelopes: &[EscrowEnvelope],
    seed: &XWingSeed,
) -> Result<(RemoteKey, EpochReport), RecoveryError> {
    let (mut shares, mut wrong) = (Vec::new(), Vec::new());
    for node in &manifest.nodes {
        match envelopes.iter().find(|envelope| fits(envelope, manifest, node.index)) {
            None => wrong.push(format!("node {}: no envelope of its share", node.index)),
            Some(envelope) => match envelope.open(seed) {
                Ok(share) => shares.push((node.index, share)),
                Err(error) => wrong.push(error.to_string()),
            },
        }
    }
    let (key_epoch, needed, usable) = (manifest.key_epoch, manifest.threshold(), shares.len());
    if usable < usize::from(needed) {
        return Err(RecoveryError::TooFew { key_epoch, usable, needed, wrong });
    }
    // Every t neighbours must give the same key, or an envelope that is used in earnest would be the wrong
    // one.
    let mut key = None;
    for neighbours in shares.windows(usize::from(needed)) {
        let combined = escrow::combine(neighbours, &manifest.public);
        key = Some(combined.map_err(|source| RecoveryError::Combine { key_epoch, source })?);
    }
    let key = key.ok_or(RecoveryError::Integrity)?;
    Ok((key, EpochReport { key_epoch, usable, needed, nodes: manifest.nodes.len(), wrong }))
}

/// A copy that can be read in full.
pub struct Recovered {
    session: Arc<Session>,
    epochs: Vec<EpochReport>,
}

#[cfg(test)]
mod tests;
