//! Remote manifests: what a fragment service says about a key, in a signed chain (`docs/skb1.md` section
//! 6.8).
//!
//! The offline service root and every node sign each manifest, and each names the hash of the one before, so
//! a service cannot show different public keys to different brokers, nor go back to an older one. A
//! [`VerifiedManifest`] is one whose every field and signature was checked; it is the only way to an
//! `EncapsulationKey`. Formats carry t of n nodes from the beginning; a single remote is t = n = 1.

mod error;
mod verified;

use std::cmp::Ordering;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use curve25519_dalek::traits::Identity;

pub use self::error::ManifestError;
pub use self::verified::VerifiedManifest;
use crate::card::VerifiedCard;
use crate::codec::{Reader, Writer};
use crate::dkg::GroupKey;
use crate::group::{POINT_BYTES, Point, PublicKey, Suite};
use crate::id::{DeploymentId, KeyId, NodeId};
use crate::key_state::KeyState;
use crate::label;
use crate::limits::LEASE_TTL_SECS_MAX;
pub use crate::limits::NODES_MAX;
use crate::proposal::Proposal;
use crate::signing::{SIGNATURE_BYTES, SigningPublicKey, SigningSeed};

/// Bytes of the longest manifest, 16 of 16.
pub const MANIFEST_BYTES_MAX: usize = 60 + 32 + 15 * 32 + 16 * 114 + 72 + 17 * SIGNATURE_BYTES;
/// The longest time a manifest may be valid: 30 days.
pub const VALIDITY_SECS_MAX: u64 = 30 * 24 * 60 * 60;

const FORMAT: u8 = 1;

/// A node of the fragment service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ManifestNode {
    /// Its evaluation point, from 1.
    pub index: u16,
    /// Its id.
    pub node: NodeId,
    /// y_i.
    pub public: PublicKey,
    /// Its Ed25519 key: signs leases and the manifest.
    pub signing: SigningPublicKey,
    /// SHA-256 of the public key info of its TLS certificate.
    pub spki_sha256: [u8; 32],
}

/// The fields of a manifest, in their order on the wire. Nothing is implied about them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The key.
    pub key: KeyId,
    /// Its state.
    pub state: KeyState,
    /// Its epoch.
    pub key_epoch: u32,
    /// The epoch of its shares.
    pub share_epoch: u32,
    /// y = A_0.
    pub public: PublicKey,
    /// A_1 … A_{t-1}; the threshold is one more than their number.
    pub commitments: Vec<Point>,
    /// The n nodes.
    pub nodes: Vec<ManifestNode>,
    /// Duration of leases.
    pub lease_ttl_secs: u32,
    /// Evaluations allowed at once.
    pub quota_burst: u32,
    /// Evaluations allowed in an hour.
    pub quota_per_hour: u32,
    /// How long cached keys outlive a lease.
    pub grace_secs: u32,
    /// Start of validity, Unix seconds.
    pub not_before_secs: u64,
    /// End of validity, Unix seconds.
    pub not_after_secs: u64,
    /// Number in the chain, from 1.
    pub seq: u64,
    /// SHA-256 of the manifest before; zeros for the first.
    pub prev_hash: [u8; 32],
}

impl Manifest {
    /// t, the number of nodes that must answer.
    pub fn threshold(&self) -> u16 {
        u16::try_from(self.commitments.len() + 1).unwrap_or(u16::MAX)
    }

    /// Everything that is signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1024);
        writer.bytes(label::MANIFEST).u8(FORMAT).bytes(self.deployment.as_bytes());
        writer.bytes(self.key.as_bytes()).u8(Suite::Ristretto255.byte()).u8(self.state as u8);
        writer.u32(self.key_epoch).u32(self.share_epoch).u16(self.threshold());
        writer.u16(u16::try_from(self.nodes.len()).unwrap_or(u16::MAX)).bytes(self.public.as_bytes());
        for commitment in &self.commitments {
            writer.bytes(commitment.as_bytes());
        }
        for node in &self.nodes {
            writer.u16(node.index).bytes(node.node.as_bytes()).bytes(node.public.as_bytes());
            writer.bytes(node.signing.as_bytes()).bytes(&node.spki_sha256);
        }
        writer.u32(self.lease_ttl_secs).u32(self.quota_burst).u32(self.quota_per_hour).u32(self.grace_secs);
        writer.u64(self.not_before_secs).u64(self.not_after_secs).u64(self.seq).bytes(&self.prev_hash);
        writer.finish()
    }

    /// The whole manifest, signed by the service root and by the nodes in their order, if one party has all
    /// keys. Nodes that do not share a process sign what [`Manifest::parse_body`] read, and
    /// [`Manifest::assemble`] joins them.
    pub fn sign(&self, root: &SigningSeed, nodes: &[&SigningSeed]) -> Vec<u8> {
        let body = self.signed_bytes();
        let nodes: Vec<_> = nodes.iter().map(|seed| seed.sign(&body)).collect();
        self.assemble(&root.sign(&body), &nodes)
    }

    /// The whole manifest, from the signatures over [`Manifest::signed_bytes`] by the root of the lead (the
    /// node with the lowest index) and by all nodes in their order. Whether they are any good shows when it
    /// is accepted.
    pub fn assemble(&self, root: &[u8; SIGNATURE_BYTES], nodes: &[[u8; SIGNATURE_BYTES]]) -> Vec<u8> {
        let mut bytes = self.signed_bytes();
        bytes.extend(root);
        bytes.extend(nodes.as_flattened());
        bytes
    }

    /// Reads what is to be signed, for a node that is asked to: everything in it holds together, but whether
    /// it is true the node must compare with what it knows.
    pub fn parse_body(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(bytes);
        let manifest = Self::read(&mut reader)?;
        reader.finish()?;
        manifest.check_terms()?;
        Ok(manifest)
    }

    /// Whether it describes exactly this sharing among exactly these nodes.
    #[must_use]
    pub fn describes(&self, group: &Proposal, key: &GroupKey) -> bool {
        let terms = group.terms();
        (self.deployment, self.key) == (terms.deployment, terms.key)
            && self.public == key.public()
            && self.commitments == key.commitments()[1..]
            && Self::members(group, key).is_some_and(|members| members == self.nodes)
    }

    /// The nodes of a group as a manifest names them; `None` if the sharing is degenerate.
    pub fn members(group: &Proposal, key: &GroupKey) -> Option<Vec<ManifestNode>> {
        let member = |(index, card): (u16, &VerifiedCard)| {
            let (public, card) = (key.share(index)?, card.card());
            let (node, signing, spki_sha256) = (card.node, card.signing, card.spki_sha256);
            Some(ManifestNode { index, node, public, signing, spki_sha256 })
        };
        (1..).zip(group.cards()).map(member).collect()
    }

    /// The sharing that it publishes.
    pub fn group_key(&self) -> GroupKey {
        let commitments = std::iter::once(self.public.point()).chain(&self.commitments).copied().collect();
        GroupKey::new(commitments).expect("a manifest has 1 to 16 commitments")
    }

    fn parse(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), ManifestError> {
        let mut reader = Reader::new(bytes);
        let manifest = Self::read(&mut reader)?;
        let signed = &bytes[..bytes.len() - reader.rest().len()];
        let signatures = reader.take((manifest.nodes.len() + 1) * SIGNATURE_BYTES)?;
        reader.finish()?;
        Ok((manifest, signed, signatures))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ManifestError> {
        if reader.take(label::MANIFEST.len())? != label::MANIFEST {
            return Err(ManifestError::Label);
        }
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(ManifestError::Format { found: format });
        }
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let key = KeyId::from_bytes(reader.array()?);
        let suite = reader.u8()?;
        if Suite::from_byte(suite).is_none() {
            return Err(ManifestError::Suite { found: suite });
        }
        let state = read_state(reader)?;
        let (key_epoch, share_epoch) = (reader.u32()?, reader.u32()?);
        let (threshold, count) = (reader.u16()?, reader.u16()?);
        if threshold < 1 || threshold > count || count > NODES_MAX {
            return Err(ManifestError::Threshold { threshold, nodes: count });
        }
        let public = PublicKey::decode(&reader.array()?)?;
        let commitments = (1..threshold).map(|_| read_point(reader)).collect::<Result<_, _>>()?;
        let nodes = (0..count).map(|_| read_node(reader)).collect::<Result<_, _>>()?;
        Ok(Self {
            deployment,
            key,
            state,
            key_epoch,
            share_epoch,
            public,
            commitments,
            nodes,
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

    fn check(&self, signed: &[u8], signatures: &[u8], root: &SigningPublicKey) -> Result<(), ManifestError> {
        let (signatures, _) = signatures.as_chunks::<SIGNATURE_BYTES>();
        if !root.verifies(signed, &signatures[0]) {
            return Err(ManifestError::RootSignature);
        }
        for (node, signature) in self.nodes.iter().zip(&signatures[1..]) {
            if !node.signing.verifies(signed, signature) {
                return Err(ManifestError::NodeSignature { node: node.index });
            }
        }
        self.check_terms()
    }

    /// Everything that holds or does not without looking at signatures.
    fn check_terms(&self) -> Result<(), ManifestError> {
        let mut last = 0;
        for node in &self.nodes {
            if node.index <= last {
                return Err(ManifestError::NodeIndex { found: node.index });
            }
            last = node.index;
            if self.expected_share(node.index) != Some(*node.public.point()) {
                return Err(ManifestError::Share { node: node.index });
            }
        }
        match self.not_after_secs.checked_sub(self.not_before_secs) {
            Some(1..=VALIDITY_SECS_MAX) => {}
            _ => return Err(ManifestError::Validity),
        }
        match self.lease_ttl_secs.max(self.grace_secs) <= LEASE_TTL_SECS_MAX {
            true => Ok(()),
            false => Err(ManifestError::Lease),
        }
    }

    /// The key changes only with its epoch, the shares and who has them only with theirs, and no epoch goes
    /// back.
    fn check_epochs(&self, next: &Self) -> Result<(), ManifestError> {
        if next.key_epoch > self.key_epoch {
            return Ok(());
        }
        if next.key_epoch < self.key_epoch || next.public != self.public {
            return Err(ManifestError::KeyChanged);
        }
        let (found, accepted) = (next.share_epoch, self.share_epoch);
        match found.cmp(&accepted) {
            Ordering::Less => Err(ManifestError::OlderShares { found, accepted }),
            Ordering::Equal if (&next.nodes, &next.commitments) != (&self.nodes, &self.commitments) => {
                Err(ManifestError::NodesChanged)
            }
            Ordering::Equal | Ordering::Greater => Ok(()),
        }
    }

    /// Σ i^l·A_l: what y_i must be, by Horner's rule.
    fn expected_share(&self, index: u16) -> Option<Point> {
        let i = CurveScalar::from(index);
        let highest_first = self.commitments.iter().rev().chain([self.public.point()]);
        Point::from_element(highest_first.fold(RistrettoPoint::identity(), |sum, a| sum * i + a.element()))
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<KeyState, ManifestError> {
    let found = reader.u8()?;
    KeyState::from_byte(found).ok_or(ManifestError::State { found })
}

fn read_point(reader: &mut Reader<'_>) -> Result<Point, ManifestError> {
    let bytes: [u8; POINT_BYTES] = reader.array()?;
    Ok(Point::decode(&bytes)?)
}

fn read_node(reader: &mut Reader<'_>) -> Result<ManifestNode, ManifestError> {
    Ok(ManifestNode {
        index: reader.u16()?,
        node: NodeId::from_bytes(reader.array()?),
        public: PublicKey::decode(&reader.array()?)?,
        signing: SigningPublicKey::from_bytes(&reader.array()?)?,
        spki_sha256: reader.array()?,
    })
}

#[cfg(test)]
mod tests;
