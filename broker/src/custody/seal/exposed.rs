//! Custodians whose shares came as text over a classical connection.
//!
//! A sealed broker can write nothing but its own log of the process, so they are remembered until an unseal,
//! over resets and ceremonies that ran out of time: a recording of the network keeps the share all the same.

use std::collections::BTreeSet;

use symbolon_core::audit::{Action, Draft};
use symbolon_core::seal::Sealed;
use tracing::warn;

use crate::access::Session;

/// Their names. A share set has at most 16.
#[derive(Default)]
pub(super) struct Exposed(BTreeSet<String>);

impl Exposed {
    /// Warns, and remembers whose share it was.
    pub(super) fn note(&mut self, sealed: &Sealed, x: u8) {
        let Some(custodian) = sealed.share_set().custodian(x) else { return };
        warn!(
            custodian = custodian.name,
            "a share came as text over TLS without X25519MLKEM768: a quantum computer reads it in a recording; give shares with `symbolon custodian submit`, or set tls.hybrid_only"
        );
        self.0.insert(custodian.name.clone());
    }

    /// Writes them into the log of a session that was just opened. What could not be written is written after
    /// the next unseal.
    pub(super) async fn enter(&mut self, session: &Session) {
        if self.0.is_empty() {
            return;
        }
        let names = self.0.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let what = format!("shares came as text over TLS without X25519MLKEM768: {names}");
        match session.record(Draft::by_broker(Action::Unseal, what)).await {
            Ok(()) => self.0.clear(),
            Err(error) => warn!(%error, "whose shares were exposed could not be entered into the audit log"),
        }
    }
}
