//! Backups that the broker makes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use symbolon::{Error, Method, Pieces};

use super::Operator;

/// Where a new backup is.
const HERE: &str = "sys/symbolon/backup";

/// What the broker knows of its backups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupState {
    /// The newest one in the configured place; `None` if there is none.
    #[serde(default)]
    pub last: Option<LastBackup>,
    /// Why the last attempt failed; empty if it did not.
    #[serde(default)]
    pub failed: String,
    /// Whether one is being made.
    #[serde(default)]
    pub under_way: bool,
}

/// A backup in the configured place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastBackup {
    /// Its name there.
    pub name: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// Its length.
    pub bytes: u64,
    /// Entries of the log that it holds at least.
    pub entries: u64,
    /// Whatever else the broker tells.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl Operator {
    /// What is known of backups.
    pub async fn backup_state(&self) -> Result<BackupState, Error> {
        self.call(Method::GET, HERE).send().await?.data("the state of the backups")
    }

    /// Has the broker make one into its configured place. The state tells how it ended.
    pub async fn backup_now(&self) -> Result<(), Error> {
        self.call(Method::PUT, HERE).send().await.map(drop)
    }

    /// A backup as it is made, sealed to these cards, or to the configured recipients if there are none.
    pub async fn backup(&self, cards: &[String]) -> Result<Pieces, Error> {
        let call = self.call(Method::PUT, "sys/symbolon/backup/stream");
        call.json(&json!({ "cards": cards })).pieces().await
    }
}
