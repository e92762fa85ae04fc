//! The Symbolon broker: HTTP faces, TLS, store, fragment client and background tasks around `symbolon-core`.
#![doc = include_str!("../README.md")]

pub mod access;
pub mod alarms;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod check;
pub mod clock;
pub mod config;
pub mod custody;
pub mod dialect;
pub mod engines;
pub mod error;
pub mod faces;
pub mod fetch;
pub mod key_thread;
pub mod keys;
pub mod metrics;
pub mod ops;
pub mod place;
pub mod process;
pub mod random;
pub mod recovery;
pub mod reload;
pub mod remote;
pub mod rows;
pub mod run;
pub mod store;
#[cfg(test)]
mod testing;
pub mod upkeep;
pub mod wrapping;
