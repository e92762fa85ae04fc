//! The acts, in order.

pub mod custody;
pub mod ending;
pub mod homelab;
pub mod identity;
pub mod kill_switch;
pub mod log;
pub mod opening;
