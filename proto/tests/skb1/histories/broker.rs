//! The model of a broker: manifests, capsules, one ceremony at a time, and what it remembers only until it
//! crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use symbolon_proto::capsule::{Capsule, EncapsulationKey, Kek, encapsulate};
use symbolon_proto::context::{CapsuleContext, Scope};
use symbolon_proto::dkg::{GroupKey, OFFER_BYTES, SCHNORR_BYTES};
use symbolon_proto::frame::Target;
use symbolon_proto::group::PublicKey;
use symbolon_proto::hierarchy::{Fragment, PurposeKeys};
use symbolon_proto::id::{BrokerId, CapsuleId, DeploymentId, KeyId, MountId, NodeId, TenantId};
use symbolon_proto::lease::LeaseHolder;
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::proposal::Proposal;

use super::node::Setup;
use crate::world::TestRng;

/// A sharing in use: what a manifest says.
pub struct Epoch {
    pub group: Arc<Proposal>,
    pub key: GroupKey,
    pub share_epoch: u32,
    /// y when the key was made.
    pub first: PublicKey,
    /// Nodes that may still hold older shares.
    pub unacknowledged: BTreeSet<NodeId>,
}

impl Epoch {
    pub fn node(&self, index: u16) -> ManifestNode {
        let card = self.group.member(index).unwrap();
        ManifestNode {
            index,
            node: card.node,
            public: self.key.share(index).unwrap(),
            signing: card.signing,
            spki_sha256: card.spki_sha256,
        }
    }
}

/// A row of the store, and what it must open to.
pub struct Stored {
    pub context: CapsuleContext,
    pub capsule: Capsule,
    pub kek: Kek,
}

/// A run on its way. Until the first commit it may be given up; from then on it is finished.
pub struct Ceremony {
    pub setup: Setup,
    pub offers: BTreeMap<u16, [u8; OFFER_BYTES]>,
    pub dealings: BTreeMap<u16, Vec<u8>>,
    pub signatures: BTreeMap<u16, [u8; SCHNORR_BYTES]>,
    pub committed: BTreeSet<u16>,
    /// Set, and on disk, before the first node is told to commit.
    pub committing: bool,
}

impl Ceremony {
    pub fn new(setup: Setup) -> Self {
        let (offers, dealings, signatures) = Default::default();
        Self { setup, offers, dealings, signatures, committed: BTreeSet::new(), committing: false }
    }

    /// The group whose nodes deal.
    pub fn dealing_group(&self) -> &Proposal {
        self.setup.before.as_ref().map_or(&self.setup.group, |(group, _)| group)
    }
}

pub struct Broker {
    // On disk.
    pub deployment: DeploymentId,
    pub key: KeyId,
    pub id: BrokerId,
    pub keys: PurposeKeys,
    pub generation: u64,
    pub epochs: BTreeMap<u32, Epoch>,
    pub stored: Vec<Stored>,
    pub ceremony: Option<Ceremony>,
    /// The key epoch that is being retired, and who has done it.
    pub retiring: Option<(u32, BTreeSet<NodeId>)>,
    // In memory.
    /// Stored rows whose KEK is cached.
    pub cached: BTreeSet<usize>,
    /// Nodes with an ACTIVE lease, and until when.
    pub leases: BTreeMap<NodeId, u64>,
}

impl Broker {
    pub fn new(rng: &mut TestRng) -> Self {
        let deployment = DeploymentId::random(rng);
        Self {
            deployment,
            key: KeyId::random(rng),
            id: BrokerId::random(rng),
            keys: Fragment::random(rng).root(&deployment).purposes(1),
            generation: 1,
            epochs: BTreeMap::new(),
            stored: Vec::new(),
            ceremony: None,
            retiring: None,
            cached: BTreeSet::new(),
            leases: BTreeMap::new(),
        }
    }

    pub fn holder(&self) -> LeaseHolder {
        LeaseHolder {
            deployment: self.deployment,
            broker: self.id,
            key: self.key,
            generation: self.generation,
        }
    }

    /// A restart: memory is gone, and the unseal makes a newer generation.
    pub fn crash(&mut self) {
        self.cached.clear();
        self.leases.clear();
        self.generation += 1;
        // A ceremony is written down when everything for the commit is there.
        if self.ceremony.as_ref().is_some_and(|ceremony| !ceremony.committing) {
            self.ceremony = None;
        }
    }

    pub fn newest(&self) -> (u32, &Epoch) {
        let (key_epoch, epoch) = self.epochs.last_key_value().unwrap();
        (*key_epoch, epoch)
    }

    /// Section 5: fewer than t unexpired ACTIVE leases, and every cached key is wiped.
    pub fn usable(&mut self, now: u64) -> bool {
        let (_, epoch) = self.newest();
        let active = epoch
            .group
            .cards()
            .iter()
            .filter(|card| self.leases.get(&card.card().node).is_some_and(|until| *until > now));
        let usable = active.count() >= usize::from(epoch.key.threshold());
        if !usable {
            self.cached.clear();
        }
        usable
    }

    pub fn target(&self, key_epoch: u32, share_epoch: u32) -> Target {
        Target { key: self.key, key_epoch, share_epoch }
    }

    /// A new secret under the newest key.
    pub fn write(&mut self, rng: &mut TestRng) {
        let context = CapsuleContext {
            deployment: self.deployment,
            tenant: TenantId::from_bytes([0; 16]),
            mount: MountId::random(rng),
            bucket: 0,
            kek_epoch: 1,
            capsule: CapsuleId::random(rng),
            key: self.key,
            fragment_epoch: 1,
            scope: Scope::Bucket,
        };
        let kek = Kek::random(rng);
        let capsule = self.close(&context, &kek, rng);
        self.stored.push(Stored { context, capsule, kek });
    }

    pub fn close(&self, context: &CapsuleContext, kek: &Kek, rng: &mut TestRng) -> Capsule {
        let (key_epoch, epoch) = self.newest();
        let remote = EncapsulationKey { key_epoch, public: epoch.key.public() };
        encapsulate(context, &remote, &self.keys, kek, rng).unwrap()
    }
}
