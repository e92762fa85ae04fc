//! The Symbolon fragment service: holds one half of every key and answers one question.
//!
//! A broker sends blinded points, the service multiplies them by its scalar k and proves that it did
//! (`docs/skb1.md` 6.6). It learns neither what is opened nor what is in it; it decides who may ask, how
//! often, and whether at all. k is made here, is sealed at rest, and no interface returns it.
//!
//! ```text
//! server.rs      TLS 1.3 + X25519MLKEM768, mutual; HTTP/2; POST /skb1; limits
//! answer.rs      one frame in, one frame out: evaluate, hello, heartbeat, manifest, anchor
//! enrolment.rs   strangers wait, operators approve, manifests are signed
//! service.rs     state, and what the operator may ask;  admin.rs, cli/: how
//! orders.rs      what two officers order;  destruction.rs, tombstones.rs: gone for good;  epochs.rs: rotation
//! group/         keys that several services hold together: membership, ceremonies, manifests, escrow
//! tables/        brokers, keys;  disk.rs, sealing.rs: at rest;  evaluation_log.rs: counts, never content
//! ```
//!
//! As a library, for one process that runs everything:
//!
//! ```ignore
//! let service = Service::init(&dir, &Sealing::KeyFile(key_file), Options::default())?;
//! tokio::spawn(async move { service.serve(listener, shutdown).await });
//! ```

mod answer;
mod destruction;
mod enrolment;
mod epochs;
mod group;
mod hex;
mod orders;
mod rng;
mod status;
mod tombstones;

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod error;
pub mod evaluation_log;
pub mod identity;
pub mod quota;
pub mod report;
pub mod sealing;
pub mod server;
pub mod service;
pub mod tables;
pub mod tls;

pub use config::{Config, Destruction, Grants, Limits};
pub use error::{AdminError, ServiceError};
pub use quota::Quota;
pub use sealing::{PassphraseCost, Sealing};
pub use service::{Options, Service};

#[cfg(test)]
mod tests;
