//! The audit log.

pub mod index;
pub mod log;
pub mod retention;
pub mod sinks;
pub mod strangers;
pub mod writer;
