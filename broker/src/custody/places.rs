//! Where custody keeps the few rows that every deployment has one of.

use serde::{Deserialize, Serialize};
use symbolon_core::seal::Sealed;
use symbolon_proto::id::TenantId;

use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place};

/// The newest generation of a deployment. Wire type.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// Where the generation is kept.
pub const GENERATION: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "generation" };

/// Where an encrypted copy of the public seal record is kept.
pub const SEAL_COPY: Place<'static> = Place { name: "seal record", ..GENERATION };

/// The public seal record as it is stored.
pub(super) fn public_record(sealed: &Sealed) -> Result<Vec<u8>, OpError> {
    serde_json::to_vec(sealed.record()).map_err(|_| OpError::bug("the seal record could not be encoded"))
}
