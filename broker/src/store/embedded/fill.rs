//! Bringing rows into the table so that its pages are full.
//!
//! Entries of the log come at the end of their part of the table, but not at the end of it all. Put one by
//! one they would split page after page in halves, and leave all but the last half empty for good. So small
//! new rows that follow each other are handed over as a run, which redb packs.

use std::ops::Bound;

use redb::{CursorError, Error, Table};

use super::overlay::{Generation, Seen, Version};
use crate::store::KEY_BYTES_MIN;

/// Before the bytes of a row.
pub(super) const REVISION_BYTES: usize = 8;
/// Longer values have pages of their own, or nearly so.
const SMALL_BYTES: usize = 1200;

type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// Puts and removes rows, in order of their keys.
pub(super) fn put_rows(table: &mut Rows<'_>, rows: &Generation) -> Result<(), Error> {
    let mut rows = rows.rows();
    let mut next = rows.next();
    while let Some((key, version)) = next {
        let is_new = put(table, key, version)?;
        next = rows.next();
        if is_new && next.is_some_and(|row| continues(key, row)) {
            next = put_run(table, key, next, &mut rows)?;
        }
    }
    Ok(())
}

/// Puts or removes one row. Answers whether it is small and was not there.
fn put(table: &mut Rows<'_>, key: &[u8], version: &Version) -> Result<bool, Error> {
    match &version.value {
        Some(value) if value.len() <= SMALL_BYTES => {
            Ok(table.insert(key, stored(version.revision, value).as_slice())?.is_none())
        }
        Some(value) => {
            let mut stored = table.insert_reserve(key, REVISION_BYTES + value.len())?;
            let (revision, bytes) = stored.as_mut().split_at_mut(REVISION_BYTES);
            revision.copy_from_slice(&version.revision.to_be_bytes());
            bytes.copy_from_slice(value);
            Ok(false)
        }
        None => {
            table.remove(key)?;
            Ok(false)
        }
    }
}

/// Puts what follows `after` without a row between them. Answers the first row that does not.
fn put_run<'a>(
    table: &mut Rows<'_>,
    after: &[u8],
    mut next: Option<Seen<'a>>,
    rows: &mut impl Iterator<Item = Seen<'a>>,
) -> Result<Option<Seen<'a>>, Error> {
    let mut gap = table.upper_bound_mut(Bound::Included(after))?;
    while let Some((key, version)) = next.filter(|row| continues(after, *row)) {
        let Some(value) = &version.value else { break };
        match gap.insert_before(key.as_slice(), stored(version.revision, value).as_slice()) {
            Ok(()) => next = rows.next(),
            Err(CursorError::UnorderedKey) => break, // there is a row before it, or it is there
            Err(error) => return Err(error.into()),
        }
    }
    gap.close()?;
    Ok(next)
}

/// Whether a row may belong to a run: a small one of the same tenant and table.
fn continues(key: &[u8], row: Seen<'_>) -> bool {
    let is_small = row.1.value.as_ref().is_some_and(|value| value.len() <= SMALL_BYTES);
    is_small && key.get(..KEY_BYTES_MIN) == row.0.get(..KEY_BYTES_MIN)
}

fn stored(revision: u64, value: &[u8]) -> Vec<u8> {
    [revision.to_be_bytes().as_slice(), value].concat()
}
