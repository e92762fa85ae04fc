//! What no mount owns: mounts, policies, rotations, ceremonies, backups, the log.

pub mod audit;
pub mod backup;
pub mod ceremony;
pub mod custody;
pub mod follow;
pub mod mount;
pub mod policy;
pub mod retention;
pub mod root;
pub mod rotate;
pub mod rules;
pub mod seal;
mod shape;
pub mod sinks;

pub use shape::{SYSTEM, shape};

#[cfg(test)]
pub(crate) mod tests;
