#![doc = include_str!("../README.md")]

mod answer;
mod destruction;
mod enrolment;
mod epochs;
mod group;
mod hex;
mod manifests;
mod operator;
mod orders;
mod orphans;
mod peer;
mod rng;
mod state;
mod status;
mod tombstones;

pub mod admin;
pub mod check;
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
