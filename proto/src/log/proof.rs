//! Proof that one entry is in a log, as a text that stands alone (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra base64(the entry)
//! index decimal
//! base64(hash), from the entry's sibling up, one a line
//!
//! the signed checkpoint
//! ```
//!
//! The extra data is the entry itself, so that whoever has the file and the log's key has all that it takes.
//! It is believed only because its hash leads to the signed root.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::entry::{ENTRY_BYTES_MAX, Entry, EntryError};
use super::note::{NOTE_BYTES_MAX, VerifierKey};
use super::tree::{Hash, PROOF_HASHES_MAX, ProofError, verify_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Most bytes of a proof.
pub const PROOF_BYTES_MAX: usize = 2 * ENTRY_BYTES_MAX + 64 * PROOF_HASHES_MAX + NOTE_BYTES_MAX;

/// A proof as it was written. It proves something when [`EntryProof::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// The entry's wire form.
    pub entry: Vec<u8>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// From the entry's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEntry {
    /// The entry. Its detail is sealed.
    pub entry: Entry,
    /// Its leaf hash, which events have as their `hash`.
    pub hash: Hash,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

/// Why a text proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProofError {
    /// Not of the form.
    #[error("expected a proof as c2sp.org/tlog-proof@v1 has it, with the entry as its extra data")]
    Layout,
    /// The checkpoint is not one, or not signed by the key.
    #[error("the checkpoint does not hold")]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead to its root.
    #[error("the entry is not in the log that the checkpoint is of")]
    Proof(#[from] ProofError),
    /// The entry is in the log, and is none.
    #[error("the entry that is in the log is not readable as one")]
    Entry(#[from] EntryError),
    /// It says that it is another one.
    #[error("the entry at {index} says that it is entry {found}")]
    Index {
        /// Where it is.
        index: u64,
        /// What it says.
        found: u64,
    },
}

impl EntryProof {
    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![
            FIRST_LINE.to_owned(),
            format!("extra {}", STANDARD.encode(&self.entry)),
            format!("index {}", self.index),
        ];
        lines.extend(self.hashes.iter().map(|hash| STANDARD.encode(hash.as_bytes())));
        format!("{}\n\n{}", lines.join("\n"), self.checkpoint)
    }

    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, EntryProofError> {
        Self::read(text).ok_or(EntryProofError::Layout)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > PROOF_BYTES_MAX {
            return None;
        }
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let entry = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
        let number = lines.next()?.strip_prefix("index ")?;
        let index: u64 = number.parse().ok()?;
        let hash = |line: &str| Some(Hash::from_bytes(STANDARD.decode(line).ok()?.try_into().ok()?));
        let hashes = lines.map(hash).collect::<Option<Vec<_>>>()?;
        let is_plain = index.to_string() == number && hashes.len() <= PROOF_HASHES_MAX;
        is_plain.then(|| Self { entry, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// That the entry is in the log which `key` signs.
    pub fn verify(&self, key: &VerifierKey) -> Result<ProvenEntry, EntryProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let hash = Entry::leaf_hash(&self.entry);
        verify_inclusion(self.index, checkpoint.size, &hash, &self.hashes, &checkpoint.root)?;
        let entry = Entry::decode(&self.entry)?;
        match entry.index == self.index {
            true => Ok(ProvenEntry { entry, hash, checkpoint }),
            false => Err(EntryProofError::Index { index: self.index, found: entry.index }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::id::BrokerId;
    use crate::log::tree::{leaf_hash, node_hash};
    use crate::log::{Action, NoteSigner, Outcome};
    use crate::secret::Secret;
    use crate::signing::SigningSeed;

    fn signer(seed: u8) -> NoteSigner {
        NoteSigner::new("o", SigningSeed::from_secret(Secret::filled_by(|out| out.fill(seed)))).unwrap()
    }

    fn entry(index: u64) -> Vec<u8> {
        let (action, outcome, broker) = (Action::SecretRead, Outcome::Allowed, BrokerId::from_bytes([1; 16]));
        Entry { index, time_ms: 7, action, outcome, broker, detail: vec![9; 50] }.encode().unwrap()
    }

    /// Of the second entry of two.
    fn proof() -> EntryProof {
        let leaves = [leaf_hash(&entry(0)), leaf_hash(&entry(1))];
        let checkpoint = Checkpoint::sign(2, node_hash(&leaves[0], &leaves[1]), &signer(1));
        EntryProof { entry: entry(1), index: 1, hashes: vec![leaves[0]], checkpoint }
    }

    #[test]
    fn a_proof_is_read_and_holds_and_no_altered_one_does() {
        let (proof, key) = (proof(), signer(1).verifier().clone());
        let text = proof.text();
        assert_eq!(EntryProof::parse(&text).as_ref(), Ok(&proof));
        let proven = proof.verify(&key).unwrap();
        assert_eq!((proven.entry.index, proven.checkpoint.size), (1, 2));
        assert_eq!(proven.hash, leaf_hash(&entry(1)));
        assert!(matches!(proof.verify(signer(2).verifier()), Err(EntryProofError::Checkpoint(_))));
        for wrong in [
            EntryProof { entry: entry(0), ..proof.clone() },
            EntryProof { index: 0, ..proof.clone() },
            EntryProof { index: 2, ..proof.clone() },
            EntryProof { hashes: Vec::new(), ..proof.clone() },
            EntryProof { hashes: vec![Hash::EMPTY_ROOT], ..proof.clone() },
        ] {
            assert!(wrong.verify(&key).is_err(), "{wrong:?}");
        }
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            let altered =
                String::from_utf8(bytes).map(|text| EntryProof::parse(&text).map(|it| it.verify(&key)));
            assert!(!matches!(altered, Ok(Ok(Ok(_)))), "a change at {place} goes unnoticed");
        }
    }

    #[test]
    fn only_one_spelling_is_a_proof() {
        let text = proof().text();
        for wrong in [
            text.replace("@v1", "@v2"),
            text.replace("index 1", "index 01"),
            text.replace("index 1", "index +1"),
            text.replace("extra ", "extra  "),
            text.replacen("\n\n", "\n", 1),
            text.replace("extra", "other"),
            String::new(),
        ] {
            assert!(EntryProof::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
