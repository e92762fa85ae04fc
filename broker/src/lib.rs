//! The Symbolon broker: HTTP faces, TLS, store, fragment client and background tasks around `symbolon-core`.

pub mod alarm;
pub mod anchor;
pub mod app;
pub mod background;
pub mod buckets;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod deployment;
pub mod fragment;
pub mod http;
pub mod keys;
pub mod log;
pub mod login_keys;
pub mod mounts;
pub mod open;
pub mod ops;
pub mod process;
pub mod random;
pub mod records;
pub mod run;
pub mod seal;
pub mod session;
pub mod signer;
pub mod store;
pub mod writer;
