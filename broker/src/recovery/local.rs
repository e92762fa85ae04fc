//! The other half of every key, computed here: an evaluator that holds k itself.

use std::collections::BTreeMap;

use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::EncapsulationKey;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::Target;
use symbolon_proto::id::KeyId;

use crate::access::Session;
use crate::random::os_rng;
use crate::remote::{EvaluateError, Evaluated, Evaluator};
use crate::upkeep::rotation::remote::{RemoteRotation, RotateError, Rotated};

/// Share epoch of requests that never leave the process.
const NO_SHARING: u32 = 0;

/// Remote keys out of escrow, by key epoch.
pub(super) struct LocalKeys {
    key: KeyId,
    epochs: BTreeMap<u32, RemoteKey>,
}

impl LocalKeys {
    pub(super) const fn new(key: KeyId, epochs: BTreeMap<u32, RemoteKey>) -> Self {
        Self { key, epochs }
    }

    fn of_epoch(&self, key_epoch: u32) -> Result<&RemoteKey, EvaluateError> {
        self.epochs.get(&key_epoch).ok_or(EvaluateError::KeyEpoch { key_epoch })
    }
}

/// Recovery reads: nothing on a copy is rotated.
const READ_ONLY: RotateError =
    RotateError::Refused("this is a copy that is being recovered; nothing on it is rotated");

impl RemoteRotation for LocalKeys {
    fn new_epoch<'a>(&'a self, _: &'a Session) -> Rotated<'a, u32> {
        Box::pin(async { Err(READ_ONLY) })
    }

    fn retire<'a>(&'a self, _: &'a Session, _: u32) -> Rotated<'a, ()> {
        Box::pin(async { Err(READ_ONLY) })
    }
}

impl Evaluator for LocalKeys {
    fn key_id(&self) -> KeyId {
        self.key
    }

    fn key_epochs(&self) -> Vec<u32> {
        self.epochs.keys().copied().collect()
    }

    fn target(&self, key_epoch: u32) -> Result<Target, EvaluateError> {
        self.of_epoch(key_epoch)?;
        Ok(Target { key: self.key, key_epoch, share_epoch: NO_SHARING })
    }

    /// Recovery reads. A new capsule on a copy would be lost with it.
    fn encapsulation_key(&self) -> Result<EncapsulationKey, EvaluateError> {
        Err(EvaluateError::Suspended)
    }

    fn evaluate(&self, blinded: Blinded) -> Evaluated<'_> {
        let key = self.of_epoch(blinded.request().target().key_epoch);
        let secrets = key.map(|key| blinded.finalize_locally(key, &mut os_rng()));
        Box::pin(async move { secrets })
    }
}
