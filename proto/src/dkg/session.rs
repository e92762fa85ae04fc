//! A run in which every receiver has shown the key that its shares are sealed to.

use sha2::{Digest, Sha512};

use super::GroupKey;
use super::roster::{Dealer, index_of};
use super::run::RunKind;
use crate::group::Point;
use crate::label;

/// The name of the ciphersuite, part of every context and transcript.
pub(super) const CIPHERSUITE: &[u8] = b"COCKTAIL(Ristretto255, SHA-512)";

/// One run with its participants: who deals, who receives with which key, under which context. Public; the
/// same at every participant and at the broker. Made by [`super::Roster::session`].
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) kind: RunKind,
    pub(super) context: [u8; 64],
    pub(super) threshold: u16,
    pub(super) dealers: Vec<Dealer>,
    /// P of each receiver: who it is.
    pub(super) receivers: Vec<Point>,
    /// R of each receiver: what its shares are sealed to.
    pub(super) receive_keys: Vec<Point>,
    pub(super) base: Option<GroupKey>,
    /// What the transcript says besides the messages.
    pub(super) extension: Vec<u8>,
}

impl Session {
    /// How many nodes deal.
    pub const fn dealers(&self) -> usize {
        self.dealers.len()
    }

    /// How many nodes get a share.
    pub const fn receivers(&self) -> usize {
        self.receivers.len()
    }

    /// The index under which the node with this static key receives a share, from 1.
    pub fn receiver_index(&self, key: &Point) -> Option<u16> {
        index_of(&self.receivers, key)
    }

    pub(super) fn dealer(&self, key: &Point) -> Option<&Dealer> {
        self.dealers.iter().find(|dealer| dealer.key == *key)
    }

    /// Whether dealt polynomials have no constant term.
    pub(super) const fn without_constant(&self) -> bool {
        matches!(self.kind, RunKind::Refresh)
    }

    /// How many commitments a dealing has: exactly as many, or a dealer could raise the threshold.
    pub(super) fn commitments(&self) -> usize {
        usize::from(self.threshold) - usize::from(self.without_constant())
    }
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
