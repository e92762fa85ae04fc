//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use symbolon_net::Place;
use symbolon_proto::source::Source;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Overdue, Watched};
use super::request::{Guest, answer};
use super::standing::House;
use super::tls::{Tls, channel};
use super::{Peer, ServerLimits};

/// Bytes of one HTTP/1 head, and of what is buffered of a body.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
const H2_STREAMS_MAX: u32 = 32;
const H2_PENDING_RESETS_MAX: usize = 20;
const H2_HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// The least that HTTP/2 allows for a connection (RFC 9113, 6.9.2).
const H2_WINDOW_BYTES: u32 = (1 << 16) - 1;
const H2_SEND_BUFFER_BYTES: usize = 32 << 10;
/// What rustls keeps of an answer that the peer does not read.
const TLS_BUFFER_BYTES: usize = 32 << 10;

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) tls: Option<watch::Receiver<Tls>>,
    pub(super) router: Router,
    pub(super) limits: ServerLimits,
    pub(super) house: Arc<House>,
    pub(super) closed: watch::Receiver<bool>,
}

impl Connection {
    pub(super) async fn run(self, stream: TcpStream, peer: Peer, place: Place<Source>) {
        // Answers are small and complete; waiting to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        // The certificate of this moment; a later one is for later connections.
        let Some(acceptor) = self.tls.as_ref().map(|tls| tls.borrow().clone()) else {
            let Some(guest) = self.let_in(peer, place).await else { return };
            return self.serve_http1(stream, guest).await;
        };
        let Some(mut stream) = self.shake_hands(&acceptor, stream, peer, &place).await else { return };
        let peer = Peer { channel: channel(stream.get_ref().1), ..peer };
        let Some(guest) = self.let_in(peer, place).await else { return };
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            true => self.serve_http2(stream, guest).await,
            false => self.serve_http1(stream, guest).await,
        }
    }

    async fn shake_hands(
        &self,
        acceptor: &Tls,
        stream: TcpStream,
        peer: Peer,
        place: &Place<Source>,
    ) -> Option<TlsStream<TcpStream>> {
        let shaken = tokio::select! {
            shaken = timeout(self.limits.handshake, acceptor.accept(stream)) => shaken,
            () = place.lost() => return None,
        };
        match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %peer.address, "TLS handshake took too long"),
        }
        None
    }

    /// The place of the handshake is kept until there is another one. Who loses it waits no longer, or those
    /// who wait would have no bound.
    async fn let_in(&self, peer: Peer, handshake: Place<Source>) -> Option<Guest> {
        let standing = tokio::select! {
            standing = self.house.enter(peer, self.limits.handshake) => standing?,
            () = handshake.lost() => return None,
        };
        Some(Guest { peer, standing })
    }

    async fn serve_http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, guest: Guest) {
        let activity = Activity::new(self.limits, true);
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // would also end idle connections; `Activity` tells the two apart
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, self.service(&guest, &activity));
        self.drive(pin!(connection), &guest, &activity).await;
    }

    async fn serve_http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, guest: Guest) {
        let activity = Activity::new(self.limits, false);
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_header_list_size(H2_HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(H2_WINDOW_BYTES)
            .initial_connection_window_size(H2_WINDOW_BYTES)
            .max_send_buf_size(H2_SEND_BUFFER_BYTES)
            .serve_connection(io, self.service(&guest, &activity));
        self.drive(pin!(connection), &guest, &activity).await;
    }

    /// Serves until the connection ends, by itself or because of us. Who is idle, or is served when the
    /// server stops, is asked to end; who is stuck or has lost the place is cut off.
    async fn drive(&self, mut it: Pin<&mut impl GracefulConnection>, guest: &Guest, activity: &Activity) {
        tokio::select! {
            _ = it.as_mut() => return,
            how = activity.overdue() => if how == Overdue::Stuck { return },
            () = guest.standing.lost() => return,
            () = closed(self.closed.clone()) => {}
        }
        it.as_mut().graceful_shutdown();
        tokio::select! {
            _ = it => {}
            () = activity.rests() => {}
        }
    }

    fn service(
        &self,
        guest: &Guest,
        activity: &Arc<Activity>,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future = impl Future<Output = Result<Response, Infallible>> + Send + use<>,
    > + use<> {
        let (router, limits) = (self.router.clone(), self.limits);
        let (guest, activity) = (guest.clone(), Arc::clone(activity));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let running = activity.begin();
            let (router, guest, activity) = (router.clone(), guest.clone(), Arc::clone(&activity));
            async move {
                let response = answer(router, request, &guest, limits, &activity).await;
                drop(running);
                Ok(response)
            }
        })
    }
}

async fn closed(mut closed: watch::Receiver<bool>) {
    // An error means that the server is gone, which is the same thing.
    let _ = closed.wait_for(|closed| *closed).await;
}
