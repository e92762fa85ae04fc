//! The listener: TLS 1.3, HTTP/2, one route, one frame in, one frame out.
//!
//! ```text
//! accept ─ handshake (place, deadline) ─┬─ known: a place of brokers ─┬─ HTTP/2 ─ POST /skb1
//!                                       └─ stranger: another place ───┘  ─ body (limit, deadline)
//!                                                                        ─ Service::answer
//! ```
//!
//! Everything has a bound: handshakes under way, connections of brokers and of strangers, header and body
//! bytes, streams, resets, idle time. Nothing that brokers need is taken before the peer's key is known, and
//! when places are all taken, whoever has the most of them gives way ([`symbolon_net::places`]).

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use symbolon_net::{Place, Places};
use symbolon_proto::frame::GROUP_REQUEST_BYTES_MAX;
use symbolon_proto::source::Source;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answer::Answer;
use crate::config::Limits;
use crate::peer::Peer;
use crate::state::Service;
use crate::tls::{ALPN, Anybody, SpkiHash, TlsError, server_config, spki_hash};

/// The one route.
pub const ROUTE: &str = "/skb1";

/// Largest request frame of a stranger, in bytes: a group proposal with 16 members has less.
pub const REQUEST_BYTES_MAX: usize = 4096;

const HEADER_BYTES_MAX: u32 = 4096;
const STREAMS_MAX: u32 = 64;
const BODY_DEADLINE: Duration = Duration::from_secs(5);
const STRANGER_IDLE: Duration = Duration::from_secs(10);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);
/// After so long a place can be taken away by somebody who has as many.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);
const STRANGER_PATIENCE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the listener ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The TLS configuration was refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listening socket failed.
    #[error("the listening socket failed")]
    Listener(#[source] io::Error),
    /// The admin socket could not be made.
    #[error("the admin socket could not be made in the state directory")]
    Admin(#[source] io::Error),
}

/// What the tasks of one listener share.
struct Listener {
    service: Arc<Service>,
    acceptor: TlsAcceptor,
    handshakes: Arc<Places<Source>>,
    strangers: Arc<Places<Source>>,
    connections: Arc<Semaphore>,
    /// Open connections of each broker that has any.
    brokers: Mutex<HashMap<SpkiHash, usize>>,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

/// Serves until `shutdown` resolves; then refuses new connections and lets requests under way finish.
pub(crate) async fn serve(
    service: Arc<Service>,
    socket: TcpListener,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let config = server_config(service.tls().certified_key()?, Anybody).map_err(TlsError::from)?;
    let (stop, stopping) = watch::channel(false);
    let listener = Arc::new(Listener {
        service,
        acceptor: TlsAcceptor::from(Arc::new(config)),
        handshakes: Places::new(limits.handshakes_max, HANDSHAKE_PATIENCE),
        strangers: Places::new(limits.strangers_max, STRANGER_PATIENCE),
        connections: Arc::new(Semaphore::new(limits.connections_max)),
        brokers: Mutex::default(),
        limits,
        stopping,
    });
    let mut tasks = JoinSet::new();
    tokio::select! {
        () = shutdown => {}
        never = listener.accept(&socket, &mut tasks) => match never {},
    }
    drop(socket);
    stop.send_replace(true);
    let drain = async { while tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_DEADLINE, drain).await.is_err() {
        tracing::warn!("connections that did not finish in time were cut");
        tasks.shutdown().await;
    }
    Ok(())
}

impl Listener {
    /// Takes what comes, for ever.
    async fn accept(self: &Arc<Self>, socket: &TcpListener, tasks: &mut JoinSet<()>) -> Infallible {
        loop {
            tokio::select! {
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                accepted = socket.accept() => match accepted {
                    Ok((stream, address)) => self.admit(stream, address, tasks),
                    // Out of file descriptors or a peer that left: neither is a reason to stop.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, address: SocketAddr, tasks: &mut JoinSet<()>) {
        let source = Source::of(Some(address.ip()));
        // Full: the connection is dropped at once. Waiting would only fill the kernel's queue instead.
        let Some(place) = self.handshakes.take(source) else { return };
        tasks.spawn(Arc::clone(self).connection(stream, source, place));
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, source: Source, place: Place<Source>) {
        // Failing to switch off Nagle costs time, nothing else.
        drop(stream.set_nodelay(true));
        let deadline = Duration::from_secs(self.limits.handshake_secs);
        let shaken = tokio::select! {
            shaken = timeout(deadline, self.acceptor.accept(stream)) => shaken,
            () = place.lost() => return,
        };
        let Ok(Ok(stream)) = shaken else { return };
        let Some(peer) = peer_of(&stream) else { return };
        drop(place);
        match self.service.knows(&peer) {
            true => self.broker(stream, peer).await,
            false => self.stranger(stream, peer, source).await,
        }
    }

    async fn broker(self: &Arc<Self>, stream: TlsStream<TcpStream>, peer: SpkiHash) {
        let Ok(_permit) = Arc::clone(&self.connections).try_acquire_owned() else { return };
        let Some(_seat) = Seat::take(self, peer) else { return };
        self.http(stream, peer, Duration::from_secs(self.limits.idle_secs)).await;
    }

    async fn stranger(&self, stream: TlsStream<TcpStream>, peer: SpkiHash, source: Source) {
        let Some(place) = self.strangers.take(source) else { return };
        tokio::select! {
            () = self.http(stream, peer, STRANGER_IDLE) => {}
            () = place.lost() => {}
        }
    }

    async fn http(&self, stream: TlsStream<TcpStream>, peer: SpkiHash, idle: Duration) {
        let started = Instant::now();
        let last_used = Arc::new(AtomicU64::new(0));
        let peer = Arc::new(Peer::new(peer));
        let answer = {
            let (service, last_used) = (Arc::clone(&self.service), Arc::clone(&last_used));
            service_fn(move |request| {
                let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                last_used.store(elapsed_ms, Ordering::Relaxed);
                let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
                async move { Ok::<_, Infallible>(respond(&service, &peer, request).await) }
            })
        };
        let connection = http2_bounds().serve_connection(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let mut stopping = self.stopping.clone();
        let mut ending = false;
        loop {
            let idle_end = started + Duration::from_millis(last_used.load(Ordering::Relaxed)) + idle;
            tokio::select! {
                // A peer that breaks the protocol or leaves is its own affair.
                _ = connection.as_mut() => return,
                _ = stopping.wait_for(|stop| *stop), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(idle_end) => {
                    let still = started + Duration::from_millis(last_used.load(Ordering::Relaxed)) + idle;
                    if still <= Instant::now() { return; }
                }
            }
        }
    }
}

fn http2_bounds() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(16)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// One of the connections that a broker may have. Given back on drop.
struct Seat {
    listener: Arc<Listener>,
    peer: SpkiHash,
}

impl Seat {
    fn take(listener: &Arc<Listener>, peer: SpkiHash) -> Option<Self> {
        let mut brokers = listener.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = brokers.entry(peer).or_default();
        if *open >= listener.limits.per_broker_max {
            return None;
        }
        *open += 1;
        Some(Self { listener: Arc::clone(listener), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut brokers = self.listener.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = brokers.get_mut(&self.peer) {
            *open -= 1;
            if *open == 0 {
                brokers.remove(&self.peer);
            }
        }
    }
}

fn peer_of(stream: &TlsStream<TcpStream>) -> Option<SpkiHash> {
    let (_, session) = stream.get_ref();
    // A client without ALPN gets this far; it does not speak HTTP/2 and is let go.
    if session.alpn_protocol() != Some(ALPN) {
        return None;
    }
    spki_hash(session.peer_certificates()?.first()?).ok()
}

async fn respond(
    service: &Arc<Service>,
    peer: &Arc<Peer>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.uri().path() != ROUTE {
        return status(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::POST {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let limit = if service.knows(&peer.spki) { GROUP_REQUEST_BYTES_MAX } else { REQUEST_BYTES_MAX };
    let frame = match read(request.into_body(), limit).await {
        Ok(frame) => frame,
        Err(code) => return status(code),
    };
    match service.answer(peer, frame).await {
        Answer::Frame(frame) => {
            let mut response = Response::new(Full::new(Bytes::from(frame)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            response
        }
        Answer::NotEnrolled => status(StatusCode::FORBIDDEN),
        Answer::NotAFrame => status(StatusCode::BAD_REQUEST),
        Answer::Busy => status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// The whole body, within its limit and in time.
async fn read(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match timeout(BODY_DEADLINE, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = code;
    response
}
