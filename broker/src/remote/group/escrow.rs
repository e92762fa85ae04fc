//! Remote shares in escrow (`docs/skb1.md` 8): every node seals its own to the customer's key. What lies in
//! escrow bypasses revocation, so the operator of each node must have approved that key; a broker that was
//! taken over cannot.

use std::time::Duration;

use symbolon_proto::custody::escrow::{EscrowEnvelope, EscrowKey};
use symbolon_proto::frame::{GroupOp, GroupReply};
use symbolon_proto::manifest::{Manifest, ManifestNode};

use super::member::GroupMember;
use super::{GroupError, NodeProblem};
use crate::remote::Remote;

/// Asks every node to seal its shares to `escrow` from now on. False while the operator of some node has yet
/// to approve it.
pub(crate) async fn agree(remote: &Remote, escrow: &EscrowKey) -> Result<bool, GroupError> {
    let key = remote.manifest().manifest().key;
    let mut all = true;
    for (member, _) in &members(remote).await? {
        let request = GroupOp::SetEscrow { key, escrow: escrow.public().as_bytes().to_vec() };
        match member.ask_done(request).await {
            Ok(()) => {}
            Err(GroupError::Node { problem: NodeProblem::NotApproved, .. }) => all = false,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// What every node sealed of the newest shares. Whether the content is right only the escrow custodians can
/// see.
pub(crate) async fn collect(remote: &Remote) -> Result<Vec<EscrowEnvelope>, GroupError> {
    let manifest = remote.manifest();
    let mut envelopes = Vec::new();
    for (member, seat) in &members(remote).await? {
        let envelope = fetch(member, manifest.manifest()).await?;
        if !fits(&envelope, manifest.manifest(), seat.index) {
            return Err(member.problem(NodeProblem::OtherAnswer));
        }
        envelopes.push(envelope);
    }
    Ok(envelopes)
}

async fn fetch(member: &GroupMember, manifest: &Manifest) -> Result<EscrowEnvelope, GroupError> {
    let Manifest { key, key_epoch, share_epoch, .. } = *manifest;
    let other = || member.problem(NodeProblem::OtherAnswer);
    match member.ask(GroupOp::Escrow { key, key_epoch, share_epoch }).await? {
        GroupReply::Escrow(envelope) => EscrowEnvelope::decode(&envelope).map_err(|_| other()),
        _ => Err(other()),
    }
}

/// The nodes of the newest manifest with their seats in it.
async fn members(remote: &Remote) -> Result<Vec<(GroupMember, ManifestNode)>, GroupError> {
    let (enrolled, settings) = (remote.enrolled(), remote.settings());
    let deadline = Duration::from_millis(settings.deadline_ms);
    let mut members = Vec::new();
    for (at, known, _) in enrolled.addresses(settings) {
        let member = GroupMember::meet(at, remote.client(), Some(remote.holder()), deadline).await?;
        let seat = enrolled.manifest.manifest().nodes.iter().find(|seat| seat.node == known.node);
        members.push((member, *seat.ok_or(GroupError::NotAGroup)?));
    }
    Ok(members)
}

/// Whether an envelope says that it holds the share of node `index` of this manifest.
#[must_use]
pub fn fits(envelope: &EscrowEnvelope, manifest: &Manifest, index: u16) -> bool {
    let place = envelope.place();
    let node = manifest.nodes.iter().find(|node| node.index == index);
    place.deployment == manifest.deployment
        && (place.key, place.key_epoch, place.share_epoch)
            == (manifest.key, manifest.key_epoch, manifest.share_epoch)
        && place.node == index
        && node.is_some_and(|node| node.public == place.public)
}
