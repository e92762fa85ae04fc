//! A remote that has been suspended.

use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::EncapsulationKey;
use symbolon_proto::frame::Target;
use symbolon_proto::id::KeyId;

use crate::remote::{EvaluateError, Evaluated, Evaluator};

/// The remote is suspended.
pub(crate) struct Away;

impl Evaluator for Away {
    fn key_id(&self) -> KeyId {
        KeyId::from_bytes([5; 16])
    }

    fn key_epochs(&self) -> Vec<u32> {
        vec![1]
    }

    fn target(&self, key_epoch: u32) -> Result<Target, EvaluateError> {
        Ok(Target { key: self.key_id(), key_epoch, share_epoch: 1 })
    }

    fn encapsulation_key(&self) -> Result<EncapsulationKey, EvaluateError> {
        Err(EvaluateError::Suspended)
    }

    fn evaluate(&self, _: Blinded) -> Evaluated<'_> {
        Box::pin(async { Err(EvaluateError::Suspended) })
    }
}
