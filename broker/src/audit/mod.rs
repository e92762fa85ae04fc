//! The audit log.

pub mod log;
pub mod strangers;
pub mod writer;
