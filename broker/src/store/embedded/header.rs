//! The header row of the table: which commits it holds, and where the write-ahead file goes on.
//!
//! ```text
//! closed in order   "symbolon store" ‖ 0 ‖ 1 ‖ sequence(8)
//! in use            "symbolon store" ‖ 0 ‖ 2 ‖ sequence(8) ‖ log(16) ‖ position(8) ‖ digest(32)
//! ```
//!
//! The first form is the one that every version has read: a store that was closed in order is one file, and
//! whole. The second says that commits may stand in the write-ahead file which the table does not have; a
//! version that does not know such files takes it for a foreign one and refuses it, rather than show an older
//! state.

use symbolon_proto::codec::{Reader, Writer};

use crate::store::StoreError;

const MAGIC: &[u8; 15] = b"symbolon store\x00";
const CLOSED: u8 = 1;
const IN_USE: u8 = 2;

/// Names one use of a write-ahead file, from the first commit after an opening to the orderly end. Random, so
/// that a record of an earlier use, or of another store, is never taken for one of this.
pub(super) type LogId = [u8; 16];
/// SHA-256 of a record and of everything before it.
pub(super) type Digest = [u8; 32];

/// What the table says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Number of the last commit that the table holds.
    pub sequence: u64,
    /// Where commits after that stand; `None` if there are none.
    pub mark: Option<Mark>,
}

/// A place in the write-ahead file: the first record that the table does not hold begins here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which use of the file.
    pub log: LogId,
    /// Bytes written before this place since the use began. The file is a ring.
    pub position: u64,
    /// Digest of the record before; zeros before the first.
    pub digest: Digest,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(80);
        out.bytes(MAGIC).u8(if self.mark.is_some() { IN_USE } else { CLOSED }).u64(self.sequence);
        if let Some(mark) = &self.mark {
            out.bytes(&mark.log).u64(mark.position).bytes(&mark.digest);
        }
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::parse(bytes).ok_or(StoreError::Foreign)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        let form = reader.u8().ok()?;
        let sequence = reader.u64().ok()?;
        let mark = match form {
            CLOSED => None,
            IN_USE => Some(Mark {
                log: reader.array().ok()?,
                position: reader.u64().ok()?,
                digest: reader.array().ok()?,
            }),
            _ => return None,
        };
        reader.finish().ok()?;
        Some(Self { sequence, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_a_closed_one_is_what_older_versions_wrote() {
        let closed = Header { sequence: 7, mark: None };
        assert_eq!(closed.encode(), [&b"symbolon store\x00\x01"[..], &7_u64.to_be_bytes()].concat());
        let mark = Mark { log: [3; 16], position: 1 << 40, digest: [4; 32] };
        for header in [closed, Header { sequence: u64::MAX, mark: Some(mark) }] {
            let bytes = header.encode();
            assert_eq!(Header::decode(&bytes).ok(), Some(header));
            for cut in 0..bytes.len() {
                assert!(Header::decode(&bytes[..cut]).is_err(), "{cut} bytes");
            }
        }
    }
}
