//! A TPM 2.0: a key that is sealed in it, and unsealed while the machine is in a state that is let through
//! (`docs/tpm.md`).
//!
//! ```text
//! settings.rs  what is configured
//! device.rs    the source: its calls, with a deadline
//! sealing.rs   a key sealed, and unsealed
//! policies.rs  policies that somebody signed, from their folder
//! commands.rs  the few commands that are needed
//! session.rs   a salted session: nothing secret crosses the bus in the clear
//! link.rs      bytes to a TPM and back
//! error.rs     what codes of a TPM mean, and who must act
//! ```

use super::Kind;

mod commands;
mod device;
mod error;
mod link;
mod policies;
mod sealing;
mod session;
mod settings;
#[cfg(test)]
mod tests;

/// The descriptor.
pub static KIND: Kind = Kind { name: "tpm", parse: device::parse };
