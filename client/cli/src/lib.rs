#![doc = include_str!("../README.md")]

pub mod audit;
#[cfg(feature = "servers")]
pub mod demo;
pub mod eso;
#[cfg(feature = "servers")]
pub mod load;
mod operator;
#[cfg(feature = "servers")]
pub mod setup;
mod wiping;

pub use self::operator::*;
