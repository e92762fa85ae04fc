//! The one initialisation that may be under way, and what both operators compare meanwhile.

use std::sync::{Mutex, PoisonError};

use tokio::sync::MutexGuard;

use crate::error::OpError;

/// Whose turn it is, and the fingerprint to compare.
#[derive(Default)]
pub struct Initialising {
    turn: tokio::sync::Mutex<()>,
    fingerprint: Mutex<String>,
}

impl Initialising {
    /// The broker's fingerprint while `init` waits for approval; empty otherwise.
    #[must_use]
    pub fn enrolling(&self) -> String {
        self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The turn, held until the end; only one may have it.
    pub(super) fn begin(&self) -> Result<MutexGuard<'_, ()>, OpError> {
        self.turn.try_lock().map_err(|_| OpError::BUSY)
    }

    pub(super) fn announce(&self, fingerprint: String) {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
    }
}
