//! Who may do what.

pub mod mounts;
mod requester;
pub mod session;

pub use requester::Requester;
