//! Helpers of this crate's tests.

use getrandom::SysRng;
use rand_core::UnwrapErr;

use crate::dkg::{Dealers, Run, RunKind};
use crate::evaluate::RemoteKey;
use crate::id::{BrokerId, DeploymentId, KeyId, NodeId, SessionId};
use crate::lease::{KeyState, LeaseHolder, LeaseTerms};
use crate::manifest::ManifestNode;
use crate::signing::SigningSeed;

/// The operating system's randomness.
pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A fragment service node with fresh keys.
pub(crate) struct TestNode {
    pub(crate) index: u16,
    pub(crate) key: RemoteKey,
    pub(crate) seed: SigningSeed,
}

impl TestNode {
    pub(crate) fn new(index: u16) -> Self {
        Self { index, key: RemoteKey::generate(&mut rng()), seed: SigningSeed::random(&mut rng()) }
    }

    /// How a manifest describes it.
    pub(crate) fn public(&self) -> ManifestNode {
        ManifestNode {
            index: self.index,
            node: NodeId::from_bytes([8; 16]),
            public: *self.key.public_key(),
            signing: self.seed.public_key(),
            spki_sha256: [6; 32],
        }
    }
}

pub(crate) fn lease_holder() -> LeaseHolder {
    LeaseHolder {
        deployment: DeploymentId::from_bytes([1; 16]),
        broker: BrokerId::from_bytes([2; 16]),
        key: KeyId::from_bytes([3; 16]),
        generation: 5,
    }
}

/// An ACTIVE lease for [`lease_holder`].
pub(crate) fn lease_terms(node: u16) -> LeaseTerms {
    let holder = lease_holder();
    LeaseTerms {
        deployment: holder.deployment,
        broker: holder.broker,
        key: holder.key,
        generation: holder.generation,
        seq: 1,
        issued_secs: 1_700_000_000,
        ttl_secs: 3600,
        status: KeyState::Active,
        node,
    }
}

/// The private keys of a test node of a group.
pub(crate) struct TestMember {
    pub(crate) root: SigningSeed,
    pub(crate) dkg: crate::dkg::StaticKey,
}

/// A card with fresh keys.
pub(crate) fn test_card(node: u8) -> (crate::card::VerifiedCard, TestMember) {
    let (root, signing) = (SigningSeed::random(&mut rng()), SigningSeed::random(&mut rng()));
    let dkg = crate::dkg::StaticKey::generate(&mut rng());
    let card = crate::card::NodeCard {
        node: NodeId::from_bytes([node; 16]),
        signing: signing.public_key(),
        spki_sha256: [node; 32],
        dkg: *dkg.public(),
        root: root.public_key(),
    };
    (card.sign(&root), TestMember { root, dkg })
}

/// A first group of fresh nodes, t of n.
pub(crate) fn test_proposal(threshold: u16, nodes: u8) -> (crate::proposal::Proposal, Vec<TestMember>) {
    let (cards, members) = (1..=nodes).map(test_card).unzip();
    let terms = crate::proposal::ProposalTerms {
        deployment: lease_holder().deployment,
        key: lease_holder().key,
        broker: lease_holder().broker,
        broker_spki_sha256: [7; 32],
        broker_signing: SigningSeed::random(&mut rng()).public_key(),
        number: 1,
        previous: [0; 32],
        threshold,
    };
    (crate::proposal::Proposal::new(terms, cards).expect("a well-formed test group"), members)
}

/// A run of three dealers; a refresh or a resharing follows a generation.
pub(crate) fn test_run(kind: RunKind) -> Run {
    let later = kind != RunKind::Generate;
    Run {
        kind,
        session: SessionId::from_bytes([1; 16]),
        key: KeyId::from_bytes([2; 16]),
        key_epoch: 1,
        share_epoch: 1 + u32::from(later),
        group: [3; 32],
        previous: match kind {
            RunKind::Generate => [0; 32],
            RunKind::Refresh => [3; 32],
            RunKind::Reshare => [4; 32],
        },
        base: [5 * u8::from(later); 32],
        dealers: Dealers::all(3).expect("three dealers"),
    }
}
