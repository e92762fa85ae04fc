//! Going through every row of a layout, whichever tables have it.

use std::cmp::Ordering;

use crate::access::Session;
use crate::error::OpError;
use crate::rows::{self, Layout, RecordError};
use crate::store::{Row, Scan};

/// Rows after a key, at most `limit`, one table after the other; an empty key begins at the beginning. An empty page is the end.
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
