//! A block as a row: a SealedBox under the audit key. Its context names deployment, segment and the root over
//! the entries, so that it opens for these entries at this place and no others (`docs/skb1.md` 16.83). Every
//! box has a key of its own: the same entries twice are two rows that have nothing in common.

use symbolon_proto::context::log_index_context;
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::{Hash, Segment};
use symbolon_proto::sealedbox;

use super::block::Block;
use crate::random::os_rng;

/// The value of a row; `None` if the block has no form, which its bounds rule out.
pub(super) fn seal(
    audit: &AuditKey,
    deployment: DeploymentId,
    (segment, root): (Segment, Hash),
    block: &Block,
) -> Option<Vec<u8>> {
    let context = log_index_context(&deployment, segment.number(), root.as_bytes());
    sealedbox::seal(audit.secret(), &context, &block.encode()?, &mut os_rng()).ok()
}

/// The block in a row; `None` if it is of other entries, of another place or form, or damaged.
pub(super) fn open(
    audit: &AuditKey,
    deployment: DeploymentId,
    (segment, root): (Segment, Hash),
    row: &[u8],
) -> Option<Block> {
    let context = log_index_context(&deployment, segment.number(), root.as_bytes());
    Block::decode(&sealedbox::open(audit.secret(), &context, row).ok()?)
}
