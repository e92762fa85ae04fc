//! How the broker keeps its log.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use symbolon::{Error, Method};

use super::Operator;

/// What the broker knows of its log's retention.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogState {
    /// The first entry that is kept.
    pub minimum: u64,
    /// Entries before this one were exported, or pruned.
    pub exported_until: u64,
    /// Bytes that the log takes, about.
    pub bytes: u64,
    /// Bytes that it may take.
    #[serde(default)]
    pub budget_bytes: Option<u64>,
    /// Days until they are used up.
    #[serde(default)]
    pub days_left: Option<u64>,
    /// Why the last round failed; empty if it did not.
    #[serde(default)]
    pub failed: String,
    /// The newest whole segments.
    #[serde(default)]
    pub segments: Vec<LogSegment>,
    /// What was pruned, and by whose order, the newest last.
    #[serde(default)]
    pub cuts: Vec<LogCut>,
    /// Whatever else the broker tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A whole segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogSegment {
    /// First entry.
    pub first: u64,
    /// The first entry after it.
    pub end: u64,
    /// Bytes that it takes, about.
    pub bytes: u64,
    /// When its last entry was written, RFC 3339.
    pub last_time: String,
    /// Whether it lies in the place of the configuration, read back.
    pub exported: bool,
}

/// Entries that were pruned by one order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogCut {
    /// First entry.
    pub first: u64,
    /// The first entry after it.
    pub end: u64,
    /// When, RFC 3339.
    pub time: String,
    /// By whose order.
    pub by: String,
    /// Where they were exported to; empty if some were not.
    pub place: String,
}

#[derive(Deserialize)]
struct Minimum {
    minimum: u64,
}

impl Operator {
    /// How the log is kept. Needs `read` and `sudo` on `sys/symbolon/audit/segments`.
    pub async fn audit_segments(&self) -> Result<LogState, Error> {
        self.call(Method::GET, "sys/symbolon/audit/segments").send().await?.data("how the log is kept")
    }

    /// Prunes entries before this one, in whole segments; answers the first that is kept. Needs `update` and
    /// `sudo` on `sys/symbolon/audit/prune`.
    pub async fn prune_audit(&self, before: u64, unexported: bool) -> Result<u64, Error> {
        let call = self.call(Method::PUT, "sys/symbolon/audit/prune");
        let call = call.json(&json!({ "before": before, "unexported": unexported }));
        Ok(call.send().await?.data::<Minimum>("where the log begins")?.minimum)
    }
}
