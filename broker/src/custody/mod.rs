//! Custody.

use crate::rows::Table;

pub mod alarm;
pub mod anchor;
mod app;
pub mod ceremony;
pub mod deployment;
pub mod enrolment_rows;
pub mod escrow;
pub mod init;
pub mod seal;
pub mod unseal;

pub use app::App;

/// Tables of this room.
pub const TABLES: &[Table] = &[ceremony::CEREMONIES];
