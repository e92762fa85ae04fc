//! Going through every row of a layout, whichever tables have it.

use std::cmp::Ordering;

use crate::access::Session;
use crate::error::OpError;
use crate::rows::{self, Layout, RecordError};
use crate::store::{KEY_BYTES_MAX, Row, Scan};

/// Rows of unknown tables read at once.
const COUNTED_AT_ONCE: usize = 512;

/// Rows that lie in no table that this broker knows: nothing re-encrypts them, and nobody can tell what keys
/// they need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    /// How many.
    pub(super) rows: u64,
    /// The table of the first one.
    pub(super) table: u8,
}

/// Counts them: everything between the tables that there are.
pub(super) async fn unknown(session: &Session) -> Result<Unknown, OpError> {
    let (mut unknown, mut from) = (Unknown::default(), Vec::new());
    for table in session.shape().tables() {
        let [first, until] = rows::range_of(table);
        count(session, from, &first, &mut unknown).await?;
        from = until;
    }
    count(session, from, &[u8::MAX; KEY_BYTES_MAX], &mut unknown).await?;
    Ok(unknown)
}

async fn count(
    session: &Session,
    mut from: Vec<u8>,
    until: &[u8],
    unknown: &mut Unknown,
) -> Result<(), OpError> {
    loop {
        let scan = Scan { from: &from, until, descending: false, limit: COUNTED_AT_ONCE };
        let page = session.rows.store().scan(scan).await.map_err(RecordError::from)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        if unknown.rows == 0 {
            unknown.table = page.first().and_then(|(key, _)| rows::table_number(key)).unwrap_or_default();
        }
        unknown.rows += page.len() as u64;
        from = [last.as_slice(), &[0]].concat();
    }
}

/// Rows after a key, at most `limit`, one table after the other; an empty key begins at the beginning. An
/// empty page is the end.
pub(super) async fn after(
    session: &Session,
    layout: Layout,
    after: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, Row)>, OpError> {
    let reached = rows::table_number(after).unwrap_or(0);
    for table in session.shape().tables().into_iter().filter(|table| table.layout == layout) {
        let [first, until] = rows::range_of(table);
        let from = match reached.cmp(&table.number()) {
            Ordering::Greater => continue,
            Ordering::Equal => [after, &[0]].concat(),
            Ordering::Less => first,
        };
        let scan = Scan { from: &from, until: &until, descending: false, limit };
        let page = session.rows.store().scan(scan).await.map_err(RecordError::from)?;
        if !page.is_empty() {
            return Ok(page);
        }
    }
    Ok(Vec::new())
}
