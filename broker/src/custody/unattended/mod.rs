//! Unattended: a sealed broker asks its sources for their shares, and gives them as people give theirs.
//!
//! ```text
//! state of the seal ──asking──▶ device gives the key ──▶ key file opens ──▶ envelope opens ──▶ share, sealed
//! to the ceremony key ──▶ the desk, which checks it as everybody's
//!
//! asking.rs    what a ceremony asks of a source
//! keeper.rs    asks all of them, each for itself, for as long as it takes
//! renewing.rs  follows devices whose keys change
//! journal.rs   what is known of each
//! ```

mod asking;
pub mod journal;
mod keeper;
mod renewing;
#[cfg(test)]
mod tests;

pub use keeper::Keeper;
