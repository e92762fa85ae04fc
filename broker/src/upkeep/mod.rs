//! Upkeep.

pub mod group;
pub mod heartbeat;
pub mod rotation;
