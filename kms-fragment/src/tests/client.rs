//! A running service with a hand-moved clock, and a broker that speaks to it without the broker crate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use symbolon_proto::evaluate::{self, Answer};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{
    EnrolAnswer, EnrolRequest, Enrolment, EvaluateRequest, Heartbeat, Hello, Presence, Target,
};
use symbolon_proto::group::{Point, Scalar};
use symbolon_proto::id::{BrokerId, DeploymentId, RequestId};
use symbolon_proto::lease::LeaseHolder;
use symbolon_proto::manifest::VerifiedManifest;
use symbolon_proto::possession::PossessionClaim;
use symbolon_proto::signing::{SigningPublicKey, SigningSeed};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::clock::{Clock, Now};
use crate::rng::os_rng;
use crate::server::ServeError;
use crate::tls::{TlsIdentity, provider};
use crate::{Options, Sealing, Service};

/// A clock that tests move.
#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn new() -> Self {
        Self(AtomicU64::new(1_000_000))
    }

    pub fn forward(&self, secs: u64) {
        self.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let ms = self.0.load(Ordering::SeqCst);
        Now { unix_secs: 1_760_000_000 + ms / 1000, boot_ms: ms }
    }
}

/// A service in a temporary directory.
pub struct Fixture {
    pub service: Arc<Service>,
    pub address: SocketAddr,
    pub clock: Arc<TestClock>,
    pub root: Fingerprint,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::new());
        let mut options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
        change(&mut options);
        let service = Service::init(&dir.path().join("state"), &sealing(&dir), options).unwrap();
        Self::run(service, dir, clock).await
    }

    async fn run(service: Arc<Service>, dir: tempfile::TempDir, clock: Arc<TestClock>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = Arc::clone(&service);
        let task = tokio::spawn(async move { running.serve(socket, async { drop(stopped.await) }).await });
        let root = service.root_fingerprint();
        Self { service, address, clock, root, dir, stop: Some(stop), task }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub async fn stop(&mut self) -> Result<(), ServeError> {
        drop(self.stop.take());
        (&mut self.task).await.unwrap()
    }

    /// A service over a state directory that is there already, in `state` beside its `key`.
    pub async fn over(dir: tempfile::TempDir) -> Self {
        let clock = Arc::new(TestClock::new());
        let options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
        let service = Service::open(&dir.path().join("state"), &sealing(&dir), options).unwrap();
        Self::run(service, dir, clock).await
    }

    /// Why the stopped service does not open again.
    pub async fn open_error(self) -> crate::ServiceError {
        let Self { service, dir, .. } = self;
        let options = service.options.clone();
        let_go(service).await;
        Service::open(&dir.path().join("state"), &sealing(&dir), options).err().unwrap()
    }

    /// Stops the service and opens it again from disk.
    pub async fn restart(mut self) -> Self {
        self.stop().await.unwrap();
        self.reopen().await
    }

    /// Opens a stopped service again from disk.
    pub async fn reopen(self) -> Self {
        let Self { service, clock, dir, .. } = self;
        let options = service.options.clone();
        let_go(service).await;
        let service = Service::open(&dir.path().join("state"), &sealing(&dir), options).unwrap();
        Self::run(service, dir, clock).await
    }

    /// An enrolled broker on an open connection that has said hello.
    pub async fn broker(&self) -> Broker {
        let mut broker = Broker::new();
        broker.connect(self.address).await;
        assert_eq!(broker.enrol().await, Enrolment::Pending);
        self.service.approve(&broker.fingerprint(), false).unwrap();
        broker.finish_enrolment(&self.root).await;
        assert!(matches!(broker.hello(1).await, Presence::Lease(_)));
        broker
    }
}

fn sealing(dir: &tempfile::TempDir) -> Sealing {
    Sealing::KeyFile(dir.path().join("key"))
}

/// A broker as the wire sees it.
pub struct Broker {
    pub deployment: DeploymentId,
    pub id: BrokerId,
    pub tls: TlsIdentity,
    pub signing: SigningSeed,
    pub manifest: Option<VerifiedManifest>,
    pub generation: u64,
    pub sender: Option<SendRequest<Full<Bytes>>>,
}

impl Broker {
    pub fn new() -> Self {
        let mut rng = os_rng();
        Self {
            deployment: DeploymentId::random(&mut rng),
            id: BrokerId::random(&mut rng),
            tls: TlsIdentity::generate().unwrap(),
            signing: SigningSeed::random(&mut rng),
            manifest: None,
            generation: 0,
            sender: None,
        }
    }

    /// The same broker on another machine: a clone, or restored from a backup.
    pub fn twin(&self) -> Self {
        Self {
            tls: TlsIdentity::from_pkcs8(&self.tls.key_pkcs8()).unwrap(),
            signing: SigningSeed::random(&mut os_rng()),
            manifest: self.manifest.clone(),
            sender: None,
            ..*self
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_broker(self.tls.spki(), &self.signing.public_key())
    }

    pub async fn connect(&mut self, address: SocketAddr) {
        self.sender = Some(connect(address, config(provider(), Some(&self.tls))).await.unwrap());
    }

    pub async fn post(&self, frame: Vec<u8>) -> (StatusCode, Bytes) {
        post(self.sender.as_ref().unwrap(), Method::POST, "/skb1", frame).await
    }

    pub async fn frame(&self, frame: Vec<u8>) -> Bytes {
        let (status, answer) = self.post(frame).await;
        assert_eq!(status, StatusCode::OK);
        answer
    }

    pub async fn enrol(&self) -> Enrolment {
        let (deployment, broker, signing_key) = (self.deployment, self.id, self.signing.public_key());
        let frame = EnrolRequest { deployment, broker, signing_key, nonce: [7; 32] }.to_bytes();
        EnrolAnswer::parse(&self.frame(frame).await).unwrap().enrolment
    }

    /// Fetches and checks the manifest as a broker must.
    pub async fn finish_enrolment(&mut self, root: &Fingerprint) -> SigningPublicKey {
        let Enrolment::Enrolled { root_key, possession, manifest } = self.enrol().await else {
            panic!("not enrolled")
        };
        assert_eq!(Fingerprint::of(root_key.as_bytes()), *root);
        let manifest = VerifiedManifest::first(&manifest, &root_key, &self.deployment).unwrap();
        let fields = manifest.manifest();
        let claim =
            PossessionClaim { deployment: self.deployment, key: fields.key, key_epoch: fields.key_epoch };
        assert!(possession.verifies(&claim, &fields.public));
        self.manifest = Some(manifest);
        root_key
    }

    pub fn target(&self) -> Target {
        let manifest = self.manifest.as_ref().unwrap().manifest();
        Target { key: manifest.key, key_epoch: manifest.key_epoch, share_epoch: manifest.share_epoch }
    }

    pub fn holder(&self) -> LeaseHolder {
        let key = self.target().key;
        LeaseHolder { deployment: self.deployment, broker: self.id, key, generation: self.generation }
    }

    pub async fn hello(&mut self, generation: u64) -> Presence {
        self.generation = generation;
        let hello = Hello::new(self.holder(), RequestId::random(&mut os_rng()));
        let answer = self.frame(hello.to_bytes()).await;
        hello.verify(&answer, self.manifest.as_ref().unwrap().node(1).unwrap()).unwrap()
    }

    pub async fn heartbeat(&self) -> Presence {
        let heartbeat = Heartbeat::new(self.holder(), RequestId::random(&mut os_rng()));
        let answer = self.frame(heartbeat.to_bytes()).await;
        heartbeat.verify(&answer, self.manifest.as_ref().unwrap().node(1).unwrap()).unwrap()
    }

    pub fn request(&self, target: Target, count: usize) -> EvaluateRequest {
        let points: Vec<Point> =
            (0..count).map(|_| *Scalar::random(&mut os_rng()).public_key().point()).collect();
        EvaluateRequest::new(target, RequestId::random(&mut os_rng()), points).unwrap()
    }

    /// Evaluates `count` random points and verifies the answer.
    pub async fn evaluate(&self, count: usize) -> Answer {
        self.send(&self.request(self.target(), count)).await
    }

    pub async fn send(&self, request: &EvaluateRequest) -> Answer {
        let answer = self.frame(request.to_bytes()).await;
        let node = self.manifest.as_ref().unwrap().node(1).unwrap();
        evaluate::verify(request, &answer, &self.holder(), node).unwrap()
    }
}

/// A client's TLS settings; `None` shows no certificate.
pub fn config(provider: Arc<CryptoProvider>, identity: Option<&TlsIdentity>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key_pkcs8().to_vec()));
            builder.with_client_auth_cert(vec![identity.certificate().clone()], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Connects, and waits until the server has accepted the client's certificate too.
pub async fn connect(address: SocketAddr, config: ClientConfig) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

pub async fn post(
    sender: &SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> (StatusCode, Bytes) {
    try_post(sender, method, path, body).await.unwrap()
}

pub async fn try_post(
    sender: &SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> hyper::Result<(StatusCode, Bytes)> {
    let mut sender = sender.clone();
    sender.ready().await?;
    let uri = format!("https://localhost{path}");
    let request = Request::builder().method(method).uri(uri).body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Connections end a moment after the server: the directory is free when nobody holds the service any more.
async fn let_go(service: Arc<Service>) {
    for _ in 0..1000 {
        if Arc::strong_count(&service) == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("somebody still holds the stopped service");
}
