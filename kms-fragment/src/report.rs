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
    /// The evaluation log.
    pub log: LogReport,
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
    /// Epoch of k.
    pub key_epoch: u32,
    /// Sequence number of its newest manifest.
    pub manifest_seq: u64,
    /// Elements that the quota still allows.
    pub quota_left: u32,
}

/// How far the evaluation log has come. Keep it elsewhere to notice if records disappear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    /// Records so far.
    pub records: u64,
    /// Hash of the last one, hex.
    pub hash: String,
}
