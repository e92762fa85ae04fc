//! Reading rows: from above the table where they were written since, from the table otherwise.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec::IntoIter;

use redb::ReadOnlyTable;

use super::base::{HEADER_KEY_END, storage_error};
use super::fill::REVISION_BYTES;
use super::overlay::Version;
use super::view::{Base, View};
use crate::store::{Cause, Pair, Row, Scan, StoreError};

/// One consistent view of a range: what is above the table, and the table below.
pub(super) struct Range {
    pub above: Above,
    pub base: Base,
}

/// What is needed to read a range: no more rows above the table than the answer can have.
pub(super) fn range(view: &View, scan: &Scan<'_>) -> Result<Range, StoreError> {
    let (above, base) = view.range(scan)?;
    Ok(Range { above: above.into_iter().peekable(), base })
}

/// What is taken of each row of a range.
pub(super) trait Take: Sized + Send + 'static {
    fn of(key: &[u8], row: impl FnOnce() -> Result<Row, StoreError>) -> Result<Self, StoreError>;

    /// What it counts of the limit of a scan.
    fn cost(&self) -> usize {
        1
    }
}

/// The key alone.
impl Take for Vec<u8> {
    fn of(key: &[u8], _: impl FnOnce() -> Result<Row, StoreError>) -> Result<Self, StoreError> {
        Ok(key.to_vec())
    }
}

/// All of it.
impl Take for (Vec<u8>, Row) {
    fn of(key: &[u8], row: impl FnOnce() -> Result<Row, StoreError>) -> Result<Self, StoreError> {
        Ok((key.to_vec(), row()?))
    }
}

/// What was put, limited by its bytes.
impl Take for Pair {
    fn of(key: &[u8], row: impl FnOnce() -> Result<Row, StoreError>) -> Result<Self, StoreError> {
        Ok((key.to_vec(), row()?.value))
    }

    fn cost(&self) -> usize {
        self.0.len() + self.1.len()
    }
}

/// The newest version of a row.
pub(super) fn read_row(view: &View, key: &[u8]) -> Result<Option<Row>, StoreError> {
    match view.find(key)? {
        Ok(version) => Ok(version.row()),
        Err(base) => match base.get(key).map_err(storage_error)? {
            Some(stored) => decode(stored.value()).map(Some),
            None => Ok(None),
        },
    }
}

/// The revision of a row, if it exists.
pub(super) fn read_revision(view: &View, key: &[u8]) -> Result<Option<u64>, StoreError> {
    match view.find(key)? {
        Ok(version) => Ok(version.value.is_some().then_some(version.revision)),
        Err(base) => match base.get(key).map_err(storage_error)? {
            Some(stored) => decode_revision(stored.value()).map(Some),
            None => Ok(None),
        },
    }
}

/// The newest versions of a range.
pub(super) fn read_rows<T: Take>(mut range: Range, scan: Scan<'_>) -> Result<Vec<T>, StoreError> {
    read_next(&range.base, &mut range.above, scan)
}

/// The same, of a range that goes on: what is taken from above is gone from there.
pub(super) fn read_next<T: Take>(
    base: &Base,
    above: &mut Above,
    scan: Scan<'_>,
) -> Result<Vec<T>, StoreError> {
    let mut merging = Merging { above, scan, taken: Vec::new(), cost: 0 };
    if !merging.is_full() {
        each_row(base, scan, |key, stored| merging.step(key, stored))?;
    }
    while !merging.is_full() && merging.above.len() > 0 {
        merging.take_above()?;
    }
    Ok(merging.taken)
}

/// Calls `step` with each row of the table in a range, until it says that it has enough.
fn each_row(
    table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    scan: Scan<'_>,
    mut step: impl FnMut(&[u8], &[u8]) -> Result<Enough, StoreError>,
) -> Result<(), StoreError> {
    // The header row is not a row, wherever a range begins.
    let from = scan.from.max(HEADER_KEY_END);
    if from >= scan.until {
        return Ok(());
    }
    let mut range = table.range(from..scan.until).map_err(storage_error)?;
    let next = || if scan.descending { range.next_back() } else { range.next() };
    for entry in std::iter::from_fn(next) {
        let (key, stored) = entry.map_err(storage_error)?;
        if step(key.value(), stored.value())? == Enough::Yes {
            break;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enough {
    Yes,
    No,
}

/// Rows above the table, in the order of a range.
pub(super) type Above = Peekable<IntoIter<(Vec<u8>, Version)>>;

/// A range being put together from both places.
struct Merging<'a, T> {
    above: &'a mut Above,
    scan: Scan<'a>,
    taken: Vec<T>,
    cost: usize,
}

impl<T: Take> Merging<'_, T> {
    fn is_full(&self) -> bool {
        self.cost >= self.scan.limit
    }

    /// Takes a row of the table, and before it what stands above and comes first.
    fn step(&mut self, key: &[u8], stored: &[u8]) -> Result<Enough, StoreError> {
        while !self.is_full() && self.order(key).is_lt() {
            self.take_above()?;
        }
        if !self.is_full() {
            match self.order(key) {
                Ordering::Equal => self.take_above()?,
                _ => self.take(T::of(key, || decode(stored))?),
            }
        }
        Ok(if self.is_full() { Enough::Yes } else { Enough::No })
    }

    /// How the next one above stands to a key of the table.
    fn order(&mut self, key: &[u8]) -> Ordering {
        match self.above.peek() {
            Some((above, _)) if self.scan.descending => key.cmp(above),
            Some((above, _)) => above.as_slice().cmp(key),
            None => Ordering::Greater,
        }
    }

    /// Takes the next one above, unless it says that the row was removed.
    fn take_above(&mut self) -> Result<(), StoreError> {
        let next = self.above.next();
        if let Some((key, row)) = next.and_then(|(key, version)| Some((key, version.row()?))) {
            self.take(T::of(&key, || Ok(row))?);
        }
        Ok(())
    }

    fn take(&mut self, row: T) {
        self.cost = self.cost.saturating_add(row.cost());
        self.taken.push(row);
    }
}

fn decode(stored: &[u8]) -> Result<Row, StoreError> {
    let (revision, value) = split(stored)?;
    Ok(Row { revision, value: value.to_vec() })
}

fn decode_revision(stored: &[u8]) -> Result<u64, StoreError> {
    split(stored).map(|(revision, _)| revision)
}

fn split(stored: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    match stored.split_first_chunk::<REVISION_BYTES>() {
        Some((revision, value)) => Ok((u64::from_be_bytes(*revision), value)),
        None => Err(StoreError::Corrupt(Cause::new("a row is shorter than its revision"))),
    }
}
