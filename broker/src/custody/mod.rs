//! Custody: how a broker comes to its half of every key, and how it gives it up.
//!
//! ```text
//! init.rs            from nothing to a sealed deployment
//! initialising.rs    the one under way
//! enrolling.rs       asking the fragment services until their operators approve
//! made.rs            a deployment that is not in force yet
//! unseal/            from the custodians' shares to a session
//! seal/              the task that owns the seal state
//! ceremony/          what needs custodians on an open broker
//! app.rs             what a handler may reach
//! deployment.rs      network identity and log seed
//! places.rs          rows that there is one of
//! enrolment_rows.rs  whom this broker is enrolled with
//! sources/           what gives a share without a person
//! unattended/        asks them, when a ceremony does
//! escrow.rs          shares under the customer's key
//! ```

use crate::rows::Table;

mod app;
pub mod ceremony;
pub mod deployment;
mod enrolling;
pub mod enrolment_rows;
pub mod escrow;
pub mod init;
pub mod initialising;
mod made;
pub mod places;
pub mod seal;
pub mod sources;
pub mod unattended;
pub mod unseal;

pub use app::App;

/// Tables of this room.
pub const TABLES: &[Table] = &[ceremony::CEREMONIES, sources::registry::SOURCES];
