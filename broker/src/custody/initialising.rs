//! The one initialisation that may be under way, and what both operators compare meanwhile.

use std::sync::{Mutex, PoisonError};

use symbolon_proto::id::{BrokerId, DeploymentId};
use tokio::sync::MutexGuard;

use super::deployment::Deployment;
use crate::error::OpError;
use crate::random::os_rng;

/// Whose turn it is, and the fingerprint to compare.
#[derive(Default)]
pub struct Initialising {
    attempt: tokio::sync::Mutex<Option<Attempt>>,
    fingerprint: Mutex<String>,
}

/// Who this broker is to the fragment services until an initialisation has succeeded. It outlives one that
/// was cancelled or has failed: the next one continues under the same fingerprint, and with what the services
/// have approved already.
pub(super) struct Attempt {
    pub(super) deployment: Deployment,
    pub(super) id: DeploymentId,
    pub(super) broker: BrokerId,
}

impl Attempt {
    fn generate() -> Result<Self, OpError> {
        let (id, broker) = (DeploymentId::random(&mut os_rng()), BrokerId::random(&mut os_rng()));
        Ok(Self { deployment: Deployment::generate()?, id, broker })
    }
}

impl Initialising {
    /// The broker's fingerprint while `init` waits for approval; empty otherwise.
    #[must_use]
    pub fn enrolling(&self) -> String {
        self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The turn, held until the end; only one may have it.
    pub(super) fn begin(&self) -> Result<Turn<'_>, OpError> {
        let attempt = self.attempt.try_lock().map_err(|_| OpError::BUSY)?;
        Ok(Turn { attempt, of: self })
    }

    /// Whether that is news.
    pub(super) fn announce(&self, fingerprint: &str) -> bool {
        let mut announced = self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *announced != fingerprint;
        fingerprint.clone_into(&mut announced);
        is_news
    }
}

/// The turn of one initialisation. However it ends, nobody is asked to compare anything afterwards: whoever
/// asked for it may be gone.
pub(super) struct Turn<'a> {
    attempt: MutexGuard<'a, Option<Attempt>>,
    of: &'a Initialising,
}

impl Turn<'_> {
    /// The attempt under way, which may have been begun before.
    pub(super) fn attempt(&mut self) -> Result<&Attempt, OpError> {
        if self.attempt.is_none() {
            *self.attempt = Some(Attempt::generate()?);
        }
        self.attempt.as_ref().ok_or(OpError::BUSY)
    }

    /// The attempt has succeeded; what it was made with is in the store.
    pub(super) fn succeeded(mut self) {
        *self.attempt = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.announce("");
    }
}
