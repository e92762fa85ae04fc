//! All rows as of one commit. While it lives, the pages that it shows are not used again, so the file grows
//! by what is written meanwhile.

use std::ops::Bound;

use super::{Snapshot as Table, decode_entry, storage_error};
use crate::store::{Answer, Cause, Pair, Snapshot, StoreError};

pub(super) struct Moment {
    table: Table,
    last: Vec<u8>,
}

impl Moment {
    pub(super) fn of(table: Table) -> Self {
        // a row of the file's own, before all others
        Self { table, last: super::committer::HEADER_KEY.to_vec() }
    }

    async fn rows(&mut self, bytes: usize) -> Result<Vec<Pair>, StoreError> {
        let (table, last) = (self.table.clone(), self.last.clone());
        let reading = tokio::task::spawn_blocking(move || read(&table, &last, bytes));
        let rows = reading.await.map_err(|error| StoreError::Unavailable(Cause::new(error)))??;
        if let Some((key, _)) = rows.last() {
            key.clone_into(&mut self.last);
        }
        Ok(rows)
    }
}

impl Snapshot for Moment {
    fn next(&mut self, bytes: usize) -> Answer<'_, Vec<Pair>> {
        Box::pin(self.rows(bytes))
    }
}

fn read(table: &Table, last: &[u8], bytes: usize) -> Result<Vec<Pair>, StoreError> {
    let after = (Bound::Excluded(last), Bound::Unbounded);
    let mut rows = Vec::new();
    let mut left = bytes;
    for entry in table.range::<&[u8]>(after).map_err(storage_error)? {
        let (key, row) = decode_entry(entry)?;
        left = left.saturating_sub(key.len() + row.value.len());
        rows.push((key, row.value));
        if left == 0 {
            break;
        }
    }
    Ok(rows)
}
