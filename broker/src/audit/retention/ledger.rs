//! Who ordered which cut, and where what was cut lies: beside the public record, a row under the keys of the
//! deployment, because it holds names and addresses, and because nobody else can write it.

use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;

use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place, Rows};

/// Its row.
pub const LEDGER: Place<'static> = Place {
    tenant: TenantId::SYSTEM,
    table: COUNTERS,
    scope: NO_SCOPE,
    group: "",
    name: "retention of the log",
};

/// What is remembered. Stored; fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// What time it was at least, milliseconds since the Unix epoch.
    pub judged_ms: Option<u64>,
    /// The newest cuts, the newest last.
    pub cuts: Vec<Ordered>,
}

/// A cut with its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ordered {
    /// First entry.
    pub first: u64,
    /// The first entry after it.
    pub end: u64,
    /// Root of the tree over everything before `end`, in hex.
    pub root: String,
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// By whose order: a setting, or the name of a caller.
    pub by: String,
    /// Where it was exported to; empty if some of it was not.
    pub place: String,
}

impl Ledger {
    /// Reads it; empty if nothing was remembered yet.
    pub async fn of(rows: &Rows) -> Result<Self, OpError> {
        Ok(rows.read::<Self>(LEDGER).await?.map(|(ledger, _)| ledger).unwrap_or_default())
    }

    /// Where the log begins after the newest cut.
    #[must_use]
    pub fn minimum(&self) -> u64 {
        self.cuts.last().map_or(0, |cut| cut.end)
    }
}
