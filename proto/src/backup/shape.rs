//! Lengths of a backup's parts, and what each piece is sealed for.

use sha2::{Digest, Sha256};

use crate::codec::Writer;
use crate::label;
use crate::sealedbox::OVERHEAD_BYTES;

/// What every backup begins with.
pub const PREFIX: &[u8; 16] = b"symbolon backup\n";
/// Most plaintext bytes of a piece.
pub const PIECE_BYTES: usize = 256 << 10;

pub(super) const SEALED_PIECE_BYTES_MAX: usize = PIECE_BYTES + OVERHEAD_BYTES;
/// Longest row key in bytes. Stores have shorter ones.
pub(super) const KEY_BYTES_MAX: usize = 4096;
/// Longest value in bytes. Stores have shorter ones.
pub(super) const VALUE_BYTES_MAX: usize = 32 << 20;

/// What the pieces of one backup are sealed for: all of its head.
#[derive(Clone, Copy)]
pub(super) struct Binding([u8; 32]);

impl Binding {
    pub(super) fn of(head: &[u8]) -> Self {
        Self(Sha256::digest(head).into())
    }

    /// LP(label) ‖ SHA-256(head) ‖ number(8) ‖ last(1).
    pub(super) fn piece(self, number: u64, is_last: bool) -> Vec<u8> {
        let mut context = Writer::with_capacity(64);
        context.lp(label::CONTEXT_BACKUP).bytes(&self.0).u64(number).u8(is_last.into());
        context.finish()
    }
}

/// What the broker signs: label ‖ SHA-256(everything before the signature).
pub(super) fn signed_bytes(all: Sha256) -> Vec<u8> {
    [label::BACKUP, &all.finalize()].concat()
}
