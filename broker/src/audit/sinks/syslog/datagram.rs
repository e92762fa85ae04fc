//! UDP and Unix sockets: one datagram for each message. A Unix socket says whether the peer's queue has taken
//! it, UDP nothing at all; what a datagram costs that is lost, nobody is told.

use std::io;

use tokio::net::{UdpSocket, UnixDatagram, lookup_host};
use tokio::time::timeout;

use super::message::Origin;
use super::{Settings, Transport};
use crate::audit::sinks::{Line, Patience, Peer, Sending, Sent, SinkError};

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

struct DatagramPeer {
    socket: Socket,
    origin: Origin,
    patience: Patience,
}

pub(super) async fn connect(settings: &Settings, patience: Patience) -> Result<Box<dyn Peer>, SinkError> {
    let socket = match settings.transport {
        Transport::Unix => unix(&settings.to),
        _ => timeout(patience.connect, udp(&settings.to)).await.unwrap_or_else(|_| Err(late())),
    };
    let socket = socket.map_err(|error| SinkError::Unreachable(error.to_string()))?;
    Ok(Box::new(DatagramPeer { socket, origin: settings.origin(), patience }))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the name is not resolved in time")
}

fn unix(path: &str) -> io::Result<Socket> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(Socket::Unix(socket))
}

async fn udp(to: &str) -> io::Result<Socket> {
    let address = lookup_host(to).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let own = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    Ok(Socket::Udp(socket))
}

impl Socket {
    async fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(message).await,
            Self::Unix(socket) => socket.send(message).await,
        }
    }
}

impl Peer for DatagramPeer {
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        Box::pin(async move {
            let after = self.patience.answer;
            for line in lines {
                let message = self.origin.message(line);
                let sent = timeout(after, self.socket.send(message.as_bytes())).await;
                let sent = sent.map_err(|_| SinkError::Silent { what: "take a message", after })?;
                sent.map_err(|error| SinkError::Broken(error.to_string()))?;
            }
            Ok(Sent::default())
        })
    }
}
