//! Transport security, as broker and service have agreed on it: `symbolon-net`.
//!
//! At this level anybody with a well-formed certificate is let in whose handshake proves possession of its
//! key; what a peer may say is decided by whether the hash of that key is enrolled (`service.rs`).

pub use symbolon_net::identity::TlsIdentity;
pub use symbolon_net::tls::{ALPN, Anybody, SpkiHash, TlsError, provider, server_config, spki_hash};
