//! Keys that several nodes make and hold together (`docs/skb1.md` sections 6.7 and 16.13).

mod error;
mod public;
mod run;

pub use self::error::{DkgError, DkgFault, SetupError};
pub use self::public::GroupKey;
pub use self::run::{Dealers, RUN_BYTES, Run, RunError, RunKind};
use crate::group::{POINT_BYTES, SCALAR_BYTES};
use crate::manifest::NODES_MAX;

/// Bytes of a signature R ‖ z.
pub const SCHNORR_BYTES: usize = POINT_BYTES + SCALAR_BYTES;

/// Bytes of an encrypted share.
const CIPHERTEXT_BYTES: usize = SCALAR_BYTES + 16;
/// Bytes of the longest signed dealing, 16 of 16.
pub const DEALING_BYTES_MAX: usize = dealing_bytes(NODES_MAX as usize, NODES_MAX as usize);

/// Bytes of a signed dealing: commitments, proof, ephemeral key, framed ciphertexts, signature.
const fn dealing_bytes(commitments: usize, receivers: usize) -> usize {
    commitments * POINT_BYTES
        + SCHNORR_BYTES
        + POINT_BYTES
        + receivers * (8 + CIPHERTEXT_BYTES)
        + SCHNORR_BYTES
}
