#![allow(clippy::unwrap_used)]
mod key_agreement;

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connection::HEAD_BYTES_MAX;
use super::*;

/// More than a peer with closed windows takes in.
const LARGE_BYTES: usize = 300 << 10;

fn router() -> Router {
    Router::new()
        .route("/peer", get(|Extension(peer): Extension<Peer>| async move { peer.address.ip().to_string() }))
        .route(
            "/channel",
            get(|Extension(peer): Extension<Peer>| async move { format!("{:?}", peer.channel) }),
        )
        .route("/slow", get(|| async { sleep(Duration::from_secs(30)).await }))
        .route("/known", get(|Extension(ticket): Extension<Arc<Ticket>>| async move { ticket.make_known() }))
        .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
        .route(
            "/body",
            post(|body: Body| async move {
                match http_body_util::BodyExt::collect(body).await {
                    Ok(whole) => (StatusCode::OK, whole.to_bytes().len().to_string()),
                    Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, String::new()),
                }
            }),
        )
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

async fn start(tls: Option<Tls>, limits: ServerLimits) -> Running {
    start_following(tls.map(|tls| watch::channel(tls).1), limits).await
}

async fn start_following(tls: Option<watch::Receiver<Tls>>, limits: ServerLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let task = tokio::spawn(serve(listener, tls, router(), limits, stopped));
    Running { address, stop, task }
}

fn quick() -> ServerLimits {
    let moment = Duration::from_millis(300);
    ServerLimits {
        handshake: moment,
        head: moment,
        idle: moment * 3,
        request: moment * 2,
        drain: moment,
        ..ServerLimits::default()
    }
}

async fn connect(running: &Running) -> TcpStream {
    connect_from(running, 1).await
}

/// From one of the addresses of this machine.
async fn connect_from(running: &Running, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    socket.connect(running.address).await.unwrap()
}

/// One request on a connection that stays; `None` if it is gone.
async fn get_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = [0; 1024];
    let count = timeout(Duration::from_secs(8), stream.read(&mut answer)).await.ok()?.ok()?;
    (count > 0).then(|| String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// Everything the server says until it closes; fails if it does not close in time.
async fn until_closed(mut stream: impl AsyncRead + Unpin) -> String {
    let mut got = Vec::new();
    // A reset is a way of closing too.
    let _ = timeout(Duration::from_secs(8), stream.read_to_end(&mut got)).await.expect("closes in time");
    String::from_utf8_lossy(&got).into_owned()
}

async fn exchange(running: &Running, request: &str) -> String {
    let mut stream = connect(running).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    until_closed(stream).await
}

#[tokio::test]
async fn requests_know_their_peer() {
    let running = start(None, ServerLimits::default()).await;
    let answer = exchange(&running, "GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn plain_http_stays_on_loopback() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let served = serve(listener, None, router(), ServerLimits::default(), std::future::pending()).await;
    assert!(matches!(served, Err(ServeError::PlainHttp { .. })));
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_and_an_idle_connection_lives_longer() {
    let running = start(None, quick()).await;
    let mut dripping = connect(&running).await;
    let began = tokio::time::Instant::now();
    dripping.write_all(b"GET /peer HTT").await.unwrap();
    assert_eq!(until_closed(dripping).await, "");
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());

    let mut idle = connect(&running).await;
    for _ in 0..2 {
        idle.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 1024];
        let count = idle.read(&mut answer).await.unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
        sleep(Duration::from_millis(500)).await; // longer than a head may take, shorter than idleness
    }
    until_closed(idle).await;
}

#[tokio::test]
async fn a_request_has_a_deadline() {
    let running = start(None, quick()).await;
    let answer = exchange(&running, "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("took too long"), "{answer}");
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let running = start(None, ServerLimits { body_bytes_max: 1000, ..quick() }).await;
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    let answer = exchange(&running, &format!("GET /peer HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = "y".repeat(4 * HEAD_BYTES_MAX);
    let answer = exchange(&running, &format!("GET /peer HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let body = "z".repeat(1001);
    let head = "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1001";
    let answer = exchange(&running, &format!("{head}\r\n\r\n{body}")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

fn few() -> ServerLimits {
    let hall = HallLimits { connections_max: 2, requests_max: 2, waiting_max: 2 };
    let patience = Duration::from_secs(600);
    ServerLimits { handshakes_max: 4, operators: hall, known: hall, patience, ..ServerLimits::default() }
}

#[tokio::test]
async fn silent_sockets_keep_nobody_else_out() {
    let (cert, key, client) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let running = start(Some(tls_config(cert.as_bytes(), key.as_bytes()).unwrap()), few()).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(connect_from(&running, 2).await);
    }
    for _ in 0..5 {
        let stream = handshake_on(connect_from(&running, 3).await, client.clone(), b"http/1.1").await;
        let mut stream = stream.unwrap();
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(until_closed(stream).await.ends_with("127.0.0.3"));
    }
}

#[tokio::test]
async fn connections_of_one_address_keep_nobody_else_out() {
    let running = start(None, few()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(connect_from(&running, 2).await);
        assert!(get_on(held.last_mut().unwrap(), "/peer").await.is_some());
    }
    let mut other = connect_from(&running, 3).await;
    assert!(get_on(&mut other, "/peer").await.unwrap().ends_with("127.0.0.3"));
    assert_eq!(get_on(&mut held[0], "/peer").await, None, "the oldest of whoever has the most gave way");
    assert!(get_on(&mut held[1], "/peer").await.is_some());
}

/// Otherwise those who wait between handshake and hall would have no bound.
#[tokio::test]
async fn who_loses_the_place_of_a_handshake_waits_no_longer() {
    let hall = HallLimits { connections_max: 1, requests_max: 2, waiting_max: 2 };
    let running = start(None, ServerLimits { handshakes_max: 2, operators: hall, ..few() }).await;
    let mut held = connect_from(&running, 2).await;
    assert!(get_on(&mut held, "/peer").await.is_some());
    let (mut first, _second) = (connect_from(&running, 2).await, connect_from(&running, 2).await);
    sleep(Duration::from_millis(100)).await;
    let _newcomer = connect_from(&running, 3).await;
    let closed = timeout(Duration::from_secs(5), first.read(&mut [0; 16])).await;
    assert!(closed.is_ok(), "it waits for the hall though its place is another's");
}

#[tokio::test]
async fn whoever_is_known_is_apart_from_strangers() {
    let running = start(None, few()).await;
    let mut known = connect_from(&running, 2).await;
    assert!(get_on(&mut known, "/known").await.is_some());
    for last in 3..40 {
        let mut stranger = connect_from(&running, last).await;
        let _ = timeout(Duration::from_millis(5), get_on(&mut stranger, "/peer")).await;
    }
    let mut strangers = Vec::new();
    for last in 40..60 {
        strangers.push(connect_from(&running, last).await);
    }
    assert!(get_on(&mut known, "/peer").await.unwrap().ends_with("127.0.0.2"));
}

#[tokio::test]
async fn requests_of_one_address_give_way_too() {
    let hall = HallLimits { connections_max: 9, requests_max: 2, waiting_max: 2 };
    let wait = Duration::from_millis(100);
    let running = start(None, ServerLimits { operators: hall, wait, ..few() }).await;
    let mut slow = [connect_from(&running, 2).await, connect_from(&running, 2).await];
    for stream in &mut slow {
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    }
    sleep(Duration::from_millis(100)).await;
    let mut own = connect_from(&running, 2).await;
    let refused = get_on(&mut own, "/peer").await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    let mut other = connect_from(&running, 3).await;
    assert!(get_on(&mut other, "/peer").await.unwrap().starts_with("HTTP/1.1 200"));
    let mut answer = [0; 1024];
    let count = timeout(Duration::from_secs(8), slow[0].read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 503"), "the oldest gave way");
}

/// Each has a head in memory.
#[tokio::test]
async fn only_so_many_requests_wait() {
    let hall = HallLimits { connections_max: 9, requests_max: 1, waiting_max: 2 };
    let running = start(None, ServerLimits { operators: hall, ..few() }).await;
    let mut streams = Vec::new();
    for path in ["/slow", "/peer", "/peer", "/peer"] {
        let mut stream = connect_from(&running, 2).await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        streams.push(stream);
        sleep(Duration::from_millis(100)).await;
    }
    let mut answer = [0; 1024];
    let one_too_many = timeout(Duration::from_secs(1), streams[3].read(&mut answer)).await;
    let count = one_too_many.expect("it waits too").unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 503"));
    let waits = timeout(Duration::from_millis(100), streams[1].read(&mut answer)).await;
    assert!(waits.is_err(), "the first to wait still waits");
}

/// A peer that closes its windows and keeps the connection alive with everything else that HTTP/2 has.
#[tokio::test]
async fn answers_that_nobody_takes_end_the_connection() {
    let limits = ServerLimits { answer: Duration::from_secs(1), ..ServerLimits::default() };
    let (cert, key, client) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let running = start(Some(tls_config(cert.as_bytes(), key.as_bytes()).unwrap()), limits).await;
    let stream = handshake(&running, client, b"h2").await;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .initial_stream_window_size(1)
        .keep_alive_interval(Duration::from_millis(200))
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let task = tokio::spawn(connection);
    let request = Request::get("https://127.0.0.1/large").body(Body::empty()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let ended = timeout(Duration::from_secs(20), task).await;
    assert!(ended.is_ok(), "the answer is kept for ever");
    drop(answer);
}

/// One that is taken slowly, but taken, comes whole.
#[tokio::test]
async fn a_large_answer_comes_whole() {
    for limits in [ServerLimits::default(), ServerLimits { memory_bytes_max: 1 << 10, ..quick() }] {
        let running = start(None, limits).await;
        let answer = exchange(&running, "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.contains(&format!("content-length: {LARGE_BYTES}\r\n")), "{}", &answer[..300]);
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), LARGE_BYTES);
    }
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_closes_the_rest() {
    let running = start(None, quick()).await;
    let idle = connect(&running).await;
    let mut busy = connect(&running).await;
    busy.write_all(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    running.stop.send(()).unwrap();
    sleep(Duration::from_millis(50)).await;
    busy.write_all(b"b").await.unwrap();
    assert!(until_closed(busy).await.starts_with("HTTP/1.1 200"));
    until_closed(idle).await;
    timeout(Duration::from_secs(2), running.task).await.unwrap().unwrap().unwrap();
}

/// A certificate for 127.0.0.1, as PEM, and a client that trusts it and offers the given protocols.
fn tls_pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String, rustls::ClientConfig) {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let cert =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (cert.pem(), key.serialize_pem(), client)
}

async fn handshake(
    running: &Running,
    client: rustls::ClientConfig,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    handshake_on(connect(running).await, client, protocol).await.unwrap()
}

async fn handshake_on(
    stream: TcpStream,
    mut client: rustls::ClientConfig,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    client.alpn_protocols = vec![protocol.to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    connector.connect(name, stream).await
}

#[tokio::test]
async fn tls_serves_both_protocols_and_survives_garbage() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let (cert, key, client) = tls_pair(algorithm);
        let running = start(Some(tls_config(cert.as_bytes(), key.as_bytes()).unwrap()), quick()).await;

        let mut garbage = connect(&running).await;
        garbage.write_all(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n").await.unwrap();
        until_closed(garbage).await;
        until_closed(connect(&running).await).await; // says nothing: the handshake has a deadline

        let mut one = handshake(&running, client.clone(), b"http/1.1").await;
        one.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(until_closed(one).await.ends_with("127.0.0.1"));

        let two = handshake(&running, client, b"h2").await;
        assert_eq!(two.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(two)).await.unwrap();
        let task = tokio::spawn(connection);
        let request = Request::get("https://127.0.0.1/peer").body(Body::empty()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
        // Idle HTTP/2 connections are told to go.
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections() {
    let (cert, key, old_client) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (new_cert, new_key, new_client) = tls_pair(&rcgen::PKCS_ED25519);
    let tls = watch::Sender::new(tls_config(cert.as_bytes(), key.as_bytes()).unwrap());
    let running = start_following(Some(tls.subscribe()), ServerLimits::default()).await;
    let mut kept = handshake(&running, old_client.clone(), b"http/1.1").await;
    assert!(get_on(&mut kept, "/peer").await.is_some());
    tls.send_replace(tls_config(new_cert.as_bytes(), new_key.as_bytes()).unwrap());
    assert!(get_on(&mut kept, "/peer").await.is_some(), "what exists stays");
    let mut fresh = handshake(&running, new_client, b"http/1.1").await;
    assert!(get_on(&mut fresh, "/peer").await.is_some());
    assert!(handshake_on(connect(&running).await, old_client, b"http/1.1").await.is_err());
}

#[test]
fn certificate_and_key_must_fit() {
    let (cert, key, _) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (_, other, _) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert!(tls_config(cert.as_bytes(), key.as_bytes()).is_ok());
    assert!(matches!(tls_config(cert.as_bytes(), other.as_bytes()), Err(TlsError::Pair(_))));
    assert!(matches!(tls_config(b"", key.as_bytes()), Err(TlsError::Certificate)));
    assert!(matches!(tls_config(cert.as_bytes(), b"x"), Err(TlsError::Key)));
}
