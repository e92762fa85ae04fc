//! Several nodes with shares of one key, dealt by the test, and a broker that asks them.

use std::sync::{Arc, Mutex};

use curve25519_dalek::scalar::Scalar;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, Status};
use symbolon_proto::manifest::{Manifest, VerifiedManifest};
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use super::fake::{Behaviour, Node, run};
use super::{Half, settings};
use crate::config::RemoteNode;
use crate::random::os_rng;
use crate::remote::{BrokerIdentity, Enrolled, Leases, Member, Remote};
use symbolon_proto::fingerprint::Fingerprint;

/// t of n fake nodes; node i stands at place i − 1.
pub struct Ring {
    pub nodes: Vec<Arc<Node>>,
    pub remote: Arc<Remote>,
    pub leases: Leases,
    pub half: Half,
    behaviours: Vec<Arc<Mutex<Behaviour>>>,
    manifest: Manifest,
}

fn key(scalar: Scalar) -> RemoteKey {
    RemoteKey::from_secret(Secret::filled_by(|out| *out = scalar.to_bytes())).unwrap()
}

/// Shares 1 to n of a random key, with the commitments A_0 … A_{t−1}.
fn deal(t: u16, n: u16) -> (Vec<RemoteKey>, Vec<RemoteKey>) {
    let coefficients: Vec<Scalar> = (0..t).map(|_| Scalar::random(&mut os_rng())).collect();
    let share = |x: u16| coefficients.iter().rev().fold(Scalar::ZERO, |sum, a| sum * Scalar::from(x) + a);
    ((1..=n).map(|x| key(share(x))).collect(), coefficients.iter().map(|a| key(*a)).collect())
}

impl Ring {
    /// t of n, all honest; the broker has said hello to every one.
    pub async fn set(t: u16, n: u16) -> Self {
        let ring = Self::build(t, n, 20_000).await;
        ring.remote.hello(1).await.unwrap();
        ring
    }

    /// The same, to which nobody has spoken, with a deadline for each question.
    pub async fn build(t: u16, n: u16, deadline_ms: u64) -> Self {
        let (shares, commitments) = deal(t, n);
        let first = Node::new();
        let nodes: Vec<_> =
            (1..).zip(shares).map(|(index, share)| Arc::new(first.beside(index, share))).collect();
        let mut manifest = first.fields();
        manifest.public = *commitments[0].public_key();
        manifest.commitments = commitments[1..].iter().map(|a| *a.public_key().point()).collect();
        manifest.nodes = nodes.iter().map(|node| node.seat()).collect();
        let (mut behaviours, mut addresses) = (Vec::new(), Vec::new());
        for node in &nodes {
            let honest: Behaviour = Box::new(|node, frame| Some(node.honest(frame)));
            let behaviour = Arc::new(Mutex::new(honest));
            let address = run(Arc::clone(node), Arc::clone(&behaviour)).await;
            addresses.push(format!("https://{address}"));
            behaviours.push(behaviour);
        }
        let leases = Leases::default();
        let remote = connect(&nodes, &manifest, addresses, leases.clone(), deadline_ms);
        Self { half: Half::new(first.deployment), nodes, remote, leases, behaviours, manifest }
    }

    /// A manifest that all nodes signed, changed at will before.
    pub fn signed(&self, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        sign(&self.nodes, &manifest)
    }

    pub fn node(&self, index: u16) -> &Arc<Node> {
        &self.nodes[usize::from(index) - 1]
    }

    pub fn now_behaves(
        &self,
        index: u16,
        behaviour: impl Fn(&Node, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) {
        *self.behaviours[usize::from(index) - 1].lock().unwrap() = Box::new(behaviour);
    }

    /// The node changes its answers to evaluations, and is honest otherwise.
    pub fn now_lies(
        &self,
        index: u16,
        lie: impl Fn(&Node, &EvaluateRequest, EvaluateResponse) -> EvaluateResponse + Send + Sync + 'static,
    ) {
        self.now_behaves(index, move |node, frame| match EvaluateRequest::parse(frame) {
            Ok(request) => Some(lie(node, &request, node.evaluated(&request)).to_bytes()),
            Err(_) => Some(node.honest(frame)),
        });
    }

    /// The node takes everything and says nothing.
    pub fn goes_silent(&self, index: u16) {
        self.now_behaves(index, |_, _| None);
    }

    /// The node answers that it has too much to do.
    pub fn goes_away(&self, index: u16) {
        self.now_lies(index, |_, _, response| EvaluateResponse {
            outcome: EvaluateOutcome::Refused { status: Status::Busy, lease: None },
            ..response
        });
    }

    pub fn is_honest(&self, index: u16) {
        self.now_behaves(index, |node, frame| Some(node.honest(frame)));
    }
}

fn sign(nodes: &[Arc<Node>], manifest: &Manifest) -> Vec<u8> {
    let seeds: Vec<&SigningSeed> = nodes.iter().map(|node| &node.signing).collect();
    manifest.sign(&nodes[0].root, &seeds)
}

fn connect(
    nodes: &[Arc<Node>],
    manifest: &Manifest,
    addresses: Vec<String>,
    leases: Leases,
    deadline_ms: u64,
) -> Arc<Remote> {
    let root = nodes[0].root.public_key();
    let signed = sign(nodes, manifest);
    let member = |node: &Arc<Node>| Member { node: node.seat().node, root: node.root.public_key() };
    let enrolled = Enrolled {
        root,
        manifest: VerifiedManifest::first(&signed, &root, &manifest.deployment).unwrap(),
        older: Vec::new(),
        members: nodes.iter().map(member).collect(),
        group: None,
    };
    let mut settings = settings(String::new(), String::new());
    let configured = |(node, url): (&Arc<Node>, String)| RemoteNode {
        url,
        fingerprint: Fingerprint::of(node.root.public_key().as_bytes()).to_string(),
    };
    settings.nodes = nodes.iter().zip(addresses).map(configured).collect();
    settings.nodes.reverse(); // the order in the file does not matter
    (settings.threshold, settings.deadline_ms) = (manifest.threshold(), deadline_ms);
    let identity = BrokerIdentity::generate().unwrap();
    let clock = Arc::clone(&nodes[0].clock);
    Remote::new(&settings, &identity, nodes[0].broker, enrolled, leases, clock).unwrap()
}
