//! What operators are told: plain values, no secrets, serialisable for the admin socket and `--output json`.

use serde::{Deserialize, Serialize};

use crate::tables::KeyState;

/// A broker that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReport {
    /// What to compare with what the broker's operator reads out.
    pub fingerprint: String,
    /// Deployment that it says it belongs to, hex.
    pub deployment: String,
    /// Its id, hex.
    pub broker: String,
    /// Whether that deployment has brokers here already; approving then gives this one the same keys.
    pub joins: bool,
    /// When it last asked, Unix seconds.
    pub asked_at: u64,
    /// What it asks for.
    #[serde(default)]
    pub wish: Wish,
}

/// What waits for approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// A broker wants a key that this service holds alone.
    #[default]
    Broker,
    /// A broker wants a key that these nodes hold together. The fingerprint is that of the group with the
    /// broker.
    Group {
        /// How many of them must answer.
        threshold: u16,
        /// Fingerprints of their roots, in the order of their indices.
        members: Vec<String>,
        /// The number of the group, from 1.
        number: u32,
    },
    /// A broker wants shares of its key sealed to escrow custodians. The fingerprint is that of their key.
    Escrow {
        /// The key, hex.
        key: String,
    },
}

/// A broker that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// Its id, hex.
    pub broker: String,
    /// Its deployment, hex.
    pub deployment: String,
    /// The key it may use, hex.
    pub key: String,
    /// Whether the key was made for it; otherwise it joined.
    pub created: bool,
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Fingerprint of the service root: what brokers' operators must be told.
    pub root_fingerprint: String,
    /// This node, hex.
    pub node: String,
    /// How keys are kept in memory.
    pub memory: String,
    /// Brokers that wait.
    pub pending: usize,
    /// Brokers that are enrolled.
    pub brokers: Vec<BrokerReport>,
    /// Keys held.
    pub keys: Vec<KeyReport>,
    /// Whose orders count.
    pub officers: Vec<OfficerReport>,
    /// Keys and epochs that were destroyed.
    pub destroyed: usize,
    /// The evaluation log.
    pub log: LogReport,
}

/// Somebody whose signature counts on an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfficerReport {
    /// Their name.
    pub name: String,
    /// Their key, `sof1…`.
    pub key: String,
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What was ordered.
    pub what: String,
    /// Who signed.
    pub officers: Vec<String>,
    /// When it takes effect, Unix seconds, unless it already has.
    pub due_secs: Option<u64>,
}

/// A certificate of destruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// What it says, for people.
    pub says: String,
    /// The certificate itself, to keep.
    pub text: String,
}

/// An enrolled broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerReport {
    /// Its id, hex.
    pub broker: String,
    /// Its deployment, hex.
    pub deployment: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Highest generation that it registered.
    pub generation: u64,
    /// When it was approved, Unix seconds.
    pub approved_at: u64,
    /// When two officers last let an older state of it in, Unix seconds.
    pub admitted_at: Option<u64>,
    /// The generation that was registered before that, and is answered no more.
    pub barred_generation: Option<u64>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// Its id, hex.
    pub key: String,
    /// Its deployment, hex.
    pub deployment: String,
    /// Whether it is answered for.
    pub state: KeyState,
    /// Epoch of k that new capsules are made for; 0 if the key is destroyed.
    pub key_epoch: u32,
    /// Its epochs, oldest first.
    pub epochs: Vec<EpochReport>,
    /// When it will be destroyed, Unix seconds.
    pub destroy_at: Option<u64>,
    /// Who ordered that.
    pub ordered_by: Vec<String>,
    /// Sequence number of its newest manifest.
    pub manifest_seq: u64,
    /// How many nodes must answer, and how many hold it; 1 and 1 if this service holds it alone.
    pub threshold: u16,
    /// Their number.
    pub nodes: u16,
    /// The index of this one.
    pub index: u16,
    /// Whether shares are sealed to escrow custodians on request, which bypasses every revocation.
    pub escrow: bool,
    /// Elements that the quota still allows.
    pub quota_left: u32,
}

/// A key that was made for an `init` and never unsealed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanReport {
    /// Its id, hex.
    pub key: String,
    /// Its deployment, hex.
    pub deployment: String,
    /// The broker that it was made for, hex; empty if that was removed.
    pub broker: String,
    /// When that was approved, Unix seconds.
    pub approved_at: Option<u64>,
    /// Whether other nodes hold shares of it as well.
    pub shared: bool,
}

/// An epoch of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Its number.
    pub key_epoch: u32,
    /// The epochs of its shares that are held.
    pub share_epochs: Vec<u32>,
    /// Whether it is answered for.
    pub state: EpochStanding,
}

/// Whether an epoch is answered for. Times are Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochStanding {
    /// Answered.
    Living,
    /// Answered, and its broker has asked to retire it.
    RetireAsked {
        /// When.
        at: u64,
    },
    /// Not answered.
    Retired,
    /// Answered for restores.
    Restoring {
        /// Until when.
        until: u64,
    },
    /// Not answered; will be destroyed.
    PendingDestroy {
        /// When.
        at: u64,
    },
}

/// How far the evaluation log has come. Keep it elsewhere to notice if records disappear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    /// Records so far.
    pub records: u64,
    /// Hash of the last one, hex.
    pub hash: String,
}
