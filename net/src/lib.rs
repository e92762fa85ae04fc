#![doc = include_str!("../README.md")]

pub mod certificate;
pub mod faults;
pub mod identity;
pub mod places;
pub mod process;
pub mod tls;

pub use identity::TlsIdentity;
pub use places::{Place, Places};
pub use tls::{SpkiHash, TlsError};
