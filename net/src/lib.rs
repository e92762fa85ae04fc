#![doc = include_str!("../README.md")]

pub mod identity;
pub mod process;
pub mod tls;

pub use identity::TlsIdentity;
pub use tls::{SpkiHash, TlsError};
