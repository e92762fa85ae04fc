//! What no mount owns: mounts, policies, rotations, ceremonies, the log.

pub mod app;
pub mod audit;
pub mod ceremony;
pub mod mount;
pub mod policy;
pub mod rotate;
pub mod rules;
pub mod seal;
pub mod unrouted;

pub use app::App;

#[cfg(test)]
pub(crate) mod tests;
