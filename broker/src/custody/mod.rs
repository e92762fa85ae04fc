//! Custody.

pub mod alarm;
pub mod anchor;
pub mod ceremony;
pub mod deployment;
pub mod enrolment_rows;
pub mod escrow;
pub mod init;
pub mod seal;
pub mod unseal;
