//! How a cut comes into the ledger.

use crate::access::Session;
pub use crate::audit::retention::ledger::{LEDGER, Ledger, Ordered};
use crate::error::OpError;
use crate::store::{Expect, Write};

/// Most cuts that are remembered with a name; older ones stand in the log, exported with it.
const CUTS_MAX: usize = 64;

impl Ledger {
    /// Reads it; empty if nothing was remembered yet.
    pub async fn read(session: &Session) -> Result<Self, OpError> {
        Self::of(&session.rows).await
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
