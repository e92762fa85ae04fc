//! What the signatures and the encryption of a run are bound to.

use sha2::{Digest, Sha512};

use super::run::Run;
use crate::group::Point;
use crate::label;

/// The name of the ciphersuite, part of every context and transcript.
pub(super) const CIPHERSUITE: &[u8] = b"COCKTAIL(Ristretto255, SHA-512)";

/// "SKB1/run" ‖ run ‖ R_1 … R_n; without the keys before they are known.
pub(super) fn session_id(run: &Run, receive_keys: &[Point]) -> Vec<u8> {
    let mut id = [label::RUN, &run.to_bytes()].concat();
    receive_keys.iter().for_each(|key| id.extend(key.as_bytes()));
    id
}

/// SHA-512("COCKTAIL-DKG-CONTEXT" ‖ len(id) ‖ id ‖ len(suite) ‖ suite ‖ n ‖ P_1 … P_n): lengths in eight
/// big-endian bytes, n in four little-endian ones.
pub(super) fn context(session_id: &[u8], receivers: &[Point]) -> [u8; 64] {
    let mut hash = Sha512::new_with_prefix(label::COCKTAIL_CONTEXT);
    for field in [session_id, CIPHERSUITE] {
        hash.update(len64(field).to_be_bytes());
        hash.update(field);
    }
    hash.update(len32(receivers).to_le_bytes());
    for receiver in receivers {
        hash.update(receiver.as_bytes());
    }
    hash.finalize().into()
}

pub(super) fn len64(field: &[u8]) -> u64 {
    u64::try_from(field.len()).expect("fields of a run are bounded")
}

pub(super) fn len32<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).expect("at most 16 participants")
}
