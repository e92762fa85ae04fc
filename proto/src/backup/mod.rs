//! A copy of everything that a broker stores, sealed to people and signed by the broker (`docs/skb1.md`
//! section 16.80).
//!
//! ```text
//! backup  = "symbolon backup\n" ‖ LP32(head) ‖ piece × n ‖ 0(4) ‖ signature(64)
//! piece   = LP32(SealedBox of at most 256 KiB of plaintext)
//! the plaintexts joined = row × m,   row = LP(key) ‖ LP32(value), keys in ascending order
//!
//! head.rs    who made it, when, and who can open it       read.rs   bytes from anywhere ▶ rows
//! write.rs   rows ▶ bytes                                 shape.rs  lengths and contexts of pieces
//! ```
//!
//! The signature is over everything before it, ciphertext and not plaintext: anybody who knows the key of the
//! broker's log can tell whether a backup is whole and the broker's own, without being able to open it. A
//! recipient can tell without the key of the log that nothing was taken away, put in or moved, because each
//! piece is sealed for its number, its head, and whether it is the last.
//!
//! What is sealed is mostly ciphertext already. The seal keeps from a bucket's owner what a stolen disk would
//! show: counts, sizes, times of rows, the public seal record and the heads of the audit log.

mod head;
mod read;
mod shape;
mod write;

pub use head::{About, Head, HeadError, RECIPIENTS_MAX};
pub use read::{BackupError, BackupReader, Row, Whole};
pub use shape::{PIECE_BYTES, PREFIX};
pub use write::BackupWriter;

#[cfg(test)]
mod tests;
