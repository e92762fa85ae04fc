//! The remote half as a whole: its nodes, asked together.
//!
//! ```text
//! hello, heartbeat ── to every node; leases come back one by one (leases.rs)
//! evaluate ────────── to t of them, the others soon after (quorum.rs)
//! manifests ───────── before the first hello, until t know none that follows (nodes/follow.rs)
//! ```
//!
//! A key that one service holds is 1 of 1 and costs one exchange.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use symbolon_core::clock::Clock;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{EncapsulationKey, SharedSecret};
use symbolon_proto::frame::Target;
use symbolon_proto::id::{BrokerId, KeyId, NodeId};
use symbolon_proto::lease::{KeyState, LeaseHolder};
use symbolon_proto::manifest::{Manifest, ManifestError, VerifiedManifest};
use symbolon_proto::proposal::Proposal;
use tokio::sync::{Mutex, mpsc, watch};
use tracing::warn;

use super::enrolled::{Enrolled, Member};
use super::error::NodeFailure;
use super::identity::BrokerIdentity;
use super::leases::{LeaseState, Leases};
use super::node::{Node, current};
use super::progress::Progress;
use super::quota::{self, Quota};
use super::shared::Common;
use super::tls::{ClientKey, SpkiHash};
use super::told::Told;
use super::wire::RemoteConfigError;
use super::{EvaluateError, Evaluated, Evaluations, Evaluator, quorum};
use crate::config;

mod anchor;
mod follow;

pub(crate) use anchor::Remembered;
use follow::Standing;

/// A manifest with less left than this is looked up again at the next contact. Services renew at half of 30
/// days.
const REFRESH_BEFORE_SECS: u64 = 15 * 24 * 60 * 60;

/// The fragment services that this broker is enrolled with.
pub struct Remote {
    common: Arc<Common>,
    nodes: RwLock<Arc<[Arc<Node>]>>,
    settings: config::Remote,
    client: ClientKey,
    broker: BrokerId,
    clock: Arc<dyn Clock>,
    /// Held by the one change of the nodes that may be under way.
    changing: Mutex<()>,
    progress: watch::Sender<Progress>,
    /// What nodes that left have said.
    told: Told,
    /// Whether our newest manifest is the newest.
    standing: Standing,
}

/// How a node is doing, for status pages.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Index in the manifest; 0 if it holds no share.
    pub index: u16,
    /// Where it is.
    pub url: String,
    /// What its lease allows.
    pub lease: LeaseState,
    /// Milliseconds until its lease ends.
    pub lease_left_ms: u64,
    /// How quickly it has been answering, in microseconds; 0 before the first answer. Failures count as slow
    /// answers.
    pub latency_micros: u64,
    /// Lies that it told since the unseal.
    pub incidents: u64,
}

/// What every node is asked for now and then.
#[derive(Clone, Copy)]
enum Contact {
    Hello,
    Heartbeat,
}

impl Contact {
    async fn with(self, node: &Node) -> Result<LeaseState, EvaluateError> {
        match self {
            Self::Hello => node.hello().await,
            Self::Heartbeat => node.heartbeat().await,
        }
    }
}

impl Remote {
    /// A remote as its manifest describes it. Connects when first asked.
    pub fn new(
        settings: &config::Remote,
        identity: &BrokerIdentity,
        broker: BrokerId,
        enrolled: Enrolled,
        leases: Leases,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, RemoteConfigError> {
        let client = ClientKey::new(identity).map_err(|_| RemoteConfigError::Tls)?;
        Self::assemble(settings.clone(), client, broker, enrolled, leases, clock)
    }

    fn assemble(
        settings: config::Remote,
        client: ClientKey,
        broker: BrokerId,
        enrolled: Enrolled,
        leases: Leases,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, RemoteConfigError> {
        let deadline = Duration::from_millis(settings.deadline_ms);
        let common = Common::new(deadline, broker, enrolled.clone().into(), leases, Arc::clone(&clock));
        let (changing, progress) = (Mutex::default(), watch::Sender::default());
        let nodes = RwLock::new(Arc::from([]));
        let (told, standing) = (Told::default(), Standing::default());
        let remote =
            Self { common, nodes, settings, client, broker, clock, changing, progress, told, standing };
        remote.seat(&enrolled)?;
        Ok(Arc::new(remote))
    }

    /// Makes the nodes of a manifest ours. Those that stay keep their connections.
    fn seat(&self, enrolled: &Enrolled) -> Result<(), RemoteConfigError> {
        let held = self.nodes();
        let node = |(at, member, spki): (&config::RemoteNode, Member, SpkiHash)| {
            let stays = held.iter().find(|node| node.id() == member.node && node.url() == at.url);
            match stays {
                Some(node) => {
                    node.repin(spki);
                    Ok(Arc::clone(node))
                }
                None => {
                    let place = self.settings.nodes.iter().position(|node| node.url == at.url);
                    let (common, place) = (Arc::clone(&self.common), place.map_or(0, |place| place + 1));
                    Node::new(&at.url, member.node, spki, &self.client, common, place)
                }
            }
        };
        let nodes = enrolled.addresses(&self.settings).into_iter().map(node).collect::<Result<_, _>>()?;
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = nodes;
        Ok(())
    }

    /// The same broker under another enrolment, which nobody relies on yet.
    pub(crate) fn trial(&self, enrolled: Enrolled, leases: Leases) -> Result<Arc<Self>, RemoteConfigError> {
        let (settings, client) = (self.settings.clone(), self.client.clone());
        Self::assemble(settings, client, self.broker, enrolled, leases, Arc::clone(&self.clock))
    }

    /// Takes an enrolment into use that was proven to work. Evaluations under way end under the one before.
    pub(crate) fn adopt(&self, enrolled: Enrolled) -> Result<(), RemoteConfigError> {
        self.seat(&enrolled)?;
        *self.common.chain_mut() = enrolled.into();
        self.common.leases.govern(self.manifest().manifest());
        Ok(())
    }

    /// Changes of the nodes happen one after the other.
    pub(crate) fn changing(&self) -> &Mutex<()> {
        &self.changing
    }

    /// How far the change under way has come.
    pub(crate) fn progress(&self) -> &watch::Sender<Progress> {
        &self.progress
    }

    /// A change of the group has stopped.
    pub(crate) fn nothing_under_way(&self) {
        self.progress.send_replace(Progress::default());
    }

    /// What nodes that left have said.
    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    pub(crate) fn settings(&self) -> &config::Remote {
        &self.settings
    }

    pub(crate) fn client(&self) -> &ClientKey {
        &self.client
    }

    pub(crate) fn holder(&self) -> LeaseHolder {
        self.common.holder()
    }

    /// The group that the nodes are, if there are several.
    pub(crate) fn group(&self) -> Option<Proposal> {
        self.common.chain().enrolled().group
    }

    /// Where a node is, by the nodes in use.
    pub(crate) fn url_of(&self, id: NodeId) -> Option<String> {
        self.nodes().iter().find(|node| node.id() == id).map(|node| node.url().to_owned())
    }

    /// Evaluates by exactly these nodes of the newest manifest.
    pub(crate) async fn evaluate_with(
        &self,
        set: &[u16],
        blinded: Blinded,
    ) -> Result<Vec<SharedSecret>, EvaluateError> {
        let nodes: Vec<_> = self.nodes().iter().filter(|node| set.contains(&node.index())).cloned().collect();
        let threshold = self.manifest().manifest().threshold();
        quorum::evaluate(nodes, threshold, blinded, self.common.deadline).await
    }

    /// Registers the generation of an unseal: from then on the services refuse older ones. The answers are
    /// leases. Returns as soon as t of them are active; slower nodes are registered with all the same. The
    /// first one follows the manifest chain before: no capsule is opened or closed until that was done.
    pub async fn hello(&self, generation: u64) -> Result<LeaseState, EvaluateError> {
        self.follow_once().await?;
        self.common.set_generation(generation);
        self.contact(Contact::Hello).await
    }

    /// Renews the leases.
    pub async fn heartbeat(&self) -> Result<LeaseState, EvaluateError> {
        self.contact(Contact::Heartbeat).await
    }

    /// The newest manifest that was accepted. Store it if its number has grown.
    #[must_use]
    pub fn manifest(&self) -> Arc<VerifiedManifest> {
        self.common.manifest()
    }

    /// What to store of all that was accepted.
    #[must_use]
    pub fn enrolled(&self) -> Enrolled {
        self.common.chain().enrolled()
    }

    /// Forgets an older key epoch of which no capsule is left: it can then not be asked for any more.
    pub fn forget_epoch(&self, key_epoch: u32) {
        self.common.chain_mut().forget(key_epoch);
    }

    /// Leases from this remote.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.common.leases
    }

    /// Each node, in the order of the manifest.
    #[must_use]
    pub fn report(&self) -> Vec<NodeReport> {
        let leases = self.common.leases.nodes(self.common.now());
        let report = |node: &Arc<Node>| {
            let index = node.index();
            let lease = leases.iter().find(|lease| lease.index == index);
            NodeReport {
                index,
                url: node.url().to_owned(),
                lease: lease.map_or(LeaseState::Unknown, |lease| lease.state),
                lease_left_ms: lease.map_or(0, |lease| lease.left_ms),
                latency_micros: node.latency().micros(),
                incidents: node.incidents(),
            }
        };
        self.nodes().iter().map(report).collect()
    }

    pub(crate) fn nodes(&self) -> Arc<[Arc<Node>]> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn contact(&self, contact: Contact) -> Result<LeaseState, EvaluateError> {
        let nodes = self.nodes();
        if let [only] = &*nodes {
            let state = contact.with(only).await?;
            self.refresh_if_due(state).await;
            return current(state);
        }
        let answered = self.contact_all(&nodes, contact).await;
        self.refresh_if_due(self.state()).await;
        answered
    }

    /// Asks every node, and waits until t leases are active or all have answered. Whoever is slower goes on
    /// by itself.
    async fn contact_all(&self, nodes: &[Arc<Node>], contact: Contact) -> Result<LeaseState, EvaluateError> {
        let (answer, mut answers) = mpsc::channel(nodes.len().max(1));
        for node in nodes {
            let (node, answer) = (Arc::clone(node), answer.clone());
            tokio::spawn(async move {
                let answered = contact.with(&node).await;
                let _ = answer.send((node.index(), answered)).await;
            });
        }
        drop(answer);
        let (mut failures, mut answered) = (Vec::new(), 0);
        while let Some((node, answer)) = answers.recv().await {
            match answer.and_then(current) {
                Ok(_) => answered += 1,
                Err(error) => failures.push(NodeFailure { node, error }),
            }
            if self.state() == LeaseState::Active {
                name_failures(&failures);
                return Ok(LeaseState::Active);
            }
        }
        let threshold = self.manifest().manifest().threshold();
        Err(EvaluateError::TooFew { threshold, answered, failures })
    }

    fn state(&self) -> LeaseState {
        self.common.leases.state(self.common.now())
    }

    /// A manifest that will not do for long, or contradicts the lease, is asked for again. Failing that
    /// changes nothing.
    async fn refresh_if_due(&self, state: LeaseState) {
        let manifest = self.manifest();
        let left = manifest.manifest().not_after_secs.saturating_sub(self.common.now().unix_secs());
        let active = manifest.manifest().state == KeyState::Active;
        if left >= REFRESH_BEFORE_SECS && active == (state == LeaseState::Active) && self.is_newest() {
            return;
        }
        if let Err(error) = self.refresh_manifest().await {
            warn!(%error, "the manifest of the fragment service could not be renewed");
        }
    }

    async fn evaluate_now(&self, blinded: Blinded) -> Result<Vec<SharedSecret>, EvaluateError> {
        let manifest = self.common.manifest_of(blinded.request().target().key_epoch)?;
        let members: Vec<_> = {
            let nodes = self.nodes();
            let named = |node: &&Arc<Node>| self.common.seat_in(&manifest, node.id()).is_ok();
            nodes.iter().filter(named).cloned().collect()
        };
        match (members.as_slice(), manifest.manifest().threshold()) {
            ([only], 1) => quorum::evaluate_alone(only, blinded).await,
            (_, threshold) => quorum::evaluate(members, threshold, blinded, self.common.deadline).await,
        }
    }
}

impl Evaluator for Remote {
    fn key_id(&self) -> KeyId {
        self.manifest().manifest().key
    }

    fn key_epochs(&self) -> Vec<u32> {
        self.common.chain().key_epochs()
    }

    fn knows_newest(&self) -> Result<(), EvaluateError> {
        match self.common.holder().generation {
            0 => Err(EvaluateError::NotRegistered),
            _ if self.is_newest() => Ok(()),
            _ => Err(EvaluateError::Overtaken),
        }
    }

    fn target(&self, key_epoch: u32) -> Result<Target, EvaluateError> {
        let manifest = self.common.manifest_of(key_epoch)?;
        let share_epoch = manifest.manifest().share_epoch;
        Ok(Target { key: manifest.manifest().key, key_epoch, share_epoch })
    }

    fn encapsulation_key(&self) -> Result<EncapsulationKey, EvaluateError> {
        self.knows_newest()?;
        let manifest = self.manifest();
        let node = manifest.manifest().nodes.first().map_or(0, |node| node.index);
        manifest.encapsulation_key(self.common.now().unix_secs()).map_err(|error| match error {
            ManifestError::NotActive(KeyState::Suspended) => EvaluateError::Suspended,
            ManifestError::NotActive(_) => EvaluateError::Destroyed,
            error => EvaluateError::Manifest { node, error },
        })
    }

    fn evaluate(&self, blinded: Blinded) -> Evaluated<'_> {
        Box::pin(self.evaluate_now(blinded))
    }

    fn evaluations(&self) -> Vec<Arc<Evaluations>> {
        self.nodes().iter().map(|node| Arc::clone(node.evaluations())).collect()
    }

    fn quota(&self) -> Option<Quota> {
        let newest = self.manifest();
        let Manifest { quota_burst: burst, quota_per_hour: per_hour, .. } = *newest.manifest();
        let nodes = self.nodes();
        let members = nodes.iter().filter(|node| self.common.seat_in(&newest, node.id()).is_ok());
        let left = members.map(|node| node.quota_left(burst, per_hour)).collect();
        Some(Quota { burst, per_hour, left: quota::of_threshold(left, newest.manifest().threshold()) })
    }
}

/// Enough nodes are there; whoever runs the others should know.
fn name_failures(failures: &[NodeFailure]) {
    for NodeFailure { node, error } in failures {
        warn!(node, %error, "no contact with a fragment service node; the others are enough");
    }
}
