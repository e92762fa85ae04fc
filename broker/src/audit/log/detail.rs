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

/// Step of the length of what a refused caller did not send, so that the length of the sealed detail, which
/// everybody sees, says neither what was asked for nor why it was refused. Who the caller is and what became
/// of the request take steps of their own: the latter is shorter than one step always, so a caller whose name
/// nearly fills one learns nothing from it. The claims of a stranger are shorter than one step too.
const REFUSED_BYTES: usize = 512;
/// Bytes of a detail that counts requests, always.
const COUNTS_BYTES: usize = 4096;

/// The bytes to seal of a request that was refused, or of many, with blanks at the end.
pub(crate) fn encode_refused(mut detail: Detail) -> Zeroizing<Vec<u8>> {
    let mut plain = encode(&detail);
    let bytes = match &detail.counts {
        None => refused_bytes(&detail, plain.len()),
        Some(_) => {
            while plain.len() > COUNTS_BYTES && detail.counts.as_mut().is_some_and(|counts| counts.shorten())
            {
                plain = encode(&detail);
            }
            COUNTS_BYTES.max(plain.len())
        }
    };
    plain.resize(bytes, b' ');
    plain
}

/// What the caller sent, in steps who it is, and in steps what it does not know.
fn refused_bytes(detail: &Detail, bytes: usize) -> usize {
    let Detail { request_id, path, remote, caller, accessor, actor, policies, .. } = detail.clone();
    let sent = encode(&Detail { request_id, path, remote, ..Detail::default() }).len();
    let caller = encode(&Detail { caller, accessor, actor, policies, ..Detail::default() }).len();
    let steps = |bytes: usize| bytes.max(1).next_multiple_of(REFUSED_BYTES);
    sent + steps(caller) + steps(bytes.saturating_sub(sent + caller))
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
