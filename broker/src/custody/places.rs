//! Where custody keeps the few rows that every deployment has one of.

use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;

use crate::rows::{COUNTERS, NO_SCOPE, Place};

/// The newest generation of a deployment. Wire type.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// Where the generation is kept.
pub const GENERATION: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "generation" };

/// Where an encrypted copy of the public seal record is kept.
pub const SEAL_COPY: Place<'static> = Place { name: "seal record", ..GENERATION };
