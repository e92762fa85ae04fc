//! What a TPM 2.0 is told and what it says, as bytes; and what is kept of a key that is sealed in one.
//!
//! ```text
//! wire.rs     numbers and sized buffers, read to bounds
//! answers.rs  an answer taken apart, and what is in it
//! pcrs.rs     which PCRs, and their values
//! objects.rs  public areas of the objects that are used, and their names
//! kdf.rs      how keys of sessions are derived
//! policy.rs   digests of policies, and policies that somebody signed
//! binding.rs  what is kept
//! ```
//!
//! Section numbers are of "TPM 2.0 Library", parts 1 to 3.

pub mod answers;
mod binding;
pub mod kdf;
pub mod objects;
mod pcrs;
pub mod policy;
pub mod wire;

pub use binding::TpmBinding;
pub use pcrs::{PcrSet, PcrValues};
pub use wire::Malformed;

/// SHA-256 in a TPM's numbers.
pub const SHA256: u16 = 0x000b;
/// No algorithm.
pub const NULL: u16 = 0x0010;
/// Length of what SHA-256 makes.
pub const HASH: usize = 32;
/// A hash.
pub type Digest32 = [u8; HASH];
/// Longest command or answer: TPMs take 4096 bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// SHA-256 of pieces.
#[must_use]
pub fn hash(pieces: &[&[u8]]) -> Digest32 {
    use sha2::Digest as _;
    pieces.iter().fold(sha2::Sha256::new(), |all, piece| all.chain_update(piece)).finalize().into()
}
