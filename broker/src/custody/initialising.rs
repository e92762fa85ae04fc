//! The one initialisation that may be under way, and what both operators compare meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_proto::custody::receipt::Receipt;
use symbolon_proto::id::{BrokerId, DeploymentId};
use tokio::sync::OwnedMutexGuard;

use super::deployment::Deployment;
use super::made::Made;
use crate::error::OpError;
use crate::random::os_rng;
use crate::remote::{Enrolled, EvaluateError};

/// Whose turn it is, and the fingerprint to compare.
#[derive(Default)]
pub struct Initialising {
    state: Arc<tokio::sync::Mutex<State>>,
    fingerprint: Arc<Announced>,
}

/// What both operators compare; empty if nobody needs to.
#[derive(Default)]
struct Announced(Mutex<String>);

impl Announced {
    fn now(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    attempt: Option<Attempt>,
    /// What was confirmed: whoever did not hear so confirms again.
    confirmed: Option<Receipt>,
}

/// Who this broker is to the fragment services until an initialisation has succeeded. It outlives one that
/// was cancelled or has failed: the next one continues under the same fingerprint, and with what the services
/// have approved already.
pub(super) struct Attempt {
    pub(super) deployment: Deployment,
    pub(super) id: DeploymentId,
    pub(super) broker: BrokerId,
    /// The key that a group of services has made for it; made anew it would have to be approved anew.
    pub(super) group: Option<Enrolled>,
    /// What has been answered and is not in force yet: at most one, of the latest `init`. It is gone with the
    /// process, and nothing is lost with it.
    made: Option<(Receipt, Made)>,
}

impl Attempt {
    fn generate() -> Result<Self, OpError> {
        let (id, broker) = (DeploymentId::random(&mut os_rng()), BrokerId::random(&mut os_rng()));
        Ok(Self { deployment: Deployment::generate()?, id, broker, group: None, made: None })
    }

    /// The services have refused a hello. A key that they deny is made anew by the next attempt; any other
    /// refusal may pass, and the key was approved.
    pub(super) fn denied(&mut self, error: &EvaluateError) {
        if error.denies_key() {
            self.group = None;
        }
    }
}

impl Initialising {
    /// The broker's fingerprint while `init` waits for approval; empty otherwise.
    #[must_use]
    pub fn enrolling(&self) -> String {
        self.fingerprint.now().clone()
    }

    /// The turn, held until the end; only one may have it.
    pub(super) fn begin(&self) -> Result<Turn, OpError> {
        let state = Arc::clone(&self.state).try_lock_owned().map_err(|_| OpError::BUSY)?;
        Ok(Turn { state, fingerprint: Arc::clone(&self.fingerprint) })
    }

    /// Whether that is news.
    pub(super) fn announce(&self, fingerprint: &str) -> bool {
        let mut announced = self.fingerprint.now();
        let is_news = *announced != fingerprint;
        fingerprint.clone_into(&mut announced);
        is_news
    }
}

/// The turn of one initialisation. However it ends, nobody is asked to compare anything afterwards: whoever
/// asked for it may be gone.
pub(super) struct Turn {
    state: OwnedMutexGuard<State>,
    fingerprint: Arc<Announced>,
}

impl Turn {
    /// The attempt under way, which may have been begun before. What it had made is void from here on.
    pub(super) fn attempt(&mut self) -> Result<&mut Attempt, OpError> {
        let mut attempt = self.state.attempt.take().map_or_else(Attempt::generate, Ok)?;
        attempt.made = None;
        Ok(self.state.attempt.insert(attempt))
    }

    /// What was made waits until its receipt comes.
    pub(super) fn await_receipt(&mut self, receipt: Receipt, made: Made) {
        if let Some(attempt) = &mut self.state.attempt {
            attempt.made = Some((receipt, made));
        }
    }

    /// What waits for this receipt, and whose keys it was made with.
    pub(super) fn awaiting(&self, receipt: &Receipt) -> Option<(&Made, &Deployment)> {
        let attempt = self.state.attempt.as_ref()?;
        let (expected, made) = attempt.made.as_ref()?;
        (expected == receipt).then_some((made, &attempt.deployment))
    }

    /// Whether what this receipt is for is in force already.
    pub(super) fn is_confirmed(&self, receipt: &Receipt) -> bool {
        self.state.confirmed.as_ref() == Some(receipt)
    }

    /// What this receipt is for is in the store, and the attempt is over.
    pub(super) fn succeeded(mut self, receipt: Receipt) {
        *self.state = State { attempt: None, confirmed: Some(receipt) };
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.fingerprint.now().clear();
    }
}
