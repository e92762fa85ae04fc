//! The listener: TLS, HTTP/1.1 and HTTP/2, and every limit that holds before a request has a meaning.
//!
//! | What | Bound |
//! |---|---|
//! | connections | [`ServerLimits::connections_max`], and half of that from one address |
//! | TLS handshake, head of a request | 10 s each |
//! | silence between requests, or a reader that takes nothing | 60 s |
//! | one request | 90 s; `init` has its own |
//! | heads | 64 headers, 32 KiB |
//! | HTTP/2 | 128 streams at once, 20 resets waiting, 16 KiB of headers |
//! | body | 32 MiB here; the routes allow far less |
//! | draining at shutdown | 10 s |
//!
//! A peer that breaks a limit loses its own connection and nothing else. Garbage before TLS (port scanners,
//! PROXY protocol) ends that handshake only.

mod limits;
mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

pub use limits::ServerLimits;
use limits::{Activity, PeerSlots, Watched};
pub use tls::{TlsError, tls_config};

/// Bytes of one HTTP/1 head, and of what is buffered of a body.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
/// Deadline of the one patient request; its own configured bound is shorter.
const PATIENCE: Duration = Duration::from_secs(3600);
const H2_STREAMS_MAX: u32 = 128;
const H2_PENDING_RESETS_MAX: usize = 20;
const H2_HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
const H2_WINDOW_BYTES: u32 = 1 << 20;
const H2_SEND_BUFFER_BYTES: usize = 256 << 10;

/// Who is on the other end of the connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address as accepted by the listener. Forwarding headers are never looked at.
    pub address: SocketAddr,
}

impl Peer {
    /// The address without port, IPv4 as IPv4.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// Why a listener cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Plain HTTP was asked for on an address that others can reach.
    #[error("plain HTTP is served on loopback only; {address} needs a certificate")]
    PlainHttp {
        /// The refused address.
        address: SocketAddr,
    },
    /// The listener does not know its own address.
    #[error("the listener is not bound")]
    Unbound(#[source] std::io::Error),
}

/// Serves `router` until `stop` resolves, then drains. Without `tls` the listener must be on loopback.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Unbound)?;
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::PlainHttp { address });
    }
    let (closing, closed) = watch::channel(false);
    let connection = Connection { acceptor: tls.map(TlsAcceptor::from), router, limits, closed };
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let peers = PeerSlots::new(limits.connections_max / 2 + 1);
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let (stream, address) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let Some(slot) = peers.take(address.ip()) else { continue };
        let connection = connection.clone();
        tasks.spawn(async move {
            connection.run(stream, Peer { address }).await;
            drop((permit, slot));
        });
    }
    drop(listener);
    closing.send_replace(true);
    let drained = timeout(limits.drain, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = tasks.len(), "closed connections that did not finish in time");
        tasks.shutdown().await;
    }
    Ok(())
}

/// Accepts the next connection. Errors here are the machine's (too many open files) or the peer's (gone
/// already).
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Connection {
    acceptor: Option<TlsAcceptor>,
    router: Router,
    limits: ServerLimits,
    closed: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, peer: Peer) {
        // Answers are small and complete; waiting to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.acceptor.clone() else {
            return self.serve_http1(stream, peer).await;
        };
        match timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.serve_http2(stream, peer).await;
            }
            Ok(Ok(stream)) => self.serve_http1(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %peer.address, "TLS handshake took too long"),
        }
    }

    async fn serve_http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let activity = Activity::new(self.limits, true);
        let io = TokioIo::new(Watched::new(stream, activity.clone()));
        let service = self.service(peer, activity.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // would also end idle connections; `Activity` tells the two apart
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = activity.expired() => return, // nothing is under way, or only half a head
            () = closed(self.closed.clone()) => {}
        }
        connection.as_mut().graceful_shutdown();
        finish(connection, activity).await;
    }

    async fn serve_http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let activity = Activity::new(self.limits, false);
        let io = TokioIo::new(Watched::new(stream, activity.clone()));
        let service = self.service(peer, activity.clone());
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_header_list_size(H2_HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(H2_WINDOW_BYTES)
            .initial_connection_window_size(H2_WINDOW_BYTES)
            .max_send_buf_size(H2_SEND_BUFFER_BYTES)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = activity.expired() => {}
            () = closed(self.closed.clone()) => {}
        }
        connection.as_mut().graceful_shutdown();
        finish(connection, activity).await;
    }

    fn service(
        &self,
        peer: Peer,
        activity: Arc<Activity>,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future = impl Future<Output = Result<Response, Infallible>> + Send + use<>,
    > + use<> {
        let (router, limits) = (self.router.clone(), self.limits);
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let running = activity.begin();
            let router = router.clone();
            async move {
                let response = answer(router, request, peer, limits).await;
                drop(running);
                Ok(response)
            }
        })
    }
}

/// Gives one request its peer, its body limit and its deadline.
async fn answer(router: Router, request: Request<Incoming>, peer: Peer, limits: ServerLimits) -> Response {
    let head_only = request.method() == axum::http::Method::HEAD;
    let mut request =
        request.map(|body| Body::new(http_body_util::Limited::new(body, limits.body_bytes_max)));
    request.extensions_mut().insert(peer);
    let deadline = if request.uri().path() == super::PATIENT_PATH { PATIENCE } else { limits.request };
    let mut response = match timeout(deadline, router.oneshot(request)).await {
        Ok(answered) => answered.unwrap_or_else(|never| match never {}),
        Err(_) => too_slow(),
    };
    if head_only {
        *response.body_mut() = Body::empty();
    }
    response
}

fn too_slow() -> Response {
    let mut response = Response::new(Body::from(r#"{"errors":["the request took too long"]}"#));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let json = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

async fn closed(mut closed: watch::Receiver<bool>) {
    // An error means that the server is gone, which is the same thing.
    let _ = closed.wait_for(|closed| *closed).await;
}

/// Lets a connection that was asked to end do so, unless it has nothing under way and still lingers.
async fn finish(connection: impl Future, activity: Arc<Activity>) {
    tokio::select! {
        _ = connection => {}
        () = activity.lingers() => {}
    }
}

#[cfg(test)]
mod tests;
