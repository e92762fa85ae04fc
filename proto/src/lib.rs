#![doc = include_str!("../README.md")]

pub mod anchor;
pub mod armour;
pub mod backup;
pub mod blind;
pub mod capsule;
pub mod card;
pub mod certificate;
pub mod codec;
pub mod context;
pub mod custodian;
pub mod custody;
pub mod dkg;
pub mod dleq;
pub mod evaluate;
pub mod fingerprint;
pub mod frame;
pub mod group;
pub mod hierarchy;
pub mod id;
mod key_pair;
pub mod key_state;
pub mod label;
mod lagrange;
pub mod lease;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod moment;
pub mod name;
pub mod order;
pub mod possession;
mod primitives;
pub mod proposal;
pub mod record;
pub mod remote_key;
pub mod sealedbox;
pub mod secret;
pub mod share;
pub mod signing;
pub mod source;
pub mod stretch;
#[cfg(feature = "timing")]
#[doc(hidden)]
pub mod timing;
pub mod xwing;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;

pub use zeroize::Zeroizing;
