//! What the service remembers: enrolled brokers, brokers waiting, keys with their epochs. No secrets stand
//! here.
//!
//! The in-memory types are plain; `wire.rs` has the versioned form on disk.

mod wire;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use symbolon_proto::dkg::GroupKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::AnchorValue;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, SessionId};
use symbolon_proto::order::UsedOrders;
use symbolon_proto::proposal::{GroupId, Proposal};
use symbolon_proto::signing::SigningPublicKey;

use crate::quota::Quota;
use crate::tls::SpkiHash;

/// Brokers that may wait for approval at once; the oldest makes room.
pub const PENDING_MAX: usize = 64;

/// Seconds after which an unapproved enrolment is forgotten.
pub const PENDING_TTL_SECS: u64 = 86_400;

/// Manifests kept per key. A broker that missed more asks to be enrolled again and gets the newest.
pub const MANIFESTS_KEPT: usize = 16;

/// Keys that one service holds.
pub const KEYS_MAX: usize = 512;

/// Brokers that one service serves.
pub const BROKERS_MAX: usize = 1024;

/// Generations of one broker that are barred. No order bars another then: one that was forgotten would be
/// answered again.
pub const BARRED_MAX: usize = 64;

/// Removed brokers that are remembered. No broker is approved then: what is forgotten would be let in again.
pub const REMOVED_MAX: usize = 4096;

/// Epochs of a key that answer without an order: the newest, and the one that is being rotated away.
pub const LIVING_EPOCHS_MAX: usize = 2;

/// Groups of a key that are remembered: the one that holds it, the one that follows, and two before.
pub const PROPOSALS_KEPT: usize = 4;

/// Sessions of a key that are remembered because they were given up.
pub const SPENT_KEPT: usize = 16;

/// Epochs of a key that are held at all, retired ones included.
pub const EPOCHS_MAX: usize = 4;

/// An enrolled broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its deployment; it may use this deployment's keys and no others.
    pub deployment: DeploymentId,
    /// Hash of its TLS key: who it is on a connection.
    pub spki: SpkiHash,
    /// Its Ed25519 key.
    pub sign_key: SigningPublicKey,
    /// Highest generation that it registered. Lower ones are snapshots or clones.
    pub generation: u64,
    /// When an operator approved it, Unix seconds.
    pub approved_at: u64,
    /// What it had us remember of its state, opaque to us (`docs/skb1.md` 6.9).
    pub anchor: Option<AnchorValue>,
    /// That two officers let an older state of it in.
    pub admitted: Option<Admission>,
}

impl Broker {
    /// Whether officers have let an older state in, in the place of this generation.
    pub(crate) fn bars(&self, generation: u64) -> bool {
        self.admitted.as_ref().is_some_and(|admitted| admitted.barred.contains(&generation))
    }

    /// Takes over what an earlier enrolment of it left: whatever lets less in.
    fn take_over(&mut self, left: Self) {
        self.generation = self.generation.max(left.generation);
        if left.anchor.map(|anchor| anchor.counter) > self.anchor.map(|anchor| anchor.counter) {
            self.anchor = left.anchor;
        }
        let Some(admitted) = left.admitted else { return };
        let own = self.admitted.get_or_insert(Admission { at_secs: 0, barred: Vec::new() });
        own.at_secs = own.at_secs.max(admitted.at_secs);
        own.barred.extend(admitted.barred);
    }
}

/// What a broker left that was removed. Who comes back with its id or its TLS key gets it back: only two
/// officers let an older state in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its id.
    pub id: BrokerId,
    /// The rest.
    pub broker: Broker,
}

/// That two officers let an older state of a broker in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The last time, Unix seconds.
    pub at_secs: u64,
    /// The generations that were registered before, in the order of the orders: never answered again. One to
    /// [`BARRED_MAX`].
    pub barred: Vec<u64>,
}

/// A broker that waits for an operator to compare its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The deployment that it says it belongs to.
    pub deployment: DeploymentId,
    /// The id that it chose.
    pub broker: BrokerId,
    /// Hash of its TLS key.
    pub spki: SpkiHash,
    /// Its Ed25519 key.
    pub sign_key: SigningPublicKey,
    /// What the operators compare.
    pub fingerprint: Fingerprint,
    /// When it last asked, Unix seconds.
    pub asked_at: u64,
}

/// Whether a key is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Answered, within its quota.
    Active,
    /// Not answered until an operator resumes it; brokers drop cached keys.
    Suspended,
    /// Not answered; destroyed when its cooling-off time ends, unless two officers cancel that.
    PendingDestroy,
    /// Gone.
    Destroyed,
}

/// As operators read it.
impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::PendingDestroy => "PENDING_DESTROY",
            Self::Destroyed => "DESTROYED",
        })
    }
}

/// A destruction that two officers ordered and that is cooling off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// When, Unix seconds.
    pub ordered_secs: u64,
    /// When it will be done, Unix seconds.
    pub due_secs: u64,
    /// SHA-256 of the signed order.
    pub order_sha256: [u8; 32],
    /// Who signed it.
    pub officers: Vec<String>,
}

/// Whether an epoch is answered for, while its key is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EpochState {
    /// Answered.
    Living {
        /// When its broker said that no capsule of it is left, Unix seconds.
        retire_asked_secs: Option<u64>,
    },
    /// Answered only for a restore, and only while two officers allow it.
    Retired {
        /// Restores are answered until before then, Unix seconds; 0 for never.
        restore_until_secs: u64,
    },
    /// Not answered; destroyed when its cooling-off time ends.
    PendingDestroy(Ordered),
}

/// An epoch of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number, from 1.
    pub key_epoch: u32,
    /// Whether it is answered for.
    pub state: EpochState,
    /// Epochs of its shares that are held, ascending: one, or two until a refresh is acknowledged.
    pub share_epochs: Vec<u32>,
}

impl Epoch {
    /// A first share of a new epoch.
    pub(crate) fn new(key_epoch: u32) -> Self {
        let state = EpochState::Living { retire_asked_secs: None };
        Self { key_epoch, state, share_epochs: vec![1] }
    }

    /// Whether it answers without an order.
    pub(crate) const fn is_living(&self) -> bool {
        matches!(self.state, EpochState::Living { .. })
    }

    /// The newest epoch of its shares.
    pub(crate) fn share_epoch(&self) -> u32 {
        self.share_epochs.last().copied().unwrap_or(0)
    }
}

/// A scalar that is held: a key at an epoch of the key and an epoch of its shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShareId {
    /// The key.
    pub key: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// The epoch of its shares.
    pub share_epoch: u32,
}

impl ShareId {
    /// Name of its file in the state directory. The first has no epochs in its name because earlier versions
    /// had none.
    pub(crate) fn file(&self) -> String {
        match (self.key_epoch, self.share_epoch) {
            (1, 1) => format!("keys/{}", self.key),
            (key_epoch, share_epoch) => format!("keys/{}-{key_epoch}-{share_epoch}", self.key),
        }
    }

    /// Name of the file with the run that makes it.
    pub(crate) fn run_file(&self) -> String {
        format!("keys/{}-{}-{}.run", self.key, self.key_epoch, self.share_epoch)
    }

    /// Name of the file with the key that its run seals it to.
    pub(crate) fn receive_file(&self) -> String {
        format!("keys/{}-{}-{}.receive", self.key, self.key_epoch, self.share_epoch)
    }

    /// Name of the file with its escrow envelope.
    pub(crate) fn escrow_file(&self) -> String {
        format!("keys/{}-{}-{}.escrow", self.key, self.key_epoch, self.share_epoch)
    }
}

/// A key of which this service holds a share, or the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The deployment that may use it.
    pub deployment: DeploymentId,
    /// Whether it is answered for.
    pub state: KeyState,
    /// There exactly while it is [`KeyState::PendingDestroy`].
    pub destruction: Option<Ordered>,
    /// How much of it may be used.
    pub quota: Quota,
    /// Its epochs, oldest first; none when it is destroyed, or not made yet by its group.
    pub epochs: Vec<Epoch>,
    /// Signed manifests, oldest first, each with its sequence number.
    pub manifests: Vec<(u64, Vec<u8>)>,
    /// There if this service holds shares of it together with others.
    pub group: Option<Group>,
    /// X-Wing public key that shares are sealed to on request, approved by the operator.
    pub escrow: Option<Vec<u8>>,
    /// Known never to have been used beyond an `init`: made here for the one broker that it has, which has
    /// never unsealed. Nothing can have been encrypted with it that anybody waits for.
    pub is_unopened: bool,
}

/// What is known of the groups that hold a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Groups that the operator approved, oldest first; at most [`PROPOSALS_KEPT`].
    pub proposals: Vec<Proposal>,
    /// What each share belongs to, by key epoch and share epoch.
    pub sharings: BTreeMap<(u32, u32), Sharing>,
    /// Key epoch and share epoch of the newest stored manifest.
    pub announced: Option<(u32, u32)>,
    /// Number and SHA-256 of the last manifest body that was signed: never two with one number.
    pub signed: Option<(u64, [u8; 32])>,
    /// By key epoch, the newest share epoch that must never come again: it was erased, or passed on to
    /// others.
    pub floors: BTreeMap<u32, u32>,
    /// Sessions in which a share was certified here and given up for another run, oldest first; at most
    /// [`SPENT_KEPT`].
    pub spent: Vec<SessionId>,
}

impl Group {
    /// The approved group with this id.
    pub(crate) fn proposal(&self, id: &GroupId) -> Option<&Proposal> {
        self.proposals.iter().find(|proposal| proposal.id() == *id)
    }

    /// Whether a share must not be made here, or made again.
    pub(crate) fn is_past(&self, key_epoch: u32, share_epoch: u32) -> bool {
        self.floors.get(&key_epoch).is_some_and(|floor| share_epoch <= *floor)
    }

    /// Never takes shares of a key epoch up to this share epoch again.
    pub(crate) fn raise_floor(&mut self, key_epoch: u32, share_epoch: u32) {
        let floor = self.floors.entry(key_epoch).or_default();
        *floor = share_epoch.max(*floor);
    }

    /// Never takes part in this session again.
    pub(crate) fn spend(&mut self, session: SessionId) {
        self.spent.push(session);
        let surplus = self.spent.len().saturating_sub(SPENT_KEPT);
        self.spent.drain(..surplus);
    }
}

/// The sharing that one of our shares belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Id of the run that made it.
    pub run: [u8; 32],
    /// The group.
    pub group: GroupId,
    /// Our index in it, from 1.
    pub index: u16,
    /// y, the commitments and so every y_i.
    pub key: GroupKey,
}

impl Key {
    /// An active key without epochs, held alone.
    pub(crate) const fn new(deployment: DeploymentId, quota: Quota) -> Self {
        Self {
            deployment,
            state: KeyState::Active,
            destruction: None,
            quota,
            epochs: Vec::new(),
            manifests: Vec::new(),
            group: None,
            escrow: None,
            is_unopened: false,
        }
    }

    /// The epoch that new capsules are made for.
    pub(crate) fn newest(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// The epoch with this number.
    pub(crate) fn epoch(&self, key_epoch: u32) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.key_epoch == key_epoch)
    }

    /// The same, to change it.
    pub(crate) fn epoch_mut(&mut self, key_epoch: u32) -> Option<&mut Epoch> {
        self.epochs.iter_mut().find(|epoch| epoch.key_epoch == key_epoch)
    }

    /// The sharing of one of our shares; none where this service holds the key alone.
    pub(crate) fn sharing(&self, key_epoch: u32, share_epoch: u32) -> Option<&Sharing> {
        self.group.as_ref()?.sharings.get(&(key_epoch, share_epoch))
    }

    /// The sharing of the newest share.
    pub(crate) fn newest_sharing(&self) -> Option<&Sharing> {
        let newest = self.newest()?;
        self.sharing(newest.key_epoch, newest.share_epoch())
    }

    /// The sharing that the newest stored manifest names, or the newest one before there is a manifest.
    pub(crate) fn announced_sharing(&self) -> Option<&Sharing> {
        let announced = self.group.as_ref()?.announced;
        announced
            .and_then(|(key_epoch, share_epoch)| self.sharing(key_epoch, share_epoch))
            .or(self.newest_sharing())
    }

    /// Every scalar that belongs to it.
    pub(crate) fn shares(&self, key: KeyId) -> impl Iterator<Item = ShareId> {
        self.epochs.iter().flat_map(move |epoch| epoch_shares(key, epoch))
    }
}

/// The scalars of one epoch.
pub(crate) fn epoch_shares(key: KeyId, epoch: &Epoch) -> impl Iterator<Item = ShareId> {
    let key_epoch = epoch.key_epoch;
    epoch.share_epochs.iter().map(move |share_epoch| ShareId { key, key_epoch, share_epoch: *share_epoch })
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// How often this state was opened. The upper half of lease sequence numbers, so that they rise across
    /// restarts.
    pub starts: u32,
    /// Enrolled brokers.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// Brokers that were removed, oldest first.
    pub removed: Vec<Removed>,
    /// Brokers that wait, oldest first. In memory only: a stranger must not cost disk writes.
    pub pending: Vec<Pending>,
    /// Keys.
    pub keys: BTreeMap<KeyId, Key>,
    /// Orders that were carried out.
    pub orders: UsedOrders,
    /// How many tombstones there were at least: a shorter list was exchanged for an older one.
    pub tombstones: u32,
}

/// Tables that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tables in the state directory were written by another version")]
pub struct TablesError;

impl Tables {
    /// The wire form.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        wire::write(self)
    }

    /// Reads what [`Self::to_json`] wrote, in this version or an earlier one.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, TablesError> {
        wire::read(json)
    }

    /// The enrolled broker behind a connection.
    pub(crate) fn broker_by_spki(&self, spki: &SpkiHash) -> Option<(BrokerId, &Broker)> {
        self.brokers.iter().find(|(_, broker)| broker.spki == *spki).map(|(id, broker)| (*id, broker))
    }

    /// Ends an enrolment, but not the memory of it.
    pub(crate) fn remove(&mut self, id: BrokerId) -> bool {
        let Some(broker) = self.brokers.remove(&id) else { return false };
        self.removed.push(Removed { id, broker });
        true
    }

    /// Enrols a broker, with what it left behind if it was removed. False if no more can be remembered.
    pub(crate) fn enrol(&mut self, id: BrokerId, mut broker: Broker) -> bool {
        if self.brokers.len() >= BROKERS_MAX || self.removed.len() >= REMOVED_MAX {
            return false;
        }
        let is_back = |left: &Removed| left.id == id || left.broker.spki == broker.spki;
        let (back, others) = std::mem::take(&mut self.removed).into_iter().partition(is_back);
        self.removed = others;
        back.into_iter().for_each(|left: Removed| broker.take_over(left.broker));
        self.brokers.insert(id, broker);
        true
    }

    /// Its keys are in use, or about to be: none of them is forgotten again without officers.
    pub(crate) fn opened(&mut self, deployment: DeploymentId) {
        let keys = self.keys.values_mut().filter(|key| key.deployment == deployment);
        keys.for_each(|key| key.is_unopened = false);
    }

    /// The keys of a deployment.
    pub(crate) fn keys_of(&self, deployment: DeploymentId) -> impl Iterator<Item = (KeyId, &Key)> {
        self.keys.iter().filter(move |(_, key)| key.deployment == deployment).map(|(id, key)| (*id, key))
    }

    /// Takes an enrolment up, once per TLS key; makes room among the forgotten and then the oldest.
    pub(crate) fn enqueue(&mut self, pending: Pending) {
        let now = pending.asked_at;
        self.pending.retain(|other| {
            other.spki != pending.spki && now.saturating_sub(other.asked_at) < PENDING_TTL_SECS
        });
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push(pending);
    }
}

impl From<KeyState> for symbolon_proto::lease::KeyState {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Active => Self::Active,
            KeyState::Suspended => Self::Suspended,
            KeyState::PendingDestroy => Self::PendingDestroy,
            KeyState::Destroyed => Self::Destroyed,
        }
    }
}
