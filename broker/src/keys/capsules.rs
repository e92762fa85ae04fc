//! Closing and opening capsules: where the place, the fragment's keys and the remote come together.

use std::sync::Arc;

use symbolon_core::inherited_keys::Previous;
use symbolon_core::keyring::OpenKek;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{self, Capsule, CapsuleError, Kek, SharedSecret};
use symbolon_proto::context::CapsuleContext;
use symbolon_proto::id::CapsuleId;
use tracing::warn;

use super::slots::CapsulePlace;
use super::{KeyError, Keys, Shared};
use crate::key_thread;
use crate::random::os_rng;

/// A capsule and where it is.
pub type Placed = (CapsulePlace, Capsule);

/// A key that was opened, and a new capsule around it for the newest key epoch.
pub struct Rewrapped {
    /// Where it is.
    pub place: CapsulePlace,
    /// The key, as it came out of the old capsule.
    pub kek: OpenKek,
    /// The new capsule, with the same id.
    pub capsule: Capsule,
}

/// Epochs of the remote's key and of the fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Of the remote's key.
    pub key_epoch: u32,
    /// Of the fragment.
    pub fragment_epoch: u32,
}

impl Aim {
    /// Whether a capsule is of these epochs, or newer ones.
    #[must_use]
    pub fn is_met_by(self, capsule: &Capsule) -> bool {
        capsule.key_epoch() >= self.key_epoch && capsule.fragment_epoch() >= self.fragment_epoch
    }
}

impl Keys {
    /// Opens up to 64 capsules of one key epoch through the remote, past the cache. Each opens or fails on
    /// its own. This is work that can wait: it leaves the reserve of the quota alone.
    pub async fn open_capsules(
        &self,
        capsules: &[Placed],
    ) -> Result<Vec<Result<OpenKek, KeyError>>, KeyError> {
        let quota = self.shared.evaluator.quota();
        if Blinded::padded(capsules.len()).is_some_and(|cost| cost > self.shared.budget.spare(quota)) {
            return Err(KeyError::Spent(self.shared.budget.reserved(quota)));
        }
        self.shared.open_capsules(capsules).await
    }

    /// New capsules around keys that were opened, for the newest key epoch: same key, same id, new
    /// randomness. So records stay as they are. Needs a fresh canary.
    pub async fn rewrap(&self, keks: Vec<(CapsulePlace, OpenKek)>) -> Result<Vec<Rewrapped>, KeyError> {
        self.shared.require_canary()?;
        let shared = Arc::clone(&self.shared);
        let close = move || {
            let close = |(place, kek): (CapsulePlace, OpenKek)| {
                let capsule = shared.close_around(place, &kek.kek, kek.capsule)?;
                Ok(Rewrapped { place, kek, capsule })
            };
            keks.into_iter().map(close).collect()
        };
        key_thread::run(close).await.map_err(|_| KeyError::Busy)?
    }

    /// The newest key epoch; none while nobody has said which it is.
    #[must_use]
    pub fn newest_epoch(&self) -> Option<u32> {
        self.shared.newest_epoch()
    }

    /// What new capsules are closed for: the newest epochs of both halves. None while that of the remote is
    /// not known.
    #[must_use]
    pub fn aim(&self) -> Option<Aim> {
        let key_epoch = self.shared.newest_epoch()?;
        Some(Aim { key_epoch, fragment_epoch: self.shared.unsealed.keys().epoch })
    }

    /// Key epochs of the remote whose capsules can be opened, oldest first.
    #[must_use]
    pub fn key_epochs(&self) -> Vec<u32> {
        self.shared.evaluator.key_epochs()
    }

    /// Whether a capsule belongs to our key, and to epochs of the remote and of the fragment that live. One
    /// that does not is damaged.
    #[must_use]
    pub fn is_ours(&self, capsule: &Capsule) -> bool {
        self.shared.is_ours(capsule)
    }
}

impl Shared {
    pub(super) fn newest_epoch(&self) -> Option<u32> {
        self.evaluator.knows_newest().ok()?;
        self.evaluator.key_epochs().last().copied()
    }

    /// A fresh key for a place, and the capsule around it.
    pub(super) fn close(&self, place: CapsulePlace) -> Result<(Capsule, OpenKek), KeyError> {
        let mut rng = os_rng();
        let kek = Kek::generate(&mut rng)?;
        let capsule = CapsuleId::random(&mut rng);
        Ok((self.close_around(place, &kek, capsule)?, OpenKek { kek, capsule }))
    }

    fn close_around(&self, place: CapsulePlace, kek: &Kek, id: CapsuleId) -> Result<Capsule, KeyError> {
        let remote =
            self.evaluator.encapsulation_key().map_err(|error| KeyError::Fragment(error.problem()))?;
        let (keys, mut rng) = (self.unsealed.keys(), os_rng());
        let context = self.context(place, id, keys.epoch);
        capsule::encapsulate(&context, &remote, keys, kek, &mut rng).map_err(|_| KeyError::NotMade)
    }

    fn context(&self, place: CapsulePlace, capsule: CapsuleId, fragment_epoch: u32) -> CapsuleContext {
        place.context(self.unsealed.deployment(), self.evaluator.key_id(), fragment_epoch, capsule)
    }

    /// One evaluation for capsules of one key epoch; each then opens or fails on its own.
    pub(super) async fn open_capsules(
        self: &Arc<Self>,
        capsules: &[Placed],
    ) -> Result<Vec<Result<OpenKek, KeyError>>, KeyError> {
        let key_epoch = capsules.first().map_or(0, |(_, capsule)| capsule.key_epoch());
        let target = self.evaluator.target(key_epoch).map_err(|error| KeyError::Fragment(error.problem()))?;
        let closed: Vec<_> = capsules.to_vec();
        let blind = move || {
            let capsules: Vec<_> = closed.iter().map(|(_, capsule)| capsule).collect();
            let blinded = Blinded::blind(&capsules, target, &mut os_rng());
            (blinded, closed)
        };
        // Taken before the question: they may be forgotten while it is answered, and what was read still
        // needs them.
        let previous = self.unsealed.previous();
        let (blinded, closed) = key_thread::run(blind).await.map_err(|_| KeyError::Busy)?;
        let blinded = blinded.map_err(|_| KeyError::Integrity)?;
        let secrets = self.evaluator.evaluate(blinded).await.map_err(|error| {
            warn!(%error, "evaluation failed");
            KeyError::Fragment(error.problem())
        })?;
        let shared = Arc::clone(self);
        let open = move || {
            let open = |(secret, closed)| shared.open(closed, secret, previous.as_deref());
            secrets.into_iter().zip(&closed).map(open).collect()
        };
        key_thread::run(open).await.map_err(|_| KeyError::Busy)
    }

    fn open(
        &self,
        (place, capsule): &Placed,
        secret: SharedSecret,
        previous: Option<&Previous>,
    ) -> Result<OpenKek, KeyError> {
        let context = self.context(*place, capsule.id(), capsule.fragment_epoch());
        let present = self.unsealed.keys();
        let key = match previous {
            _ if capsule.fragment_epoch() == present.epoch => &present.capsule,
            Some(previous) if capsule.fragment_epoch() == previous.epoch => &previous.capsule,
            _ => return Err(KeyError::Integrity),
        };
        let kek = capsule.open(&context, key, secret).map_err(|error| match error {
            CapsuleError::Memory(error) => error.into(),
            _ => KeyError::Integrity,
        })?;
        Ok(OpenKek { kek, capsule: capsule.id() })
    }

    fn is_ours(&self, capsule: &Capsule) -> bool {
        let fragment_epoch = capsule.fragment_epoch();
        let opens = fragment_epoch == self.unsealed.keys().epoch
            || self.unsealed.previous().is_some_and(|previous| previous.epoch == fragment_epoch);
        opens
            && capsule.key() == self.evaluator.key_id()
            && self.evaluator.key_epochs().contains(&capsule.key_epoch())
    }

    /// The capsule of a place. One that names another remote key, or an epoch that does not live, is damaged,
    /// and is told apart here: in a batch it would keep the others from being opened. Which epochs live is
    /// the word of the services.
    pub(super) async fn stored_capsule(&self, place: CapsulePlace) -> Result<Capsule, KeyError> {
        let row = self.store.get(&place.key()).await.map_err(|_| KeyError::Busy)?.ok_or(KeyError::Moved)?;
        let capsule = Capsule::parse(&row.value).map_err(|_| KeyError::Integrity)?;
        if self.is_ours(&capsule) {
            return Ok(capsule);
        }
        self.evaluator.knows_newest().map_err(|error| KeyError::Fragment(error.problem()))?;
        Err(KeyError::Integrity)
    }
}
