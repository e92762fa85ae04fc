//! Whole systems, faults and real clients against Symbolon: one integration binary.
//!
//! Everything here is a test; nothing depends on this crate.

#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod absence;
mod audit;
mod auditing;
mod backups;
mod ceremony;
mod change;
mod cubbyhole;
mod dead_man;
mod dependencies;
mod differential;
mod disk;
mod eso;
mod events;
mod examples;
mod go;
mod group;
mod histories;
mod hvac;
mod init;
mod kv_v1;
mod kv_v2;
mod logins;
mod matrix;
mod memory;
mod metrics;
mod nodes;
mod power_cut;
mod recorded;
mod remote;
mod retention;
mod rollback;
mod root_token;
mod routes;
mod rows;
mod seal;
mod selfplay;
mod sinks;
mod site;
mod strangers;
mod surface;
mod system;
mod tools;
mod userpass;
mod wrapping;
