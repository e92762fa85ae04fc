//! What the nodes of a remote have in common: who asks, under which manifests, until when leases hold.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use symbolon_core::clock::{Clock, Now};
use symbolon_proto::id::{BrokerId, DeploymentId, NodeId};
use symbolon_proto::lease::LeaseHolder;
use symbolon_proto::manifest::{ManifestNode, VerifiedManifest};

use super::EvaluateError;
use super::chain::Chain;
use super::leases::Leases;

/// Shared by the remote and each of its nodes.
pub(crate) struct Common {
    pub(crate) deadline: Duration,
    pub(crate) leases: Leases,
    deployment: DeploymentId,
    broker: BrokerId,
    /// 0 until the first hello.
    generation: AtomicU64,
    chain: RwLock<Chain>,
    clock: Arc<dyn Clock>,
}

impl Common {
    pub(crate) fn new(
        deadline: Duration,
        broker: BrokerId,
        chain: Chain,
        leases: Leases,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let newest = chain.newest().manifest();
        leases.govern(newest);
        let deployment = newest.deployment;
        let generation = AtomicU64::new(0);
        Arc::new(Self { deadline, leases, deployment, broker, generation, chain: RwLock::new(chain), clock })
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(crate) fn set_generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Who asks.
    pub(crate) fn holder(&self) -> LeaseHolder {
        LeaseHolder {
            deployment: self.deployment,
            broker: self.broker,
            key: self.manifest().manifest().key,
            generation: self.generation.load(Ordering::Acquire),
        }
    }

    pub(crate) fn chain(&self) -> RwLockReadGuard<'_, Chain> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn chain_mut(&self) -> RwLockWriteGuard<'_, Chain> {
        self.chain.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest manifest.
    pub(crate) fn manifest(&self) -> Arc<VerifiedManifest> {
        Arc::clone(self.chain().newest())
    }

    /// The manifest that capsules of `key_epoch` are evaluated under.
    pub(crate) fn manifest_of(&self, key_epoch: u32) -> Result<Arc<VerifiedManifest>, EvaluateError> {
        self.chain().of_epoch(key_epoch).map(Arc::clone).ok_or(EvaluateError::KeyEpoch { key_epoch })
    }

    /// The place of a node in a manifest.
    pub(crate) fn seat_in(
        &self,
        manifest: &VerifiedManifest,
        id: NodeId,
    ) -> Result<ManifestNode, EvaluateError> {
        let mut nodes = manifest.manifest().nodes.iter();
        nodes.find(|node| node.node == id).copied().ok_or(EvaluateError::NotAMember)
    }
}
