//! One manifest, signed by every node with its own key, and by the root of the lead.

use symbolon_proto::dkg::GroupKey;
use symbolon_proto::frame::{GroupOp, GroupReply};
use symbolon_proto::lease::KeyState;
use symbolon_proto::manifest::{Manifest, VALIDITY_SECS_MAX, VerifiedManifest};
use symbolon_proto::proposal::Proposal;

use super::member::GroupMember;
use super::{GroupError, NodeProblem};
use crate::config::GroupTerms;

/// A manifest begins so long before now, for parties whose clocks are behind.
const BACKDATED_SECS: u64 = 300;

/// What is to be signed: the sharing as it is, with the terms that the configuration asks for. No node signs
/// more than it grants.
pub(crate) fn body(
    group: &Proposal,
    key: &GroupKey,
    epochs: (u32, u32),
    terms: &GroupTerms,
    after: Option<&VerifiedManifest>,
    now_secs: u64,
) -> Result<Manifest, GroupError> {
    let degenerate = || GroupError::Run(symbolon_proto::dkg::DkgError::Degenerate);
    let not_before_secs = now_secs.saturating_sub(BACKDATED_SECS);
    Ok(Manifest {
        deployment: group.terms().deployment,
        key: group.terms().key,
        state: KeyState::Active,
        key_epoch: epochs.0,
        share_epoch: epochs.1,
        public: key.public(),
        commitments: key.commitments()[1..].to_vec(),
        nodes: Manifest::members(group, key).ok_or_else(degenerate)?,
        lease_ttl_secs: terms.lease_ttl_secs,
        quota_burst: terms.quota_burst,
        quota_per_hour: terms.quota_per_hour,
        grace_secs: terms.grace_secs,
        not_before_secs,
        not_after_secs: not_before_secs + VALIDITY_SECS_MAX,
        seq: after.map_or(1, |before| before.manifest().seq + 1),
        prev_hash: after.map_or([0; 32], VerifiedManifest::hash),
    })
}

/// Has a manifest signed by all nodes, which stand in the order of their indices, and stored by all of them.
/// Verified without a predecessor; the caller continues its chain with it.
pub(crate) async fn cosign(
    manifest: &Manifest,
    nodes: &[&GroupMember],
) -> Result<VerifiedManifest, GroupError> {
    let body = manifest.signed_bytes();
    let (mut lead, mut signatures) = (None, Vec::with_capacity(nodes.len()));
    for (place, node) in nodes.iter().enumerate() {
        match node.ask(GroupOp::SignManifest { body: body.clone() }).await? {
            GroupReply::ManifestSigned { node: _, root: None } if place == 0 => {
                return Err(node.problem(NodeProblem::OtherAnswer));
            }
            GroupReply::ManifestSigned { node: signature, root } => {
                signatures.push(signature);
                lead = lead.or(root);
            }
            _ => return Err(node.problem(NodeProblem::OtherAnswer)),
        }
    }
    let lead = lead.ok_or(GroupError::Manifest(symbolon_proto::manifest::ManifestError::RootSignature))?;
    let bytes = manifest.assemble(&lead, &signatures);
    let root = nodes.first().map(|node| node.card().card().root).ok_or(GroupError::NotAGroup)?;
    let verified = VerifiedManifest::first(&bytes, &root, &manifest.deployment)?;
    for node in nodes {
        node.ask_done(GroupOp::StoreManifest { manifest: bytes.clone() }).await?;
    }
    Ok(verified)
}
