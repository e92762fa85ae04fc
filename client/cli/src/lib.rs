//! What the `symbolon` binary is made of, and what the tests of whole systems share with it.
//!
//! A service needs none of this: its library is `symbolon`.

pub mod audit;
#[cfg(feature = "servers")]
pub mod demo;
pub mod eso;
#[cfg(feature = "servers")]
pub mod load;
mod operator;

pub use self::operator::*;
