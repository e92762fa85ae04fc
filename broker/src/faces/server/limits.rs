//! Bounds of a server.

use std::time::Duration;

/// Bounds of a server. The defaults are the ones that the broker runs with: 1,280 sockets in all.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// TLS handshakes under way.
    pub handshakes_max: usize,
    /// Peers of whom nothing is known yet.
    pub strangers: HallLimits,
    /// The same, on this machine: whoever operates the broker.
    pub operators: HallLimits,
    /// Peers that were allowed something on their connection.
    pub known: HallLimits,
    /// Bytes of bodies under way and of answers that are not sent yet, of known peers together. What others
    /// may have is bounded by their requests.
    pub memory_bytes_max: usize,
    /// How long a request waits for a place, or for memory, before it is refused.
    pub wait: Duration,
    /// After so long a place can be taken away by somebody who has as many.
    pub patience: Duration,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the head of a request, from its first byte; for the first request, from the handshake.
    pub head: Duration,
    /// Time that a connection may stay without a request.
    pub idle: Duration,
    /// Time for a request from head to answer.
    pub request: Duration,
    /// Time in which a peer must take the next part of each answer.
    pub answer: Duration,
    /// Time for open requests at shutdown.
    pub drain: Duration,
    /// Bytes of any request body.
    pub body_bytes_max: usize,
}

/// What peers of one kind may have together. Nothing of it is lent to those of another.
#[derive(Clone, Copy, Debug)]
pub struct HallLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Requests under way at once; one whose answer is not sent yet is under way.
    pub requests_max: usize,
    /// Requests at once that wait for one of those places; further ones are refused.
    pub waiting_max: usize,
}

impl ServerLimits {
    /// Sockets at most.
    #[must_use]
    pub const fn sockets_max(&self) -> usize {
        let halls = [self.strangers, self.operators, self.known];
        self.handshakes_max + halls[0].connections_max + halls[1].connections_max + halls[2].connections_max
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            handshakes_max: 256,
            strangers: HallLimits { connections_max: 192, requests_max: 64, waiting_max: 64 },
            operators: HallLimits { connections_max: 64, requests_max: 64, waiting_max: 64 },
            known: HallLimits { connections_max: 768, requests_max: 128, waiting_max: 512 },
            memory_bytes_max: 16 << 20,
            wait: Duration::from_secs(5),
            patience: Duration::from_secs(1),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            request: Duration::from_secs(90),
            answer: Duration::from_secs(20),
            drain: Duration::from_secs(10),
            body_bytes_max: 32 << 20,
        }
    }
}
