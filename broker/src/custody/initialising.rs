//! The one initialisation that may be under way, and what both operators compare meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_core::clock::Now;
use symbolon_proto::custody::receipt::Receipt;
use symbolon_proto::id::{BrokerId, DeploymentId};
use tokio::sync::OwnedMutexGuard;

use super::deployment::Deployment;
use super::made::Made;
use crate::error::{Busy, OpError, Text};
use crate::random::os_rng;
use crate::remote::{Enrolled, EvaluateError};

/// Whose turn it is, and what everybody may know of it.
#[derive(Default)]
pub struct Initialising {
    state: Arc<tokio::sync::Mutex<State>>,
    known: Arc<Known>,
}

/// What is known to whoever has not the turn.
#[derive(Default)]
struct Known(Mutex<Facts>);

#[derive(Default)]
struct Facts {
    /// What both operators compare; empty if nobody needs to.
    fingerprint: String,
    /// Until then (milliseconds since boot) nobody makes void what has been answered. 0: nothing is out.
    kept_until_ms: u64,
}

impl Known {
    fn now(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds, rounded up.
    fn kept_secs(&self, now: Now) -> Option<u64> {
        let left_ms = self.now().kept_until_ms.checked_sub(now.boot_ms).filter(|left| *left > 0)?;
        Some(left_ms.div_ceil(1000))
    }

    /// Whoever got the answer needs time to write it down and to confirm it. The key was approved for them:
    /// without that time a stranger who asks in between would have their own deployment under it.
    fn check_free(&self, now: Now) -> Result<(), OpError> {
        let Some(secs) = self.kept_secs(now) else { return Ok(()) };
        let text = Text::of(&format_args!(
            "an `init` was answered and waits for its confirmation; if none comes within {secs} s, another may begin: retry then"
        ));
        Err(OpError::Busy(Busy::Until { text, secs: u32::try_from(secs).unwrap_or(u32::MAX), all: true }))
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
        self.known.now().fingerprint.clone()
    }

    /// Seconds for which an answer that is out, and not confirmed, keeps everybody else from `init`.
    #[must_use]
    pub fn unconfirmed_secs(&self, now: Now) -> Option<u64> {
        self.known.kept_secs(now)
    }

    /// The turn to make a deployment, unless an answer is out.
    pub(super) fn begin(&self, now: Now) -> Result<Turn, OpError> {
        // Without the turn at first: nobody may keep it from whoever confirms.
        self.known.check_free(now)?;
        let turn = self.turn()?;
        self.known.check_free(now)?;
        Ok(turn)
    }

    /// The turn, held until the end; only one may have it.
    pub(super) fn turn(&self) -> Result<Turn, OpError> {
        let state = Arc::clone(&self.state).try_lock_owned().map_err(|_| OpError::BUSY)?;
        Ok(Turn { state, known: Arc::clone(&self.known) })
    }

    /// Whether that is news.
    pub(super) fn announce(&self, fingerprint: &str) -> bool {
        let announced = &mut self.known.now().fingerprint;
        let is_news = announced != fingerprint;
        fingerprint.clone_into(announced);
        is_news
    }
}

/// The turn of one initialisation. However it ends, nobody is asked to compare anything afterwards: whoever
/// asked for it may be gone.
pub(super) struct Turn {
    state: OwnedMutexGuard<State>,
    known: Arc<Known>,
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

    /// What was made is about to be answered: until then (milliseconds since boot) nobody makes it void.
    pub(super) fn keep_until(&mut self, boot_ms: u64) {
        self.known.now().kept_until_ms = boot_ms;
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
        self.known.now().kept_until_ms = 0;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.known.now().fingerprint.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_that_is_out_has_its_time_and_no_more() {
        let (init, at) = (Initialising::default(), |boot_ms| Now { unix_ms: 0, boot_ms });
        init.begin(at(0)).unwrap().keep_until(5_001);
        let Err(OpError::Busy(Busy::Until { secs, text, .. })) = init.begin(at(1_001)) else {
            panic!("somebody else may begin");
        };
        assert_eq!((secs, init.unconfirmed_secs(at(1_002))), (4, Some(4)));
        assert!(text.to_string().contains("within 4 s"), "{text}");
        init.turn().unwrap();
        assert_eq!(init.unconfirmed_secs(at(5_001)), None);
        init.begin(at(5_001)).unwrap();
    }
}
