//! Manifests of a group: this node signs what it would have written itself, and keeps what all have signed.
//!
//! A manifest is built here from this node's own state; only the grants, the dates and the place in the chain
//! are taken from the broker's, within bounds. If the two are not byte for byte the same, the node does not
//! sign.

use sha2::{Digest, Sha256};
use symbolon_proto::codec::{DecodeError, Reader};
use symbolon_proto::frame::{GroupReply, Status, request_hash};
use symbolon_proto::id::KeyId;
use symbolon_proto::lease;
use symbolon_proto::manifest::{Manifest, ManifestNode, VALIDITY_SECS_MAX, VerifiedManifest};
use symbolon_proto::proposal::Proposal;

use super::{Step, group_row};
use crate::config::Grants;
use crate::peer::Peer;
use crate::state::Service;
use crate::tables::{Key, MANIFESTS_KEPT, Sharing};

/// Bytes of grants, dates and chain at the end of what is signed.
const TAIL_BYTES: usize = 4 * 4 + 3 * 8 + 32;
/// Where the key id stands.
const KEY_AT: usize = symbolon_proto::label::MANIFEST.len() + 1 + 16;
/// How far a broker's clock may be from ours.
const CLOCK_SECS: u64 = 3600;

/// A node that joins believes numbers below this one.
const JOINED_SEQ_END: u64 = 1 << 48;

/// What a broker may choose in a manifest.
struct Tail {
    lease_ttl_secs: u32,
    quota_burst: u32,
    quota_per_hour: u32,
    grace_secs: u32,
    not_before_secs: u64,
    not_after_secs: u64,
    seq: u64,
    prev_hash: [u8; 32],
}

impl Tail {
    fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let at = body.len().checked_sub(TAIL_BYTES).ok_or(DecodeError::Truncated { missing: TAIL_BYTES })?;
        let mut reader = Reader::new(&body[at..]);
        Ok(Self {
            lease_ttl_secs: reader.u32()?,
            quota_burst: reader.u32()?,
            quota_per_hour: reader.u32()?,
            grace_secs: reader.u32()?,
            not_before_secs: reader.u64()?,
            not_after_secs: reader.u64()?,
            seq: reader.u64()?,
            prev_hash: reader.array()?,
        })
    }

    /// Whether this node grants as much, now.
    fn is_within(&self, grants: &Grants, now_secs: u64) -> bool {
        let validity = self.not_after_secs.checked_sub(self.not_before_secs);
        (1..=grants.lease_ttl_secs).contains(&self.lease_ttl_secs)
            && self.grace_secs <= grants.grace_secs
            && self.quota_burst <= grants.quota.burst
            && self.quota_per_hour <= grants.quota.per_hour
            && self.not_before_secs <= now_secs + CLOCK_SECS
            && self.not_after_secs > now_secs
            && validity.is_some_and(|secs| (1..=VALIDITY_SECS_MAX).contains(&secs))
    }

    /// Whether it is the next in the chain that is stored here. A node without a chain begins it with the
    /// first group; if it has just joined a later one it follows the others, but not to where numbers end.
    fn follows(&self, row: &Key) -> bool {
        match row.manifests.last() {
            Some((seq, bytes)) => {
                seq.checked_add(1) == Some(self.seq) && self.prev_hash == request_hash(bytes)
            }
            None if joined_later(row) => (1..JOINED_SEQ_END).contains(&self.seq),
            None => self.seq == 1,
        }
    }
}

impl Service {
    pub(super) fn sign_manifest(&self, peer: &Peer, body: &[u8]) -> Step {
        let key = key_of(body)?;
        let mut live = self.live();
        self.allow(&live, peer, key)?;
        let tail = Tail::read(body).map_err(|_| Status::Malformed)?;
        let mut tables = live.tables.clone();
        let row = group_row(&mut tables, key)?;
        let digest: [u8; 32] = Sha256::digest(body).into();
        let expected = expected(key, row, &tail).ok_or(Status::Disagrees)?;
        let signed = row.group.as_ref().and_then(|group| group.signed);
        if signed != Some((tail.seq, digest)) {
            let grants = self.options.grants_of(row.deployment);
            let is_newer = signed.is_none_or(|(seq, _)| tail.seq > seq);
            let agrees = tail.is_within(&grants, self.now().unix_secs) && tail.follows(row);
            if !is_newer || !agrees || expected.signed_bytes() != body {
                return Err(Status::Disagrees.into());
            }
            if let Some(group) = &mut row.group {
                group.signed = Some((tail.seq, digest));
            }
            self.keep(&mut live, tables)?;
        }
        let is_lead = expected.nodes.first().is_some_and(|lead| lead.node == self.identity.node_id);
        let root = is_lead.then(|| self.identity.root.sign(body));
        Ok(GroupReply::ManifestSigned { node: self.identity.node.sign(body), root })
    }

    pub(super) fn store_manifest(&self, peer: &Peer, bytes: &[u8]) -> Step {
        let key = key_of(bytes)?;
        let mut live = self.live();
        self.allow(&live, peer, key)?;
        let mut tables = live.tables.clone();
        let row = group_row(&mut tables, key)?;
        if row.manifests.last().is_some_and(|(_, last)| last == bytes) {
            return Ok(GroupReply::Done);
        }
        let manifest = believed(row, bytes).ok_or(Status::Disagrees)?;
        row.manifests.push((manifest.seq, bytes.to_vec()));
        let surplus = row.manifests.len().saturating_sub(MANIFESTS_KEPT);
        row.manifests.drain(..surplus);
        if let Some(group) = &mut row.group {
            group.announced = Some((manifest.key_epoch, manifest.share_epoch));
        }
        self.keep(&mut live, tables)?;
        Ok(GroupReply::Done)
    }
}

fn joined_later(row: &Key) -> bool {
    let newest = row.group.as_ref().and_then(|group| group.proposals.last());
    newest.is_some_and(|proposal| proposal.terms().number > 1)
}

fn key_of(manifest: &[u8]) -> Result<KeyId, Status> {
    let bytes = manifest.get(KEY_AT..KEY_AT + 16).and_then(|bytes| bytes.try_into().ok());
    bytes.map(KeyId::from_bytes).ok_or(Status::Malformed)
}

/// The manifest as this node knows it.
fn expected(key: KeyId, row: &Key, tail: &Tail) -> Option<Manifest> {
    let newest = row.newest()?;
    let sharing = row.newest_sharing()?;
    let proposal = row.group.as_ref()?.proposal(&sharing.group)?;
    let state = lease::KeyState::from(row.state);
    build((key, row, state), (newest.key_epoch, newest.share_epoch()), (sharing, proposal), tail)
}

fn build(
    (key, row, state): (KeyId, &Key, lease::KeyState),
    (key_epoch, share_epoch): (u32, u32),
    (sharing, proposal): (&Sharing, &Proposal),
    tail: &Tail,
) -> Option<Manifest> {
    let node = |(index, card): (u16, &symbolon_proto::card::VerifiedCard)| {
        let card = card.card();
        Some(ManifestNode {
            index,
            node: card.node,
            public: sharing.key.share(index)?,
            signing: card.signing,
            spki_sha256: card.spki_sha256,
        })
    };
    Some(Manifest {
        deployment: row.deployment,
        key,
        state,
        key_epoch,
        share_epoch,
        public: sharing.key.public(),
        commitments: sharing.key.commitments().get(1..)?.to_vec(),
        nodes: (1..).zip(proposal.cards()).map(node).collect::<Option<_>>()?,
        lease_ttl_secs: tail.lease_ttl_secs,
        quota_burst: tail.quota_burst,
        quota_per_hour: tail.quota_per_hour,
        grace_secs: tail.grace_secs,
        not_before_secs: tail.not_before_secs,
        not_after_secs: tail.not_after_secs,
        seq: tail.seq,
        prev_hash: tail.prev_hash,
    })
}

/// A manifest that follows in our chain and that all have signed.
fn believed(row: &Key, bytes: &[u8]) -> Option<Manifest> {
    let manifest = signed_by_all(row, bytes)?;
    let tail = Tail::read(&manifest.signed_bytes()).ok()?;
    (agrees(row, &manifest) && tail.follows(row)).then_some(manifest)
}

/// The newest stored manifest, if it still agrees with what is held.
pub(super) fn announced(row: &Key) -> Option<Manifest> {
    let (_, bytes) = row.manifests.last()?;
    signed_by_all(row, bytes).filter(|manifest| agrees(row, manifest))
}

/// Whether a manifest is of the key that we know: the same y in every sharing of its key epoch, and if we
/// have its sharing, the same commitments.
fn agrees(row: &Key, manifest: &Manifest) -> bool {
    let mut known = row.group.iter().flat_map(|group| &group.sharings);
    known.all(|((key_epoch, share_epoch), sharing)| {
        let is_same = *share_epoch != manifest.share_epoch || manifest.group_key() == sharing.key;
        *key_epoch != manifest.key_epoch || (sharing.key.public() == manifest.public && is_same)
    })
}

/// A manifest with the signatures of all nodes of a group that the operator approved: one we are in, or one
/// that follows it.
fn signed_by_all(row: &Key, bytes: &[u8]) -> Option<Manifest> {
    let group = row.group.as_ref()?;
    let verify = |proposal: &Proposal| {
        let lead = proposal.member(1)?;
        let verified = VerifiedManifest::first(bytes, &lead.root, &row.deployment).ok()?;
        let manifest = verified.manifest();
        let members = manifest.nodes.len() == proposal.cards().len()
            && manifest.nodes.iter().zip(proposal.cards()).all(|(node, card)| {
                (node.node, node.signing, node.spki_sha256)
                    == (card.card().node, card.card().signing, card.card().spki_sha256)
            });
        (members && manifest.threshold() == proposal.terms().threshold).then(|| manifest.clone())
    };
    group.proposals.iter().rev().find_map(verify)
}
