//! Who is at the other end of a connection.

use std::sync::atomic::AtomicU64;

use crate::tls::SpkiHash;

/// What a connection has shown so far.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Hash of its TLS key.
    pub(crate) spki: SpkiHash,
    /// Generation that its hello registered; 0 for none yet.
    pub(crate) generation: AtomicU64,
}

impl Peer {
    pub(crate) fn new(spki: SpkiHash) -> Self {
        Self { spki, generation: AtomicU64::new(0) }
    }
}
