//! Backups: everything that is stored, of one moment, sealed to people ([`symbolon_proto::backup`]), on its
//! way to a place, and back from it.
//!
//! ```text
//! open broker   snapshot ─▶ making.rs ─▶ place.rs (directory, bucket) ─▶ read back ─▶ the oldest pruned
//!                                    └─▶ whoever asked for it, as it is made
//! elsewhere     place.rs or a file ─▶ checking.rs: whole, and whose? ─▶ restoring.rs ─▶ a store
//!
//! kept.rs       names of backups, and which of them are pruned
//! journal.rs    what is known of the last one, and that there is one at a time
//! ```
//!
//! The rows go into a backup as they lie in the store: ciphertext. Restoring needs a recipient's key and
//! opens nothing; the store that comes out of it starts sealed, like the broker's own.

pub mod checking;
pub mod journal;
pub mod kept;
pub mod making;
pub mod place;
pub mod restoring;

pub use journal::{Backups, Known, Made};

#[cfg(test)]
mod tests;
