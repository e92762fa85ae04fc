#![doc = include_str!("../README.md")]

pub mod attempts;
pub mod audit;
pub mod clock;
pub mod dead_man;
pub mod identity;
pub mod inherited_keys;
pub mod json;
pub mod keyring;
pub mod kv;
pub mod oauth;
pub mod path;
pub mod policy;
pub mod seal;
pub mod succession;
pub mod token;
pub mod workload;
