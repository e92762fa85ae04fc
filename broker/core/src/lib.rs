//! What a Symbolon broker decides: seal state, keyring, policy, tokens, identity rules, versions, audit.
//!
//! Pure in the same sense as `symbolon-proto`: no I/O, clock, environment or runtime; `now` and `rng` are
//! arguments.

pub mod attempts;
pub mod audit;
pub mod carried;
pub mod change;
pub mod clock;
pub mod dead_man;
pub mod identity;
pub mod json;
pub mod keyring;
pub mod kv;
pub mod oauth;
pub mod path;
pub mod policy;
pub mod seal;
pub mod source;
pub mod token;
pub mod workload;
