//! The sealed part of an entry: who, what and from where.
//!
//! Its context is SKB1's record context of kind metadata, under the audit key that seals nothing else. The
//! fields of a secret's place hold what the entry says openly: broker, action and outcome. So a detail opens
//! only next to the public fields it was written with; its index is bound by the Merkle tree (see
//! `writer.rs`).

use rand_core::CryptoRng;
use symbolon_core::audit::{Action, Detail, Outcome};
use symbolon_proto::Zeroizing;
use symbolon_proto::context::{ContextBytes, RecordContext, RecordKind};
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::{BrokerId, DeploymentId, MountId, SecretId, TenantId};
use symbolon_proto::sealedbox::{self, OpenError, SealError};

/// What a detail is bound to.
#[derive(Clone, Copy, Debug)]
pub struct DetailPlace {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The broker that wrote the entry.
    pub broker: BrokerId,
    /// What was asked for.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
}

/// Why a detail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DetailError {
    /// Wrong key, or not the detail of this entry.
    #[error("the detail does not open")]
    Box(#[from] OpenError),
    /// Opened, but of a form this version does not know.
    #[error("the detail is not of a known form")]
    Form,
}

impl DetailPlace {
    fn context(&self) -> ContextBytes {
        RecordContext {
            kind: RecordKind::Metadata,
            deployment: self.deployment,
            tenant: TenantId::SYSTEM,
            mount: MountId::from_bytes(*self.broker.as_bytes()),
            secret: SecretId::from_bytes([0; 16]),
            version: u64::from(self.action.as_u8()) << 8 | u64::from(self.outcome.as_u8()),
        }
        .encode()
    }
}

/// The bytes to seal.
pub(crate) fn encode(detail: &Detail) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(detail).expect("strings and numbers always serialise"))
}

/// Seals encoded detail.
pub(crate) fn seal(
    key: &AuditKey,
    place: &DetailPlace,
    plain: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    sealedbox::seal(key.secret(), &place.context(), plain, rng)
}

/// Opens the detail of an entry.
pub fn open(key: &AuditKey, place: &DetailPlace, sealed: &[u8]) -> Result<Detail, DetailError> {
    let plain = sealedbox::open(key.secret(), &place.context(), sealed)?;
    serde_json::from_slice(&plain).map_err(|_| DetailError::Form)
}
