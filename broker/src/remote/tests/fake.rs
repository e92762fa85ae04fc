//! A node under the test's control: it knows the protocol and may break any rule of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use symbolon_kms_fragment::tls::{TlsIdentity, provider};
use symbolon_proto::evaluate::{Evaluation, RemoteKey};
use symbolon_proto::frame::{
    self, EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameType, ManifestAnswer, PresenceAnswer,
    Status,
};
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, NodeId};
use symbolon_proto::lease::{KeyState, Lease, LeaseTerms};
use symbolon_proto::manifest::{Manifest, ManifestNode, VerifiedManifest};
use symbolon_proto::signing::SigningSeed;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Half, TestClock, settings};
use crate::random::os_rng;
use crate::remote::{BrokerIdentity, Enrolled, Leases, Remote};
use symbolon_core::clock::Clock;

/// A deadline that a busy test machine does not miss.
const PATIENT_MS: u64 = 20_000;

/// What a node does with a frame: a body to send, or `None` to stay silent for ever.
pub type Behaviour = Box<dyn Fn(&Node, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// The keys of a node, and answers made with them.
pub struct Node {
    pub index: u16,
    pub key: RemoteKey,
    pub signing: SigningSeed,
    pub root: SigningSeed,
    pub deployment: DeploymentId,
    pub broker: BrokerId,
    pub key_id: KeyId,
    pub tls: TlsIdentity,
    pub clock: Arc<TestClock>,
    seq: Mutex<u64>,
}

impl Node {
    pub fn new() -> Self {
        let mut rng = os_rng();
        Self {
            index: 1,
            key: RemoteKey::generate(&mut rng),
            signing: SigningSeed::random(&mut rng),
            root: SigningSeed::random(&mut rng),
            deployment: DeploymentId::random(&mut rng),
            broker: BrokerId::random(&mut rng),
            key_id: KeyId::random(&mut rng),
            tls: TlsIdentity::generate().unwrap(),
            clock: TestClock::start(),
            seq: Mutex::new(0),
        }
    }

    /// Another node for the same key, with the given share of it.
    pub fn beside(&self, index: u16, key: RemoteKey) -> Self {
        let Self { deployment, broker, key_id, .. } = *self;
        Self { index, key, deployment, broker, key_id, clock: Arc::clone(&self.clock), ..Self::new() }
    }

    /// Its place in a manifest.
    pub fn seat(&self) -> ManifestNode {
        ManifestNode {
            index: self.index,
            node: NodeId::from_bytes([9 + self.index.to_be_bytes()[1]; 16]),
            public: *self.key.public_key(),
            signing: self.signing.public_key(),
            spki_sha256: *self.tls.spki(),
        }
    }

    /// A manifest, changed at will before it is signed.
    pub fn manifest(&self, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
        let mut manifest = self.fields();
        change(&mut manifest);
        manifest.sign(&self.root, &[&self.signing])
    }

    /// What an honest service says of a key that this node holds alone.
    pub fn fields(&self) -> Manifest {
        let now = self.clock.now().unix_secs();
        Manifest {
            deployment: self.deployment,
            key: self.key_id,
            state: KeyState::Active,
            key_epoch: 1,
            share_epoch: 1,
            public: *self.key.public_key(),
            commitments: Vec::new(),
            nodes: vec![self.seat()],
            lease_ttl_secs: 3600,
            quota_burst: 64,
            quota_per_hour: 64,
            grace_secs: 0,
            not_before_secs: now - 60,
            not_after_secs: now + 20 * 24 * 3600,
            seq: 1,
            prev_hash: [0; 32],
        }
    }

    pub fn lease(&self, generation: u64, change: impl FnOnce(&mut LeaseTerms)) -> Lease {
        let mut seq = self.seq.lock().unwrap();
        *seq += 1;
        let mut terms = LeaseTerms {
            deployment: self.deployment,
            broker: self.broker,
            key: self.key_id,
            generation,
            seq: *seq,
            issued_secs: self.clock.now().unix_secs(),
            ttl_secs: 3600,
            status: KeyState::Active,
            node: self.index,
        };
        change(&mut terms);
        Lease::sign(terms, &self.signing)
    }

    /// What an honest node answers.
    pub fn honest(&self, frame: &[u8]) -> Vec<u8> {
        match frame::Request::parse(frame).unwrap() {
            frame::Request::Evaluate(request) => self.evaluated(&request).to_bytes(),
            frame::Request::Hello(_) => self.presence(FrameType::Hello, frame).to_bytes(),
            frame::Request::Heartbeat(_) => self.presence(FrameType::Heartbeat, frame).to_bytes(),
            frame::Request::Manifest(_) => self.chain(frame, Vec::new()),
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn presence(&self, frame_type: FrameType, frame: &[u8]) -> PresenceAnswer {
        PresenceAnswer {
            frame_type,
            status: Status::Ok,
            node_index: self.index,
            request_hash: frame::request_hash(frame),
            time_secs: self.clock.now().unix_secs(),
            lease: Some(self.lease(1, |_| ())),
        }
    }

    pub fn evaluated(&self, request: &EvaluateRequest) -> EvaluateResponse {
        let Evaluation { points, proof } = self.key.evaluate(request, &mut os_rng());
        EvaluateResponse {
            target: *request.target(),
            node_index: self.index,
            request_hash: *request.hash(),
            quota_left: 64,
            time_secs: self.clock.now().unix_secs(),
            outcome: EvaluateOutcome::Done { points, proof, lease: self.lease(1, |_| ()) },
        }
    }

    pub fn chain(&self, frame: &[u8], manifests: Vec<Vec<u8>>) -> Vec<u8> {
        ManifestAnswer { status: Status::Ok, request_hash: frame::request_hash(frame), manifests }.to_bytes()
    }
}

/// A node that runs, and a broker that was enrolled with it.
pub struct Stage {
    pub node: Arc<Node>,
    pub remote: Arc<Remote>,
    pub leases: Leases,
    pub half: Half,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Stage {
    /// A node that is honest until told otherwise; the broker has said hello.
    pub async fn set() -> Self {
        Self::with_deadline(PATIENT_MS).await
    }

    /// The same with another deadline for each question.
    pub async fn with_deadline(deadline_ms: u64) -> Self {
        let stage = Self::build(deadline_ms, |_| ()).await;
        stage.remote.hello(1).await.unwrap();
        stage
    }

    /// `change` may make the manifest that the broker was enrolled with differ from the truth.
    pub async fn unconnected(change: impl FnOnce(&mut Manifest)) -> Self {
        Self::build(PATIENT_MS, change).await
    }

    async fn build(deadline_ms: u64, change: impl FnOnce(&mut Manifest)) -> Self {
        let node = Arc::new(Node::new());
        let honest: Behaviour = Box::new(|node, frame| Some(node.honest(frame)));
        let behaviour = Arc::new(Mutex::new(honest));
        let address = run(Arc::clone(&node), Arc::clone(&behaviour)).await;
        let root = node.root.public_key();
        let manifest = VerifiedManifest::first(&node.manifest(change), &root, &node.deployment).unwrap();
        let identity = BrokerIdentity::generate().unwrap();
        let leases = Leases::default();
        let mut settings = settings(format!("https://{address}"), String::new());
        settings.deadline_ms = deadline_ms;
        let clock = Arc::clone(&node.clock);
        let enrolled = Enrolled::alone(root, manifest);
        let remote = Remote::new(&settings, &identity, node.broker, enrolled, leases.clone(), clock).unwrap();
        let half = Half::new(node.deployment);
        Self { node, remote, leases, half, behaviour }
    }

    /// The same broker, as after another unseal.
    pub fn again(&self) -> Arc<Remote> {
        self.elsewhere(self.remote.report()[0].url.clone(), PATIENT_MS)
    }

    /// The same broker, sent to another address.
    pub fn remote_at(&self, url: String) -> Arc<Remote> {
        self.elsewhere(url, 500)
    }

    fn elsewhere(&self, url: String, deadline_ms: u64) -> Arc<Remote> {
        let manifest = (*self.remote.manifest()).clone();
        let enrolled = Enrolled::alone(self.node.root.public_key(), manifest);
        let mut settings = settings(url, String::new());
        settings.deadline_ms = deadline_ms;
        let identity = BrokerIdentity::generate().unwrap();
        let clock = Arc::clone(&self.node.clock);
        Remote::new(&settings, &identity, self.node.broker, enrolled, Leases::default(), clock).unwrap()
    }

    pub fn now_behaves(&self, behaviour: impl Fn(&Node, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    /// The node changes its answers to evaluations, and is honest otherwise.
    pub fn now_lies(
        &self,
        lie: impl Fn(&Node, &EvaluateRequest, EvaluateResponse) -> EvaluateResponse + Send + Sync + 'static,
    ) {
        self.now_behaves(move |node, frame| match EvaluateRequest::parse(frame) {
            Ok(request) => Some(lie(node, &request, node.evaluated(&request)).to_bytes()),
            Err(_) => Some(node.honest(frame)),
        });
    }
}

pub async fn run(node: Arc<Node>, behaviour: Arc<Mutex<Behaviour>>) -> SocketAddr {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(node.tls.key_pkcs8().to_vec()));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![node.tls.certificate().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let (acceptor, node, behaviour) = (acceptor.clone(), Arc::clone(&node), Arc::clone(&behaviour));
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service =
                    service_fn(move |request| answer(Arc::clone(&node), Arc::clone(&behaviour), request));
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                drop(connection.await);
            });
        }
    });
    address
}

async fn answer(
    node: Arc<Node>,
    behaviour: Arc<Mutex<Behaviour>>,
    request: Request<Incoming>,
) -> hyper::Result<Response<Full<Bytes>>> {
    let frame = request.into_body().collect().await?.to_bytes();
    let body = behaviour.lock().unwrap()(&node, &frame);
    match body {
        Some(body) => Ok(Response::new(Full::new(Bytes::from(body)))),
        None => std::future::pending().await,
    }
}
