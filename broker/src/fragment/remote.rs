//! One fragment service, as the broker asks it.
//!
//! ```text
//! question ─ connection (hello first on a new one) ─ frame ─ answer ─ verified against manifest ─ lease accepted
//!          └────────────────────────── one deadline ──────────────────────────┘
//! ```
//!
//! Every answer is proven or signed before it has an effect; whoever lies is named. A connection that breaks under a
//! question is replaced once; a service that says nothing costs the deadline and no more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use symbolon_core::clock::{Clock, Now};
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{EncapsulationKey, SharedSecret};
use symbolon_proto::evaluate::{self, Answer, EvaluateError as Misbehaviour, Fault, Refusal};
use symbolon_proto::frame::{
    Heartbeat, Hello, ManifestAnswer, ManifestRequest, Presence, Status, Target, request_hash,
};
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, RequestId};
use symbolon_proto::lease::{KeyState, LeaseHolder, VerifiedLease};
use symbolon_proto::manifest::{ManifestError, ManifestNode, VerifiedManifest};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;

use super::chain::Chain;
use super::enrol::{Enrolled, only_node};
use super::identity::BrokerIdentity;
use super::leases::{LeaseState, Leases};
use super::tls::Pin;
use super::wire::{RemoteConfigError, Sender, Wire, WireError};
use super::{EvaluateError, Evaluated, Evaluator};
use crate::config;
use crate::random::os_rng;

/// A manifest with less left than this is looked up anew at the next contact. Services renew at half of 30 days.
const REFRESH_BEFORE_SECS: u64 = 15 * 24 * 60 * 60;

/// Answers to one request for the chain; services keep fewer manifests than these can carry.
const CHAIN_REQUESTS_MAX: usize = 16;

/// A fragment service that this broker is enrolled with.
pub struct Remote {
    wire: Wire,
    deadline: Duration,
    link: Mutex<Option<Sender>>,
    deployment: DeploymentId,
    broker: BrokerId,
    /// 0 until the first hello.
    generation: AtomicU64,
    chain: RwLock<Chain>,
    leases: Leases,
    clock: Arc<dyn Clock>,
}

impl Remote {
    /// A remote as its manifest describes it. Connects when first asked.
    pub fn new(
        remote: &config::Remote,
        identity: &BrokerIdentity,
        broker: BrokerId,
        enrolled: Enrolled,
        leases: Leases,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, RemoteConfigError> {
        let manifest = &enrolled.manifest;
        let pins = manifest.manifest().nodes.iter().map(|node| node.spki_sha256).collect();
        Ok(Arc::new(Self {
            wire: Wire::new(&remote.url, identity, Pin::Exactly(pins))?,
            deadline: Duration::from_millis(remote.deadline_ms),
            link: Mutex::new(None),
            deployment: manifest.manifest().deployment,
            broker,
            generation: AtomicU64::new(0),
            chain: RwLock::new(enrolled.into()),
            leases,
            clock,
        }))
    }

    /// Registers the generation of an unseal: from then on the service refuses older ones. The answer is the lease.
    pub async fn hello(&self, generation: u64) -> Result<LeaseState, EvaluateError> {
        self.generation.store(generation, Ordering::Release);
        *self.link.lock().await = None;
        let said = timeout(self.deadline, self.connect()).await;
        let (_, state) = said.map_err(|_| self.silent())??;
        self.refresh_if_due(state).await;
        self.current(state)
    }

    /// Renews the lease.
    pub async fn heartbeat(&self) -> Result<LeaseState, EvaluateError> {
        let asked = self.clock.now();
        // The answer is judged by what was asked, not by what we have become meanwhile.
        let (heartbeat, node) =
            (Heartbeat::new(self.holder(), RequestId::random(&mut os_rng())), self.node());
        let answer = self.ask(heartbeat.to_bytes()).await?;
        let presence = heartbeat.verify(&answer, &node).map_err(EvaluateError::Lied)?;
        let state = self.accept(presence, asked)?;
        self.refresh_if_due(state).await;
        self.current(state)
    }

    /// The newest manifest that was accepted. Store it if its number has grown.
    #[must_use]
    pub fn manifest(&self) -> Arc<VerifiedManifest> {
        Arc::clone(self.chain().newest())
    }

    fn chain(&self) -> RwLockReadGuard<'_, Chain> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifest that capsules of `key_epoch` are evaluated under.
    fn manifest_of(&self, key_epoch: u32) -> Result<Arc<VerifiedManifest>, EvaluateError> {
        self.chain().of_epoch(key_epoch).map(Arc::clone).ok_or(EvaluateError::KeyEpoch { key_epoch })
    }

    /// Leases from this remote.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Fetches manifests that follow ours, and accepts each that continues the chain.
    pub async fn refresh_manifest(&self) -> Result<(), EvaluateError> {
        for _ in 0..CHAIN_REQUESTS_MAX {
            let current = self.manifest();
            let key = current.manifest().key;
            let nonce = RequestId::random(&mut os_rng());
            let frame = ManifestRequest { key, after_seq: current.manifest().seq, nonce }.to_bytes();
            let answer = self.ask(frame.clone()).await?;
            let answer = ManifestAnswer::parse(&answer).map_err(|error| self.lied(Fault::Frame(error)))?;
            if answer.request_hash != request_hash(&frame) {
                return Err(self.lied(Fault::OtherRequest));
            }
            if answer.status != Status::Ok {
                return Err(EvaluateError::UnknownKey);
            }
            if answer.manifests.is_empty() {
                return Ok(());
            }
            for bytes in &answer.manifests {
                self.accept_manifest(bytes)?;
            }
        }
        Ok(())
    }

    fn accept_manifest(&self, bytes: &[u8]) -> Result<(), EvaluateError> {
        let mut held = self.chain.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = held.clone();
        let node = held.newest().manifest().nodes.first().map_or(0, |node| node.index);
        next.accept(bytes).map_err(|error| EvaluateError::Manifest { node, error })?;
        let nodes = next.newest().manifest().nodes.len();
        only_node(next.newest()).map_err(|_| EvaluateError::Nodes { nodes })?;
        *held = next;
        Ok(())
    }

    /// A manifest that will not do for long, or contradicts the lease, is asked for again. Failing that changes nothing.
    async fn refresh_if_due(&self, state: LeaseState) {
        let manifest = self.manifest();
        let left = manifest.manifest().not_after_secs.saturating_sub(self.clock.now().unix_secs());
        let active = manifest.manifest().state == KeyState::Active;
        if left >= REFRESH_BEFORE_SECS && active == (state == LeaseState::Active) {
            return;
        }
        if let Err(error) = self.refresh_manifest().await {
            warn!(%error, "the manifest of the fragment service could not be renewed");
        }
    }

    fn holder(&self) -> LeaseHolder {
        LeaseHolder {
            deployment: self.deployment,
            broker: self.broker,
            key: self.manifest().manifest().key,
            generation: self.generation.load(Ordering::Acquire),
        }
    }

    fn node(&self) -> ManifestNode {
        // A verified manifest has at least one node, and `only_node` was asked whenever one was accepted.
        self.manifest().manifest().nodes[0]
    }

    /// Sends one frame within the deadline.
    async fn ask(&self, frame: Vec<u8>) -> Result<Bytes, EvaluateError> {
        match timeout(self.deadline, self.ask_patiently(frame)).await {
            Ok(answered) => answered,
            Err(_) => {
                // Perhaps the connection is dead and nobody told us: the next question opens another.
                if let Ok(mut link) = self.link.try_lock() {
                    *link = None;
                }
                Err(self.silent())
            }
        }
    }

    async fn ask_patiently(&self, frame: Vec<u8>) -> Result<Bytes, EvaluateError> {
        let (sender, fresh) = self.link().await?;
        match self.wire.exchange(&sender, frame.clone()).await {
            Err(WireError::Unreachable) if !fresh => {
                *self.link.lock().await = None;
                let (sender, _) = self.link().await?;
                self.wire.exchange(&sender, frame).await.map_err(|error| self.failed(error))
            }
            answered => answered.map_err(|error| self.failed(error)),
        }
    }

    /// The open connection, or a new one that knows our generation; and whether it is new.
    async fn link(&self) -> Result<(Sender, bool), EvaluateError> {
        let mut link = self.link.lock().await;
        if let Some(sender) = link.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), false));
        }
        let (sender, _) = self.greet().await?;
        *link = Some(sender.clone());
        Ok((sender, true))
    }

    async fn connect(&self) -> Result<(Sender, LeaseState), EvaluateError> {
        let mut link = self.link.lock().await;
        let (sender, state) = self.greet().await?;
        *link = Some(sender.clone());
        Ok((sender, state))
    }

    /// Opens a connection and says hello on it. A signed refusal is an answer too: the connection is good.
    async fn greet(&self) -> Result<(Sender, LeaseState), EvaluateError> {
        let sender = self.wire.connect().await.map_err(|error| self.failed(error))?;
        let asked = self.clock.now();
        let (hello, node) = (Hello::new(self.holder(), RequestId::random(&mut os_rng())), self.node());
        let answer =
            self.wire.exchange(&sender, hello.to_bytes()).await.map_err(|error| self.failed(error))?;
        let presence = hello.verify(&answer, &node).map_err(EvaluateError::Lied)?;
        Ok((sender, self.accept(presence, asked)?))
    }

    /// Takes over what a checked answer to a hello or heartbeat says. A signed refusal is an answer too.
    fn accept(&self, presence: Presence, asked: Now) -> Result<LeaseState, EvaluateError> {
        match presence {
            Presence::Lease(lease) => Ok(self.accept_lease(&lease, asked)),
            Presence::Refused(refusal) => match signed(&refusal) {
                Some(lease) => Ok(self.accept_lease(lease, asked)),
                None => Err(refusal.into()),
            },
        }
    }

    fn accept_lease(&self, lease: &VerifiedLease, asked: Now) -> LeaseState {
        let received = self.clock.now();
        self.leases.accept(lease, asked, received);
        self.leases.state(received)
    }

    /// The lease as an answer to a caller who wanted to use keys.
    fn current(&self, state: LeaseState) -> Result<LeaseState, EvaluateError> {
        match state {
            LeaseState::Active | LeaseState::Unknown | LeaseState::Expired => Ok(state),
            LeaseState::Suspended => Err(EvaluateError::Suspended),
            LeaseState::Destroyed => Err(EvaluateError::Destroyed),
            LeaseState::Fenced => Err(EvaluateError::StaleGeneration),
            LeaseState::Clock => Err(EvaluateError::Clock),
        }
    }

    async fn evaluate_now(&self, blinded: Blinded) -> Result<Vec<SharedSecret>, EvaluateError> {
        let asked = self.clock.now();
        // The proof is made under the epoch asked for, for the generation that asked.
        let manifest = self.manifest_of(blinded.request().target().key_epoch)?;
        let (holder, node) = (self.holder(), manifest.manifest().nodes[0]);
        let frame = self.ask(blinded.request().to_bytes()).await?;
        // Checking a proof over 64 points takes milliseconds, which the runtime's threads must not spend.
        let checked = tokio::task::spawn_blocking(move || check(blinded, &frame, &holder, &node)).await;
        match checked.map_err(|_| EvaluateError::Busy)?? {
            Checked::Evaluated(secrets, lease) => {
                self.current(self.accept_lease(&lease, asked))?;
                Ok(secrets)
            }
            Checked::Refused(refusal) => {
                signed(&refusal).into_iter().for_each(|lease| {
                    self.accept_lease(lease, asked);
                });
                Err(refusal.into())
            }
        }
    }

    fn silent(&self) -> EvaluateError {
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        EvaluateError::Silent { node: self.node().index, deadline_ms }
    }

    fn lied(&self, fault: Fault) -> EvaluateError {
        EvaluateError::Lied(Misbehaviour { node: self.node().index, fault })
    }

    fn failed(&self, error: WireError) -> EvaluateError {
        let node = self.node().index;
        match error {
            WireError::Unreachable => EvaluateError::Unreachable { node },
            WireError::Impostor => EvaluateError::Impostor { node },
            WireError::NotEnrolled => EvaluateError::NotEnrolled,
            WireError::Busy => EvaluateError::Busy,
            WireError::NoFrame => EvaluateError::NoFrame { node },
        }
    }
}

impl Evaluator for Remote {
    fn key_id(&self) -> KeyId {
        self.manifest().manifest().key
    }

    fn key_epochs(&self) -> Vec<u32> {
        self.chain().key_epochs()
    }

    fn target(&self, key_epoch: u32) -> Result<Target, EvaluateError> {
        let manifest = self.manifest_of(key_epoch)?;
        let share_epoch = manifest.manifest().share_epoch;
        Ok(Target { key: manifest.manifest().key, key_epoch, share_epoch })
    }

    fn encapsulation_key(&self) -> Result<EncapsulationKey, EvaluateError> {
        let manifest = self.manifest();
        manifest.encapsulation_key(self.clock.now().unix_secs()).map_err(|error| match error {
            ManifestError::NotActive(KeyState::Suspended) => EvaluateError::Suspended,
            ManifestError::NotActive(_) => EvaluateError::Destroyed,
            error => EvaluateError::Manifest { node: self.node().index, error },
        })
    }

    fn evaluate(&self, blinded: Blinded) -> Evaluated<'_> {
        Box::pin(self.evaluate_now(blinded))
    }
}

enum Checked {
    Evaluated(Vec<SharedSecret>, VerifiedLease),
    Refused(Refusal),
}

/// The lease that a refusal carries, if it carries one: refusals without cannot change anything.
fn signed(refusal: &Refusal) -> Option<&VerifiedLease> {
    match refusal {
        Refusal::Suspended(lease) | Refusal::Destroyed(lease) | Refusal::StaleGeneration(lease) => {
            Some(lease)
        }
        _ => None,
    }
}

/// Verifies and unblinds.
fn check(
    blinded: Blinded,
    frame: &[u8],
    holder: &LeaseHolder,
    node: &ManifestNode,
) -> Result<Checked, EvaluateError> {
    match evaluate::verify(blinded.request(), frame, holder, node).map_err(EvaluateError::Lied)? {
        Answer::Refused(refusal) => Ok(Checked::Refused(refusal)),
        Answer::Evaluated(evaluation, lease) => {
            let other = EvaluateError::Lied(Misbehaviour { node: node.index, fault: Fault::OtherRequest });
            let secrets = blinded.finalize(evaluation).map_err(|_| other)?;
            Ok(Checked::Evaluated(secrets, lease))
        }
    }
}
