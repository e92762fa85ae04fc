//! What is known of a whole segment: how large it is, when it ended, and where it was exported to.
//!
//! ```text
//! format(1)=1 ‖ bytes(8) ‖ last_ms(8) ‖ 0
//! format(1)=1 ‖ bytes(8) ‖ last_ms(8) ‖ 1 ‖ place(32) ‖ SHA-256 of the object(32) ‖ its length(8)
//! ```

use symbolon_proto::codec::{DecodeError, Reader, Writer};
use symbolon_proto::log::Segment;

use super::Changes;
use crate::audit::log::LogError;
use crate::audit::log::rows::{segment_key, segment_number, segments_end};
use crate::store::{Expect, Scan, Store, Write};

const FORMAT: u8 = 1;
/// Rows that are read together.
const PAGE_ROWS: usize = 1024;

/// A digest of the address that objects are exported to.
pub type PlaceId = [u8; 32];

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Bytes that its entries take in the store, about.
    pub bytes: u64,
    /// Time of its last entry, milliseconds since the Unix epoch. Times in the log never go back.
    pub last_ms: u64,
    /// Where all of it lies beside the store, read back to its end.
    pub exported: Option<Exported>,
}

/// An object that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Where.
    pub place: PlaceId,
    /// Of all its bytes.
    pub sha256: [u8; 32],
    /// How many.
    pub bytes: u64,
}

impl Known {
    /// Whether it was exported to this place.
    #[must_use]
    pub fn is_in(&self, place: PlaceId) -> bool {
        self.exported.is_some_and(|exported| exported.place == place)
    }

    /// The row of a segment.
    #[must_use]
    pub fn put(&self, segment: Segment) -> Changes {
        let (key, value) = (segment_key(segment.number()), self.encode());
        Changes(vec![Write::Put { key, value, expect: Expect::Any }])
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(90);
        out.u8(FORMAT).u64(self.bytes).u64(self.last_ms).u8(self.exported.is_some().into());
        if let Some(Exported { place, sha256, bytes }) = &self.exported {
            out.bytes(place).bytes(sha256).u64(*bytes);
        }
        out.finish()
    }

    /// `None` for what this version does not know: the segment is then looked at again.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let read = || -> Result<Option<Self>, DecodeError> {
            let mut reader = Reader::new(bytes);
            let format = reader.u8()?;
            let (bytes, last_ms, has_object) = (reader.u64()?, reader.u64()?, reader.u8()?);
            let exported = match has_object {
                1 => Some(Exported { place: reader.array()?, sha256: reader.array()?, bytes: reader.u64()? }),
                _ => None,
            };
            reader.finish()?;
            Ok((format == FORMAT && has_object <= 1).then_some(Self { bytes, last_ms, exported }))
        };
        read().ok().flatten()
    }
}

/// What is known of the segments from `first` on, without a gap.
pub async fn known(store: &dyn Store, first: Segment) -> Result<Vec<(Segment, Known)>, LogError> {
    let (mut all, mut next, until) = (Vec::new(), first.number(), segments_end());
    loop {
        let from = segment_key(next);
        let scan = Scan { from: &from, until: &until, descending: false, limit: PAGE_ROWS };
        let rows = store.scan(scan).await?;
        let is_last = rows.len() < PAGE_ROWS;
        for (key, row) in rows {
            let segment = segment_number(&key).filter(|number| *number == next).and_then(Segment::new);
            let (Some(segment), Some(known)) = (segment, Known::decode(&row.value)) else { return Ok(all) };
            all.push((segment, known));
            next += 1;
        }
        if is_last {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_nothing_else_is_one() {
        let exported = Exported { place: [1; 32], sha256: [2; 32], bytes: 3 };
        for known in [
            Known { bytes: 5, last_ms: 6, exported: None },
            Known { bytes: u64::MAX, last_ms: 0, exported: Some(exported) },
        ] {
            let bytes = known.encode();
            assert_eq!(Known::decode(&bytes), Some(known));
            for cut in 0..bytes.len() {
                assert_eq!(Known::decode(&bytes[..cut]), None, "{cut}");
            }
        }
        assert_eq!(Known::decode(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
