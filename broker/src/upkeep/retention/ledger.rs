//! Who ordered which cut, and where what was cut lies: beside the public record, a row under the keys of the
//! deployment, because it holds names and addresses.

use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;

use crate::access::Session;
use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place};
use crate::store::{Expect, Write};

/// Most cuts that are remembered with a name; older ones stand in the log, exported with it.
const CUTS_MAX: usize = 64;

const LEDGER: Place<'static> = Place {
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
    pub async fn read(session: &Session) -> Result<Self, OpError> {
        Ok(session.rows.read::<Self>(LEDGER).await?.map(|(ledger, _)| ledger).unwrap_or_default())
    }

    /// Where the log begins after the newest cut.
    #[must_use]
    pub fn minimum(&self) -> u64 {
        self.cuts.last().map_or(0, |cut| cut.end)
    }

    /// With one more cut. One that goes on with the last, by the same order and into the same place, within a
    /// day, is told as one with it.
    #[must_use]
    pub fn with(mut self, cut: Ordered) -> Self {
        let goes_on = |last: &&mut Ordered| {
            (&last.by, &last.place, last.end) == (&cut.by, &cut.place, cut.first)
                && cut.time_ms.abs_diff(last.time_ms) < 86_400_000
        };
        match self.cuts.last_mut().filter(goes_on) {
            Some(last) => (last.end, last.root) = (cut.end, cut.root),
            None => self.cuts.push(cut),
        }
        let surplus = self.cuts.len().saturating_sub(CUTS_MAX);
        self.cuts.drain(..surplus);
        self
    }

    /// The change that remembers it.
    pub fn put(&self, session: &Session) -> Result<Write, OpError> {
        Ok(session.rows.put(LEDGER, self, Expect::Any)?)
    }
}
