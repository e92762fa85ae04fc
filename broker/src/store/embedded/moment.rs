//! All rows as of one commit: the table as one transaction sees it, and what stood above it then. While it
//! lives, the pages that it shows are not used again, so the file grows by what is written meanwhile; what it
//! holds in memory is bounded as the overlay is.

use super::read::{self, Above, Take, read_next};
use super::view::{Base, View};
use crate::store::{Answer, Cause, KEY_BYTES_MAX, Pair, Scan, Snapshot, StoreError};

pub(super) struct Moment {
    base: Base,
    /// `None` while a page is being read, and for good if that was given up.
    above: Option<Above>,
    /// Where the next page begins.
    from: Vec<u8>,
    end: Vec<u8>,
}

impl Moment {
    pub(super) fn of(view: &View) -> Result<Self, StoreError> {
        let end = vec![u8::MAX; KEY_BYTES_MAX + 1];
        let all = Scan { from: &[], until: &end, descending: false, limit: usize::MAX };
        let range = read::range(view, &all)?;
        Ok(Self { base: range.base, above: Some(range.above), from: Vec::new(), end })
    }

    async fn rows(&mut self, bytes: usize) -> Result<Vec<Pair>, StoreError> {
        let mut above = self.above.take().ok_or_else(super::gone)?;
        let (base, end) = (self.base.clone(), self.end.clone());
        let (from, bytes) = (self.from.clone(), bytes.max(1));
        let reading = tokio::task::spawn_blocking(move || {
            let scan = Scan { from: &from, until: &end, descending: false, limit: bytes };
            Ok((read_next(&base, &mut above, scan)?, above))
        });
        let read: Result<(Vec<Pair>, Above), StoreError> =
            reading.await.map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        let (rows, above) = read?;
        self.above = Some(above);
        self.from = match rows.last() {
            // the next key there can be
            Some((key, _)) if rows.iter().map(Take::cost).sum::<usize>() >= bytes => {
                [key.as_slice(), &[0]].concat()
            }
            // The end was reached, and what said that rows after the last are removed is used up.
            _ => self.end.clone(),
        };
        Ok(rows)
    }
}

impl Snapshot for Moment {
    fn next(&mut self, bytes: usize) -> Answer<'_, Vec<Pair>> {
        Box::pin(self.rows(bytes))
    }
}
