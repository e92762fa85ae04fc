use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use symbolon_proto::evaluate::Answer;
use symbolon_proto::frame::{
    Enrolment, EvaluateOutcome, EvaluateResponse, GROUP_REQUEST_BYTES_MAX, Status, Target,
};
use symbolon_proto::id::KeyId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{Broker, Fixture, config, connect, post, try_post};
use crate::server::REQUEST_BYTES_MAX;
use crate::tls::{TlsIdentity, provider};

/// Whether a client with these settings gets any answer at all.
async fn is_let_in(fixture: &Fixture, config: rustls::ClientConfig) -> bool {
    let Some(sender) = connect(fixture.address, config).await else { return false };
    let answered = timeout(Duration::from_secs(3), try_post(&sender, Method::POST, "/skb1", vec![0; 8]));
    matches!(answered.await, Ok(Ok(_)))
}

fn with_group(group: &'static dyn rustls::crypto::SupportedKxGroup) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![group];
    Arc::new(provider)
}

#[tokio::test]
async fn only_the_hybrid_group_with_a_certificate_and_http2_is_spoken() {
    let fixture = Fixture::start().await;
    let identity = TlsIdentity::generate().unwrap();
    assert!(is_let_in(&fixture, config(provider(), Some(&identity))).await, "the control must get through");
    assert!(!is_let_in(&fixture, config(provider(), None)).await, "no client certificate");
    for group in [aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1, aws_lc_rs::kx_group::MLKEM768]
    {
        assert!(!is_let_in(&fixture, config(with_group(group), Some(&identity))).await, "{:?}", group.name());
    }
    let mut http1 = config(provider(), Some(&identity));
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(!is_let_in(&fixture, http1).await, "HTTP/1.1");
    let mut silent = config(provider(), Some(&identity));
    silent.alpn_protocols.clear();
    assert!(!is_let_in(&fixture, silent).await, "no ALPN");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let fixture = Fixture::start().await;
    let roots = rustls::RootCertStore::empty();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let error = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let other = TlsIdentity::generate().unwrap();
    let stolen = config(provider(), Some(&broker.tls));
    let mut forged = config(provider(), Some(&other));
    // The enrolled broker's certificate, with a key that is not its.
    let key = aws_lc_rs::sign::any_supported_type(&rustls_pki_types::PrivateKeyDer::from(
        rustls_pki_types::PrivatePkcs8KeyDer::from(other.key_pkcs8().to_vec()),
    ));
    let certified = rustls::sign::CertifiedKey::new(vec![broker.tls.certificate().clone()], key.unwrap());
    forged.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    assert!(is_let_in(&fixture, stolen).await, "the control must get through");
    assert!(!is_let_in(&fixture, forged).await);
}

#[tokio::test]
async fn a_stranger_may_only_ask_to_be_enrolled() {
    let fixture = Fixture::start().await;
    let known = fixture.broker().await;
    let mut stranger = Broker { deployment: known.deployment, id: known.id, ..Broker::new() };
    stranger.manifest.clone_from(&known.manifest);
    stranger.connect(fixture.address).await;
    let evaluate = known.request(known.target(), 1).to_bytes();
    assert_eq!(stranger.post(evaluate).await.0, StatusCode::FORBIDDEN);
    assert_eq!(stranger.enrol().await, Enrolment::Pending);
    assert_eq!(fixture.service.status().log.records, 0);
}

#[tokio::test]
async fn garbage_gets_a_short_answer_and_harms_nobody() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let whole = broker.request(broker.target(), 8).to_bytes();
    for cut in 0..whole.len() {
        let (status, answer) = broker.post(whole[..cut].to_vec()).await;
        match status {
            StatusCode::OK => {
                let outcome = EvaluateResponse::parse(&answer).unwrap().outcome;
                assert_eq!(outcome, EvaluateOutcome::Refused { status: Status::Malformed, lease: None });
            }
            status => assert!(
                cut < 5 && status == StatusCode::FORBIDDEN || status == StatusCode::BAD_REQUEST,
                "{cut}"
            ),
        }
    }
    let (status, _) = broker.post([&whole[..], &[0]].concat()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(matches!(broker.evaluate(8).await, Answer::Evaluated(..)), "the connection lives on");
}

#[tokio::test]
async fn other_routes_methods_and_sizes_are_refused() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let sender = broker.sender.as_ref().unwrap();
    let check = async |method, path, bytes: usize| post(sender, method, path, vec![0; bytes]).await.0;
    assert_eq!(check(Method::GET, "/skb1", 0).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(check(Method::POST, "/", 0).await, StatusCode::NOT_FOUND);
    assert_eq!(
        check(Method::POST, "/skb1", GROUP_REQUEST_BYTES_MAX + 1).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(check(Method::POST, "/skb1", 1 << 20).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(check(Method::POST, "/skb1", GROUP_REQUEST_BYTES_MAX).await, StatusCode::BAD_REQUEST);
    let mut stranger = Broker::new();
    stranger.connect(fixture.address).await;
    let (status, _) = stranger.post(vec![0; REQUEST_BYTES_MAX + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "strangers have less room");
}

#[tokio::test]
async fn strangers_cannot_keep_brokers_out() {
    let fixture = Fixture::with(|options| {
        options.limits.strangers_max = 2;
        options.limits.connections_max = 8;
    })
    .await;
    let mut broker = fixture.broker().await;
    // It was a stranger when it connected; give that place back.
    broker.sender = None;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut strangers = Vec::new();
    for _ in 0..2 {
        let mut stranger = Broker::new();
        stranger.connect(fixture.address).await;
        assert_eq!(stranger.enrol().await, Enrolment::Pending);
        strangers.push(stranger);
    }
    let third = config(provider(), Some(&TlsIdentity::generate().unwrap()));
    assert!(!is_let_in(&fixture, third).await, "the third stranger is one too many");
    broker.connect(fixture.address).await;
    broker.hello(1).await;
    assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
}

/// More of them than there are places of any kind, from another address.
#[tokio::test]
async fn silent_sockets_keep_no_broker_out() {
    let fixture = Fixture::with(|options| {
        options.limits.connections_max = 8;
        options.limits.handshakes_max = 8;
    })
    .await;
    let mut broker = fixture.broker().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((std::net::Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
        silent.push(socket.connect(fixture.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    broker.connect(fixture.address).await;
    broker.hello(1).await;
    assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
}

#[tokio::test]
async fn one_broker_cannot_keep_the_others_out() {
    let fixture = Fixture::with(|options| options.limits.per_broker_max = 2).await;
    let (greedy, other) = (fixture.broker().await, fixture.broker().await);
    let one_more = || config(provider(), Some(&greedy.tls));
    let held = [
        connect(fixture.address, one_more()).await.unwrap(),
        connect(fixture.address, one_more()).await.unwrap(),
    ];
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!is_let_in(&fixture, one_more()).await, "the third connection is one too many");
    assert!(is_let_in(&fixture, config(provider(), Some(&other.tls))).await);
    drop(held);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_let_in(&fixture, one_more()).await, "places are given back");
}

#[tokio::test]
async fn slow_handshakes_and_idle_connections_are_closed() {
    let fixture = Fixture::with(|options| {
        options.limits.handshake_secs = 1;
        options.limits.idle_secs = 1;
    })
    .await;
    let mut slow = TcpStream::connect(fixture.address).await.unwrap();
    slow.write_all(&[0x16, 0x03]).await.unwrap();
    let closed = timeout(Duration::from_secs(3), slow.read(&mut [0; 16])).await;
    assert!(closed.is_ok(), "a handshake that does not finish is cut");
    let mut broker = fixture.broker().await;
    // Its first connection was a stranger's; this one is a broker's.
    broker.connect(fixture.address).await;
    broker.hello(1).await;
    let sender = broker.sender.take().unwrap();
    let gone = timeout(Duration::from_secs(4), async {
        while !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(gone.await.is_ok(), "an idle connection is closed");
}

#[tokio::test]
async fn shutdown_lets_go_of_idle_brokers() {
    let mut fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let stopped = timeout(Duration::from_secs(4), fixture.stop()).await;
    stopped.expect("in time").unwrap();
    let target = Target { key: KeyId::from_bytes([0; 16]), key_epoch: 1, share_epoch: 1 };
    let frame = broker.request(target, 1).to_bytes();
    assert!(try_post(broker.sender.as_ref().unwrap(), Method::POST, "/skb1", frame).await.is_err());
}
