//! What broker and fragment service share beneath SKB1: their TLS, and what a process does before it holds a
//! key.
//!
//! Both ends of a connection must agree on the first, and both servers do the second. Nothing here opens a
//! socket.

pub mod identity;
pub mod process;
pub mod tls;

pub use identity::TlsIdentity;
pub use tls::{SpkiHash, TlsError};
