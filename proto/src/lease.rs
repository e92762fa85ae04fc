//! Leases: a node's signed word on whether cached keys may still be used (`docs/skb1.md` section 6.9).
//!
//! Every evaluation, hello and heartbeat answer carries one. A cached KEK lives until the earlier of its
//! local lifetime and the lease's end; a lease that says SUSPENDED flushes at once. The generation in it
//! fences restored snapshots and clones of a broker: a lease for a newer generation tells the old one to
//! stop.

use thiserror::Error;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{BrokerId, DeploymentId, KeyId};
pub use crate::key_state::KeyState;
use crate::label;
pub use crate::limits::LEASE_TTL_SECS_MAX;
use crate::manifest::ManifestNode;
use crate::signing::{SIGNATURE_BYTES, SigningSeed};

/// Bytes of an encoded lease.
pub const LEASE_BYTES: usize = 153;

/// The generation that `init` registers. Every unseal registers a greater one, so whoever never went beyond
/// it has never opened anything.
pub const FIRST_GENERATION: u64 = 1;

/// What a lease says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeaseTerms {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The broker it is for.
    pub broker: BrokerId,
    /// The remote key it is about.
    pub key: KeyId,
    /// The newest generation of that broker which registered.
    pub generation: u64,
    /// Grows with every lease that the node signs for this key and broker.
    pub seq: u64,
    /// When it was signed, Unix seconds of the node's clock.
    pub issued_secs: u64,
    /// How long it lasts, counted by the broker from when it sent the request.
    pub ttl_secs: u32,
    /// State of the key.
    pub status: KeyState,
    /// The node that signs, from 1.
    pub node: u16,
}

/// Why a lease is none, or is not believed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LeaseError {
    /// Not 153 bytes.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// It does not begin with its label.
    #[error("not a lease")]
    Label,
    /// A state that this version does not know.
    #[error("unknown key state {found}")]
    State {
        /// The state byte.
        found: u8,
    },
    /// For another deployment, broker or key.
    #[error("a lease for somebody else")]
    OtherHolder,
    /// It names another node than the one that was asked.
    #[error("a lease of node {found}")]
    OtherNode {
        /// The node it names.
        found: u16,
    },
    /// For an older generation than ours: a replay.
    #[error("a lease for generation {found}, ours is {ours}")]
    OlderGeneration {
        /// The lease's generation.
        found: u64,
        /// The holder's generation.
        ours: u64,
    },
    /// Longer than any lease may be.
    #[error("a lease of {found} s, where at most 86400 are allowed")]
    TooLong {
        /// Its duration in seconds.
        found: u32,
    },
    /// The signature is not the node's.
    #[error("the lease's signature does not verify")]
    Signature,
}

/// Whom a lease must be for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeaseHolder {
    /// The deployment.
    pub deployment: DeploymentId,
    /// This broker.
    pub broker: BrokerId,
    /// The remote key.
    pub key: KeyId,
    /// This broker's generation, set at unseal.
    pub generation: u64,
}

/// A lease as received: well formed, not verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    terms: LeaseTerms,
    bytes: [u8; LEASE_BYTES],
}

impl Lease {
    /// Signs `terms` with the key of node `terms.node`.
    pub fn sign(terms: LeaseTerms, seed: &SigningSeed) -> Self {
        let mut writer = Writer::with_capacity(LEASE_BYTES);
        writer.bytes(label::LEASE).bytes(terms.deployment.as_bytes()).bytes(terms.broker.as_bytes());
        writer.bytes(terms.key.as_bytes()).u64(terms.generation).u64(terms.seq).u64(terms.issued_secs);
        writer.u32(terms.ttl_secs).u8(terms.status as u8).u16(terms.node);
        let signature = seed.sign(writer.as_bytes());
        writer.bytes(&signature);
        let bytes = writer.finish().try_into().expect("the fields of a lease have fixed lengths");
        Self { terms, bytes }
    }

    /// Reads 153 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeaseError> {
        let mut reader = Reader::new(bytes);
        let whole = reader.clone().array()?;
        if reader.take(label::LEASE.len())? != label::LEASE {
            return Err(LeaseError::Label);
        }
        let terms = LeaseTerms {
            deployment: DeploymentId::from_bytes(reader.array()?),
            broker: BrokerId::from_bytes(reader.array()?),
            key: KeyId::from_bytes(reader.array()?),
            generation: reader.u64()?,
            seq: reader.u64()?,
            issued_secs: reader.u64()?,
            ttl_secs: reader.u32()?,
            status: read_state(&mut reader)?,
            node: reader.u16()?,
        };
        reader.take(SIGNATURE_BYTES)?;
        reader.finish()?;
        Ok(Self { terms, bytes: whole })
    }

    /// The 153 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Believes the lease if `node` signed it for `holder`.
    pub fn verify(&self, holder: &LeaseHolder, node: &ManifestNode) -> Result<VerifiedLease, LeaseError> {
        let terms = self.terms;
        if (terms.deployment, terms.broker, terms.key) != (holder.deployment, holder.broker, holder.key) {
            return Err(LeaseError::OtherHolder);
        }
        if terms.node != node.index {
            return Err(LeaseError::OtherNode { found: terms.node });
        }
        let (signed, signature) =
            self.bytes.split_last_chunk().expect("a lease is longer than its signature");
        if !node.signing.verifies(signed, signature) {
            return Err(LeaseError::Signature);
        }
        if terms.ttl_secs > LEASE_TTL_SECS_MAX {
            return Err(LeaseError::TooLong { found: terms.ttl_secs });
        }
        if terms.generation < holder.generation {
            return Err(LeaseError::OlderGeneration { found: terms.generation, ours: holder.generation });
        }
        let standing = match terms.status {
            KeyState::Destroyed => Standing::Destroyed,
            KeyState::Suspended | KeyState::PendingDestroy => Standing::Suspended,
            KeyState::Active if terms.generation > holder.generation => Standing::Fenced,
            KeyState::Active => Standing::Active,
        };
        Ok(VerifiedLease { terms, standing })
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<KeyState, LeaseError> {
    let found = reader.u8()?;
    KeyState::from_byte(found).ok_or(LeaseError::State { found })
}

/// What a verified lease means for its holder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Cached keys may be used until it expires.
    Active,
    /// Flush at once; the key may come back.
    Suspended,
    /// Flush at once; the key is gone.
    Destroyed,
    /// Flush at once: a newer generation of this broker registered.
    Fenced,
}

/// A lease that the named node signed for this broker, key and generation (or a newer one).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VerifiedLease {
    terms: LeaseTerms,
    standing: Standing,
}

impl VerifiedLease {
    /// What it says.
    pub const fn terms(&self) -> &LeaseTerms {
        &self.terms
    }

    /// What it means for the holder it was verified for.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether it was signed after `held`. Answers overtake each other, so an older one is not an error; it
    /// is ignored.
    #[must_use]
    pub const fn supersedes(&self, held: &Self) -> bool {
        self.terms.seq > held.terms.seq
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{TestNode, lease_holder, lease_terms};

    #[test]
    fn means_what_it_says() {
        let node = TestNode::new(1);
        let holder = lease_holder();
        let standing = |status, generation| {
            let terms = LeaseTerms { status, generation, ..lease_terms(1) };
            Lease::sign(terms, &node.seed).verify(&holder, &node.public()).map(|lease| lease.standing())
        };
        let ours = holder.generation;
        assert_eq!(standing(KeyState::Active, ours), Ok(Standing::Active));
        assert_eq!(standing(KeyState::Active, ours + 1), Ok(Standing::Fenced));
        assert_eq!(standing(KeyState::Suspended, ours), Ok(Standing::Suspended));
        assert_eq!(standing(KeyState::PendingDestroy, ours), Ok(Standing::Suspended));
        assert_eq!(standing(KeyState::Destroyed, ours), Ok(Standing::Destroyed));
        assert_eq!(
            standing(KeyState::Active, ours - 1),
            Err(LeaseError::OlderGeneration { found: ours - 1, ours })
        );
    }

    #[test]
    fn every_byte_is_signed_or_checked() {
        let node = TestNode::new(1);
        let lease = Lease::sign(lease_terms(1), &node.seed);
        assert_eq!(lease.as_bytes().len(), LEASE_BYTES);
        assert_eq!(Lease::parse(lease.as_bytes()), Ok(lease.clone()));
        for position in 0..LEASE_BYTES {
            let mut forged = lease.as_bytes().to_vec();
            forged[position] ^= 1;
            let verified = Lease::parse(&forged).and_then(|l| l.verify(&lease_holder(), &node.public()));
            assert!(verified.is_err(), "byte {position}");
        }
    }

    #[test]
    fn refuses_other_signers_holders_and_lengths() {
        let (node, other) = (TestNode::new(1), TestNode::new(1));
        let lease = Lease::sign(lease_terms(1), &node.seed);
        assert_eq!(lease.verify(&lease_holder(), &other.public()), Err(LeaseError::Signature));
        let second = TestNode::new(2);
        assert_eq!(lease.verify(&lease_holder(), &second.public()), Err(LeaseError::OtherNode { found: 1 }));
        let elsewhere = LeaseHolder { broker: BrokerId::from_bytes([9; 16]), ..lease_holder() };
        assert_eq!(lease.verify(&elsewhere, &node.public()), Err(LeaseError::OtherHolder));
        let long = LeaseTerms { ttl_secs: LEASE_TTL_SECS_MAX + 1, ..lease_terms(1) };
        let error = Lease::sign(long, &node.seed).verify(&lease_holder(), &node.public()).unwrap_err();
        assert_eq!(error, LeaseError::TooLong { found: LEASE_TTL_SECS_MAX + 1 });
        assert!(Lease::parse(&lease.as_bytes()[1..]).is_err());
    }
}
