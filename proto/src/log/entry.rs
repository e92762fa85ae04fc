//! One line of the audit log, as it is hashed and stored.
//!
//! ```text
//! format(1)=1 ‖ index(8) ‖ time_ms(8) ‖ action(1) ‖ outcome(1) ‖ broker_id(16) ‖ length(4) ‖ detail
//! ```
//!
//! The head is readable by anyone who holds the log. `detail` is a SealedBox under the audit key: who, what
//! and from where, opaque to this module and to anyone without that key. The leaf of the Merkle tree is the
//! RFC 6962 leaf hash of the whole entry, so a verifier needs no key.

use super::action::{Action, Outcome};
use super::tree::{self, Hash};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::BrokerId;

/// Longest entry in bytes: entry bundles have 16-bit lengths (C2SP tlog-tiles).
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Bytes before the detail.
pub const ENTRY_HEAD_BYTES: usize = 39;
/// Longest sealed detail in bytes.
pub const ENTRY_DETAIL_BYTES_MAX: usize = ENTRY_BYTES_MAX - ENTRY_HEAD_BYTES;

const FORMAT: u8 = 1;

/// An entry with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place in the log, from 0.
    pub index: u64,
    /// When it was written, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was asked for.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// The node that wrote it.
    pub broker: BrokerId,
    /// Sealed detail.
    pub detail: Vec<u8>,
}

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not the layout.
    #[error("the entry is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("entry format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// An action that does not exist yet.
    #[error("action {found} is not known to this version")]
    Action {
        /// The number.
        found: u8,
    },
    /// An outcome that does not exist.
    #[error("outcome {found} is not known to this version")]
    Outcome {
        /// The number.
        found: u8,
    },
    /// More detail than an entry holds.
    #[error("{found} bytes of detail in an entry, which holds at most {ENTRY_DETAIL_BYTES_MAX}")]
    TooLong {
        /// Bytes of detail.
        found: usize,
    },
}

impl Entry {
    /// Its wire form.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        if self.detail.len() > ENTRY_DETAIL_BYTES_MAX {
            return Err(EntryError::TooLong { found: self.detail.len() });
        }
        let mut writer = Writer::with_capacity(ENTRY_HEAD_BYTES + self.detail.len());
        writer.u8(FORMAT).u64(self.index).u64(self.time_ms);
        writer.u8(self.action.as_u8()).u8(self.outcome.as_u8());
        writer.bytes(self.broker.as_bytes()).lp32(&self.detail);
        Ok(writer.finish())
    }

    /// Reads the wire form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(EntryError::Format { found: format });
        }
        let (index, time_ms) = (reader.u64()?, reader.u64()?);
        let (action, outcome) = (reader.u8()?, reader.u8()?);
        let action = Action::from_u8(action).ok_or(EntryError::Action { found: action })?;
        let outcome = Outcome::from_u8(outcome).ok_or(EntryError::Outcome { found: outcome })?;
        let broker = BrokerId::from_bytes(reader.array()?);
        let detail = reader.lp32(ENTRY_DETAIL_BYTES_MAX)?.to_vec();
        reader.finish()?;
        Ok(Self { index, time_ms, action, outcome, broker, detail })
    }

    /// Leaf hash of an entry's wire form.
    #[must_use]
    pub fn leaf_hash(encoded: &[u8]) -> Hash {
        tree::leaf_hash(encoded)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entry(detail: Vec<u8>) -> Entry {
        Entry {
            index: 7,
            time_ms: 1_790_000_000_000,
            action: Action::SecretRead,
            outcome: Outcome::Denied,
            broker: BrokerId::from_bytes([9; 16]),
            detail,
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        let bytes = entry(vec![0xAA, 0xBB]).encode().unwrap();
        let expected = [
            "01",
            "0000000000000007",
            "000001a0c4506c00",
            "09",
            "02",
            "09090909090909090909090909090909",
            "00000002",
            "aabb",
        ];
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), expected.concat());
        assert_eq!(Entry::decode(&bytes).unwrap(), entry(vec![0xAA, 0xBB]));
        assert_eq!(bytes.len(), ENTRY_HEAD_BYTES + 2);
    }

    #[test]
    fn entries_are_bounded() {
        assert_eq!(entry(vec![1; ENTRY_DETAIL_BYTES_MAX]).encode().unwrap().len(), ENTRY_BYTES_MAX);
        let found = ENTRY_DETAIL_BYTES_MAX + 1;
        assert_eq!(entry(vec![1; found]).encode(), Err(EntryError::TooLong { found }));
        let mut bytes = entry(vec![]).encode().unwrap();
        bytes[35..39].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(Entry::decode(&bytes), Err(EntryError::Layout(DecodeError::TooLong { .. }))));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let bytes = entry(vec![1, 2, 3]).encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..length]).is_err());
        }
        let with = |index: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[index] = value;
            Entry::decode(&changed).err()
        };
        assert_eq!(with(0, 2), Some(EntryError::Format { found: 2 }));
        assert_eq!(with(17, 0), Some(EntryError::Action { found: 0 }));
        assert_eq!(with(18, 9), Some(EntryError::Outcome { found: 9 }));
        assert!(Entry::decode(&[bytes, vec![0]].concat()).is_err());
    }
}
