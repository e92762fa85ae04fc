//! Rows that are durable in the write-ahead file and not yet in the table.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::store::{Scan, Write};

/// What the map and the allocator take beside the bytes of a row.
const ROW_OVERHEAD_BYTES: usize = 128;

/// A row as the overlay has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The number of the commit that wrote it.
    pub revision: u64,
    /// Its bytes; `None` says that the row was removed, whatever the table below still holds.
    pub value: Option<Arc<Vec<u8>>>,
}

/// The rows of the commits since the table was last brought up to date, the newest version of each.
#[derive(Debug, Default)]
pub(super) struct Generation {
    rows: BTreeMap<Vec<u8>, Version>,
    bytes: usize,
}

impl Generation {
    /// Takes over what a commit wrote. Its expectations were found to hold.
    pub(super) fn insert(&mut self, revision: u64, ops: Vec<Write>) {
        for op in ops {
            let (key, value) = match op {
                Write::Put { key, value, .. } => (key, Some(Arc::new(value))),
                Write::Delete { key, .. } => (key, None),
            };
            let fixed = ROW_OVERHEAD_BYTES + key.len();
            self.bytes += fixed + bytes_of(value.as_ref());
            if let Some(before) = self.rows.insert(key, Version { revision, value }) {
                self.bytes -= fixed + bytes_of(before.value.as_ref());
            }
        }
    }

    /// The version of a row, if it was written since.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Version> {
        self.rows.get(key)
    }

    /// All rows in order of their keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Vec<u8>, &Version)> {
        self.rows.iter()
    }

    /// The rows of a range, in its order.
    pub(super) fn range<'a>(&'a self, scan: &Scan<'a>) -> Box<dyn Iterator<Item = Seen<'a>> + 'a> {
        if scan.from >= scan.until {
            return Box::new(std::iter::empty());
        }
        let rows = self.rows.range::<[u8], _>((Bound::Included(scan.from), Bound::Excluded(scan.until)));
        if scan.descending { Box::new(rows.rev()) } else { Box::new(rows) }
    }

    /// About what it occupies in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A row of a generation.
pub(super) type Seen<'a> = (&'a Vec<u8>, &'a Version);

fn bytes_of(value: Option<&Arc<Vec<u8>>>) -> usize {
    value.map_or(0, |value| value.len())
}
