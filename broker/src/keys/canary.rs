//! Proof that what is written now can be read again.
//!
//! A canary is a throwaway key that is encapsulated and opened through the remote. It speaks for the key
//! epoch it was made for and for an hour: after a change of epoch the new one must prove itself before
//! anything is written for it.

use std::sync::{Mutex, PoisonError};

use symbolon_core::keyring::OpenKek;

use super::slots::{CANARY_SLOT, CapsulePlace};
use super::{KeyError, Keys, Shared};
use crate::remote::FragmentProblem;
use crate::store::Write;

/// New capsules need a canary at most this old (`docs/skb1.md` 5).
pub const CANARY_MS_MAX: u64 = 60 * 60 * 1000;

/// The last canary that came back.
#[derive(Clone, Copy)]
struct Seen {
    key_epoch: u32,
    boot_ms: u64,
}

/// A canary that failed speaks for this long for everybody who waits for one; they would only spend the
/// quota.
const FAILURE_MS: u64 = 5_000;

/// Epochs that may come while one key is made, one after the other.
const PROOFS_MAX: usize = 4;

/// What the session knows about canaries.
#[derive(Default)]
pub(super) struct Canary {
    last: Mutex<Option<Seen>>,
    /// Whoever finds the canary stale asks; the others wait for that answer.
    turn: tokio::sync::Mutex<Option<(u64, KeyError)>>,
}

impl Canary {
    fn last(&self) -> Option<Seen> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came_back(&self, seen: Seen) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// Whether a canary for `key_epoch` is at most `age_ms` old.
    fn is_fresh(&self, key_epoch: Option<u32>, now_boot_ms: u64, age_ms: u64) -> bool {
        self.last().is_some_and(|seen| {
            Some(seen.key_epoch) == key_epoch && now_boot_ms.saturating_sub(seen.boot_ms) <= age_ms
        })
    }
}

impl Keys {
    /// Encapsulates a throwaway key and opens it through the remote: proof that what is written now can be
    /// read again.
    pub async fn canary(&self) -> Result<(), KeyError> {
        let shared = &self.shared;
        let (capsule, made) = shared.close(CANARY_SLOT.into())?;
        let key_epoch = capsule.key_epoch();
        let opened = shared.open_capsules(&[(CANARY_SLOT.into(), capsule)]).await?;
        match opened.as_slice() {
            [Ok(opened)] if opened.kek.same_as(&made.kek) => {}
            [Err(KeyError::Memory)] => return Err(KeyError::Memory),
            _ => return Err(KeyError::Fragment(FragmentProblem::Lied)),
        }
        shared.canary.came_back(Seen { key_epoch, boot_ms: shared.clock.now().boot_ms });
        Ok(())
    }

    /// Sends a canary unless the last one still speaks, for whoever is about to make a new capsule.
    pub async fn ensure_canary(&self) -> Result<(), KeyError> {
        if self.shared.require_canary().is_ok() {
            return Ok(());
        }
        let mut failed = self.shared.canary.turn.lock().await;
        let now = self.now().boot_ms;
        match *failed {
            _ if self.shared.require_canary().is_ok() => Ok(()),
            Some((at, error)) if now.saturating_sub(at) < FAILURE_MS => Err(error),
            _ => {
                let sent = self.canary().await;
                *failed = sent.err().map(|error| (self.now().boot_ms, error));
                sent
            }
        }
    }

    /// [`Keys::create`] behind a canary. If a new key epoch comes between the two, that one is proven first.
    pub async fn create_proven(&self, place: CapsulePlace) -> Result<(Write, OpenKek), KeyError> {
        for _ in 0..PROOFS_MAX {
            self.ensure_canary().await?;
            match self.create(place) {
                Err(KeyError::Fragment(FragmentProblem::NoCanary)) => {}
                created => return created,
            }
        }
        Err(KeyError::Fragment(FragmentProblem::NoCanary))
    }

    /// Whether the last successful canary is of another key epoch, or half as old as it may become.
    #[must_use]
    pub fn canary_due(&self) -> bool {
        let now = self.shared.clock.now().boot_ms;
        !self.shared.canary.is_fresh(self.shared.newest_epoch(), now, CANARY_MS_MAX / 2)
    }
}

impl Shared {
    pub(super) fn require_canary(&self) -> Result<(), KeyError> {
        let now = self.clock.now();
        let fresh = self.canary.is_fresh(self.newest_epoch(), now.boot_ms, CANARY_MS_MAX);
        if !fresh || self.leases.usable_until(now) <= now.boot_ms {
            return Err(KeyError::Fragment(FragmentProblem::NoCanary));
        }
        Ok(())
    }
}
