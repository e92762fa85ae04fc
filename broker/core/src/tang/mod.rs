//! Keys that a Tang server helps to open, as clevis keeps them.
//!
//! A Tang server holds a private key and computes with it for everybody who reaches it. Whoever has what is
//! kept here and does not reach the server has nothing; the server has seen neither the key nor what opens.
//!
//! ```text
//! error.rs          why something is not used
//! point.rs          points of P-521 from outside
//! thumbprint.rs     names of keys; what is pinned
//! key.rs            keys as servers write them
//! signature.rs      ES512, and who signed
//! advertisement.rs  the keys of a server, signed
//! exchange.rs       McCallum-Relyea
//! derive.rs         the key from the exchange
//! head.rs           the header of what is kept
//! jwe.rs            what is kept: sealing and opening
//! ```

mod advertisement;
mod derive;
mod error;
mod exchange;
mod head;
mod jwe;
mod key;
mod point;
mod signature;
#[cfg(test)]
pub(crate) mod tests;
mod thumbprint;

pub use self::advertisement::{ADVERTISEMENT_BYTES_MAX, Advertisement};
pub use self::error::TangError;
pub use self::jwe::{JWE_BYTES_MAX, Jwe, Question, seal};
pub use self::thumbprint::{Thumbprint, ThumbprintError};
