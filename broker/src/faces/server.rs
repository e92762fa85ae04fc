//! The listener: TLS, HTTP/1.1 and HTTP/2, and every limit that holds before a request has a meaning.
//!
//! | What | Bound |
//! |---|---|
//! | handshakes | 256, each 10 s |
//! | connections | 768 of known peers, 192 of strangers, 64 of strangers on this machine |
//! | requests, those whose answers are not sent included | 128, 64 and 64 of the same |
//! | requests that wait for such a place, 5 s at most | 512, 64 and 64 of the same |
//! | bodies, counted four times, and unsent answers, of known peers | 16 MiB, a quarter for one source |
//! | head of a request | 10 s |
//! | silence between requests | 60 s |
//! | next part of an answer, 16 KiB | taken within 20 s |
//! | one request | 90 s; `init` has its own |
//! | heads | 64 headers, 32 KiB |
//! | HTTP/2 | 32 streams at once, 20 resets waiting, 16 KiB of headers, 64 KiB of bodies ahead of us |
//! | body | 32 MiB here; the routes allow far less |
//! | draining at shutdown | 10 s |
//!
//! A peer that breaks a limit loses its own connection and nothing else. When places are all taken, whoever
//! has the most of them gives way ([`symbolon_net::places`]), so nobody keeps others out. Garbage before TLS
//! (port scanners, PROXY protocol) ends that handshake only.

mod activity;
mod connection;
mod limits;
mod memory;
mod outgoing;
mod request;
mod standing;
mod tls;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::access::Channel;
use connection::Connection;
pub use limits::{HallLimits, ServerLimits};
use standing::House;
pub use standing::Ticket;
pub use tls::{Tls, TlsError, hybrid_only_tls_config, tls_config};

/// Pause after the operating system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is on the other end of the connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address as accepted by the listener. Forwarding headers are never looked at.
    pub address: SocketAddr,
    /// How the connection is kept; as after a handshake without TLS until there was one.
    pub channel: Channel,
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

/// Serves `router` until `stop` resolves, then drains. Without `tls` the listener must be on loopback; with
/// it, each new connection gets what it holds then.
pub async fn serve(
    listener: TcpListener,
    tls: Option<watch::Receiver<Tls>>,
    router: Router,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Unbound)?;
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::PlainHttp { address });
    }
    let (closing, closed) = watch::channel(false);
    let house = House::new(&limits);
    let connection = Connection { tls, router, limits, house, closed };
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let (stream, address) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let peer = Peer { address, channel: Channel::Local };
        let Some(place) = connection.house.handshake(peer) else { continue };
        tasks.spawn(connection.clone().run(stream, peer, place));
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
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
