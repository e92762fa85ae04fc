//! The seal: three different values, so that nobody can forget to ask which state the broker is in.
//!
//! ```text
//! Sealed ──begin──▶ Ceremony ──submit──▶ … ──finish (t shares, check value)──▶ EpochKeys ──complete──▶ Unsealed ──seal──▶ Sealed
//!                      └──────── expired, or a wrong combination ────────▶ Sealed
//! ```
//!
//! Whatever needs keys takes `&Unsealed`. Dropping it wipes them. The fragment itself and its root key live
//! only inside [`Ceremony::finish`], and in a ceremony that changes something while
//! [`crate::change::Change::apply`] runs (`docs/skb1.md` 6.2, 7.5 and 7.6). [`EpochKeys`] are half of the
//! way: what was carried over from earlier epochs is in the store.

use std::sync::{Arc, PoisonError, RwLock};

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use symbolon_proto::Zeroizing;
use symbolon_proto::hierarchy::{AuditKey, Fragment, NameKey, NetKey, PurposeKeys, StateKey};
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::secret::wipe_stack;
use symbolon_proto::share::{self, Share, ShareError, ShareSetManifest};

use crate::carried::{Carried, ForeignKeys, Lasting, Previous};
use crate::clock::Now;

/// All shares are forgotten this long after the first one came: none is held longer (`docs/skb1.md` 7.5).
pub const CEREMONY_MS_MAX: u64 = 30 * 60 * 1000;

/// The first fragment epoch.
pub const FIRST_EPOCH: u32 = 1;

/// What happens to the data if the remote vendor disappears. Chosen at `init`, shown in every status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// Losing the fragment service loses the data.
    None,
    /// The remote's shares are also sealed to a key that other custodians hold together. Bypasses every
    /// revocation.
    CustomerEscrow,
}

impl Recovery {
    /// Reads the operator's choice.
    pub fn parse(text: &str) -> Result<Self, InitError> {
        match text {
            "none" => Ok(Self::None),
            "customer-escrow" => Ok(Self::CustomerEscrow),
            _ => Err(InitError::UnknownRecovery),
        }
    }

    /// The word in configuration and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CustomerEscrow => "customer-escrow",
        }
    }
}

/// Why a deployment cannot be initialised as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// Nobody chose.
    #[error("a recovery policy must be chosen: `none` means that losing the fragment service loses the data")]
    RecoveryNotChosen,
    /// Neither of the known words.
    #[error("the recovery policy must be `none` or `customer-escrow`")]
    UnknownRecovery,
    /// Escrow without the key to seal to.
    #[error(
        "`customer-escrow` needs `[init] escrow_key_file` in the broker's configuration; `symbolon recovery keygen` makes that file"
    )]
    EscrowKeyMissing,
    /// A file that is no escrow key.
    #[error(
        "`[init] escrow_key_file` cannot be read as an escrow key; take the file that `symbolon recovery keygen` wrote"
    )]
    EscrowKeyUnusable,
    /// A key that nobody would use.
    #[error(
        "`[init] escrow_key_file` is set, but the recovery policy is `none`; choose `customer-escrow` or remove the line"
    )]
    EscrowKeyUnused,
    /// Share numbers out of range.
    #[error("shares and threshold must satisfy 2 <= threshold <= shares <= 16")]
    ShareNumbers,
    /// Two ways to say who holds the shares.
    #[error("custodians are given by name and by card; a card names its owner, so leave the names out")]
    NamesAndCards,
    /// More or fewer names than shares, or a name that is empty, too long or given twice.
    #[error(
        "give one name or one card per custodian: as many as shares, each different, names with 1 to 64 printable characters"
    )]
    CustodianNames,
}

/// The format that is written. Records of format 1 have no fragment epoch of their own; theirs is that of the
/// share set. Their deployments hash names with K_index itself.
pub const SEAL_RECORD_FORMAT: u8 = 2;

/// The one row of the store that anyone may read. Wire type; a new field needs a new `format`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealRecord {
    /// 1 or 2.
    pub format: u8,
    /// Deployment id, hex.
    pub deployment: String,
    /// Id of this broker, hex.
    pub broker: String,
    /// When it was initialised, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Recovery policy.
    pub recovery: Recovery,
    /// Share-set manifest (`docs/skb1.md` 7.3), hex of its wire form.
    pub share_set: String,
    /// The fragment epoch in use: that of the share set, or a later one with the same shares.
    #[serde(default)]
    pub frag_epoch: u32,
    /// Ed25519 key of the fragment service's root, hex.
    pub service_root: String,
    /// Verifier key of the audit log, C2SP signed-note form.
    pub log_key: String,
}

/// A store that holds something else than a deployment this version understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store's seal record is not one of this version; was the file written by another program or a newer Symbolon?"
)]
pub struct ForeignRecord;

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
            (1, 0) => set.frag_epoch(),
            (SEAL_RECORD_FORMAT, epoch) if epoch >= set.frag_epoch().max(FIRST_EPOCH) => epoch,
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

    /// The same deployment with another share set or fragment epoch. The format says how names are hashed
    /// until keys are carried over, so it stays as long as the epoch does.
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
        self.collect(share::Ceremony::new(self.set.clone()), rng)
    }

    /// Starts to collect the shares of everybody, to see that all of them are right.
    pub fn begin_drill(&self, rng: &mut dyn CryptoRng) -> Ceremony {
        self.collect(share::Ceremony::drill(self.set.clone()), rng)
    }

    fn collect(&self, shares: share::Ceremony, rng: &mut dyn CryptoRng) -> Ceremony {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        Ceremony { sealed: self.clone(), shares, nonce, first_ms: None }
    }
}

/// Why a share, or a whole ceremony, was refused. Names custodians, never their shares.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The share itself.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Every share was right on its own, yet together they are not the fragment: the share set was made
    /// wrongly.
    #[error(
        "the shares are valid but their combination is not; the share set is faulty and the ceremony was cleared"
    )]
    WrongCombination,
}

/// Shares on their way to each other.
pub struct Ceremony {
    sealed: Sealed,
    shares: share::Ceremony,
    nonce: [u8; 16],
    first_ms: Option<u64>,
}

/// How far a ceremony is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Custodians who have given their share.
    pub given: Vec<String>,
    /// Shares that are collected in all: the threshold, or in a drill everybody's.
    pub threshold: u8,
}

impl Progress {
    /// Whether enough shares are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.given.len() >= usize::from(self.threshold)
    }
}

impl Ceremony {
    /// Takes one share. A refused share changes nothing.
    pub fn submit(&mut self, share: Share, now: Now) -> Result<Progress, CeremonyError> {
        self.shares.submit(share, now.boot_ms)?;
        self.first_ms.get_or_insert(now.boot_ms);
        Ok(self.progress())
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { given: self.shares.given(), threshold: self.shares.wanted() }
    }

    /// Whether enough shares are here to recombine them, though a drill may wait for more.
    #[must_use]
    pub fn may_recombine(&self) -> bool {
        self.shares.progress().is_complete()
    }

    /// Tells this ceremony from others, hex.
    #[must_use]
    pub fn nonce(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.nonce)
    }

    /// When its shares are forgotten, on the boot clock; `None` before the first one.
    #[must_use]
    pub fn expires_boot_ms(&self) -> Option<u64> {
        self.first_ms.map(|first| first.saturating_add(CEREMONY_MS_MAX))
    }

    /// Whether its shares are too old to keep.
    #[must_use]
    pub fn is_expired(&self, now: Now) -> bool {
        self.first_ms.is_some_and(|first| now.boot_ms.saturating_sub(first) > CEREMONY_MS_MAX)
    }

    /// Recombines the fragment, checks it, derives the purpose keys and forgets everything else.
    pub fn finish(self) -> Result<EpochKeys, CeremonyError> {
        let sealed = self.sealed.clone();
        let fragment = self.recombine()?;
        let keys = EpochKeys::derive(&fragment, &sealed);
        drop(fragment);
        wipe_stack();
        Ok(keys)
    }

    /// The fragment itself, checked, for a ceremony that changes something. The shares are forgotten.
    pub fn recombine(self) -> Result<Fragment, CeremonyError> {
        self.shares.recombine().map_err(|_| CeremonyError::WrongCombination)
    }
}

/// The purpose keys of the fragment epoch in use, fresh from a ceremony. They open no row before
/// [`Self::complete`].
pub struct EpochKeys {
    deployment: DeploymentId,
    broker: BrokerId,
    keys: PurposeKeys,
    /// The format of the seal record.
    format: u8,
}

impl EpochKeys {
    /// The keys that a fragment gives in the epoch of `sealed`.
    #[must_use]
    pub fn derive(fragment: &Fragment, sealed: &Sealed) -> Self {
        let keys = fragment.root(&sealed.deployment).purposes(sealed.frag_epoch);
        Self { deployment: sealed.deployment, broker: sealed.broker, keys, format: sealed.record.format }
    }

    /// Deployment id.
    #[must_use]
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// K_netkey, under which what was carried over is sealed.
    #[must_use]
    pub fn net(&self) -> &NetKey {
        &self.keys.net
    }

    /// Joins what the store carried over from earlier epochs. Only a first epoch has nothing.
    pub fn complete(self, carried: Option<Carried>) -> Result<Unsealed, ForeignKeys> {
        let Carried { lasting, previous } = match carried {
            Some(carried) => carried,
            None if self.keys.epoch == FIRST_EPOCH => Carried { lasting: self.first(), previous: None },
            None => return Err(ForeignKeys),
        };
        Ok(self.with(lasting, previous))
    }

    /// Takes over from the keys in use. What those closed stays open until it has been closed anew.
    #[must_use]
    pub fn succeed(self, before: &Unsealed) -> Unsealed {
        let previous = match self.keys.epoch == before.keys.epoch {
            true => before.previous().map(|previous| previous.duplicate()),
            false => Some(Previous::of(&before.keys)),
        };
        self.with(before.lasting.duplicate(), previous)
    }

    /// What will be carried over from these keys, if they are the first.
    fn first(&self) -> Lasting {
        let index = &self.keys.index;
        let names = match self.format {
            1 => NameKey::from_secret(index.secret().duplicate()),
            _ => NameKey::of(index),
        };
        Lasting::of_first(&self.keys, names)
    }

    fn with(self, lasting: Lasting, previous: Option<Previous>) -> Unsealed {
        let Self { deployment, broker, keys, format: _ } = self;
        Unsealed { deployment, broker, keys, lasting, previous: RwLock::new(previous.map(Arc::new)) }
    }
}

/// A broker that holds its half of every key.
pub struct Unsealed {
    deployment: DeploymentId,
    broker: BrokerId,
    keys: PurposeKeys,
    lasting: Lasting,
    previous: RwLock<Option<Arc<Previous>>>,
}

impl Unsealed {
    /// Keys of a new fragment in its first epoch, at `init`.
    #[must_use]
    pub fn first(fragment: &Fragment, sealed: &Sealed) -> Self {
        let keys = EpochKeys::derive(fragment, sealed);
        let lasting = keys.first();
        keys.with(lasting, None)
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

    /// What seals details of entries, shared with the log's writer. Never changes: entries cannot be sealed
    /// anew.
    #[must_use]
    pub fn audit(&self) -> Arc<AuditKey> {
        Arc::clone(&self.lasting.audit)
    }

    /// What hashes names. Never changes: names of tokens are stored nowhere and could not be hashed anew.
    #[must_use]
    pub fn names(&self) -> &NameKey {
        &self.lasting.names
    }

    /// What authenticates anchors. Never changes: a node may remember an anchor of any age.
    #[must_use]
    pub fn state(&self) -> &StateKey {
        &self.lasting.state
    }

    /// Purpose keys of the current fragment epoch.
    #[must_use]
    pub fn keys(&self) -> &PurposeKeys {
        &self.keys
    }

    /// Keys of the epoch before, while something is left that they closed.
    #[must_use]
    pub fn previous(&self) -> Option<Arc<Previous>> {
        self.previous.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the keys of the epoch before, after the store has.
    pub fn forget_previous(&self) {
        *self.previous.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the next unseal needs beside the shares, for a row that is sealed under K_netkey.
    #[must_use]
    pub fn carried(&self) -> Zeroizing<Vec<u8>> {
        Carried::encode(&self.lasting, self.previous().as_deref())
    }

    /// The same without the keys of the epoch before, once everything that they closed has been closed anew.
    #[must_use]
    pub fn carried_for_good(&self) -> Zeroizing<Vec<u8>> {
        Carried::encode(&self.lasting, None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_core::UnwrapErr;
    use symbolon_proto::share::{Dealing, Holder, ShareKind, Threshold};

    use super::*;

    #[test]
    fn no_share_is_held_longer_however_late_the_next_one_comes() {
        let mut rng = UnwrapErr(getrandom::SysRng);
        let deployment = DeploymentId::from_bytes([1; 16]);
        let dealing = Dealing {
            kind: ShareKind::Fragment,
            deployment,
            frag_epoch: FIRST_EPOCH,
            created_ms: 0,
            threshold: Threshold::new(3, 3).unwrap(),
            holders: &["Ann", "Bob", "Cid"].map(Holder::named),
            previous: None,
        };
        let (set, shares) = dealing.deal(&Fragment::random(&mut rng), &mut rng).unwrap();
        let record = SealRecord {
            format: 1,
            deployment: deployment.to_string(),
            broker: BrokerId::from_bytes([2; 16]).to_string(),
            created_ms: 0,
            recovery: Recovery::None,
            share_set: data_encoding::HEXLOWER.encode(&set.encode()),
            frag_epoch: 0,
            service_root: String::new(),
            log_key: String::new(),
        };
        let mut ceremony = Sealed::open(record).unwrap().begin(&mut rng);
        let at = |boot_ms| Now { unix_ms: 0, boot_ms };
        assert!(!ceremony.is_expired(at(u64::MAX)), "nothing is held yet");
        for (share, minutes) in shares.into_iter().zip([0, 29]) {
            ceremony.submit(share, at(minutes * 60_000)).unwrap();
        }
        assert!(!ceremony.is_expired(at(CEREMONY_MS_MAX)));
        assert!(ceremony.is_expired(at(CEREMONY_MS_MAX + 1)));
    }
}
