//! What readers see: the table as of the last checkpoint, and above it what was committed since.

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::ReadOnlyTable;

use super::overlay::{Generation, Seen, Version};
use crate::store::{Row, Scan, StoreError, Write};

/// The table as one transaction sees it.
pub(super) type Base = Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// A row above the table, by itself.
type Owned = (Vec<u8>, Version);

/// Everything that readers see. The lock is held for a lookup or for copying the references of a range, never
/// while the file is read.
#[derive(Debug, Default)]
pub(super) struct View(RwLock<Shown>);

#[derive(Debug, Default)]
struct Shown {
    /// `None` while the file is being reopened, or cannot be, or was closed: nothing is read then.
    base: Option<Base>,
    /// On its way into the table.
    frozen: Option<Arc<Generation>>,
    /// Takes what is committed now.
    active: Generation,
    /// Nobody knows what is durable any more, so nothing is shown until the next start.
    ended: bool,
}

impl View {
    /// The newest version of a row above the table, or the table to look into.
    pub(super) fn find(&self, key: &[u8]) -> Result<Result<Version, Base>, StoreError> {
        let shown = self.read();
        let base = shown.base.as_ref().ok_or_else(super::gone)?;
        Ok(shown.above(key).cloned().ok_or_else(|| Arc::clone(base)))
    }

    /// What is above the table in a range, no more than an answer of so many rows needs, and the table.
    pub(super) fn range(&self, scan: &Scan<'_>) -> Result<(Vec<Owned>, Base), StoreError> {
        let shown = self.read();
        let base = Arc::clone(shown.base.as_ref().ok_or_else(super::gone)?);
        let mut above = Vec::new();
        let mut live = 0;
        for (key, version) in shown.rows(scan) {
            if live == scan.limit {
                break;
            }
            live += usize::from(version.value.is_some());
            above.push((key.clone(), version.clone()));
        }
        Ok((above, base))
    }

    /// Whether rows can be read at all.
    pub(super) fn is_open(&self) -> bool {
        self.read().base.is_some()
    }

    /// About what is above the table, in bytes, and not on its way into it.
    pub(super) fn active_bytes(&self) -> usize {
        self.read().active.bytes()
    }

    /// Whether everything that was committed is in the table, or set apart to be brought there.
    pub(super) fn is_level(&self) -> bool {
        self.read().active.is_empty()
    }

    /// Shows durable commits, all of them at once.
    pub(super) fn insert(&self, commits: impl Iterator<Item = (u64, Vec<Write>)>) {
        let mut shown = self.write();
        commits.for_each(|(sequence, ops)| shown.active.insert(sequence, ops));
    }

    /// Sets apart what was committed so far, to be brought into the table. Once at a time.
    pub(super) fn freeze(&self) -> Arc<Generation> {
        let mut shown = self.write();
        let frozen = Arc::new(std::mem::take(&mut shown.active));
        shown.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// The table now has what was set apart.
    pub(super) fn advance(&self, base: Base) {
        let before = {
            let mut shown = self.write();
            let base = (!shown.ended).then_some(base);
            (std::mem::replace(&mut shown.base, base), shown.frozen.take())
        };
        drop(before); // ends a read transaction: not while readers wait for the lock
    }

    /// Shows another table, or none, below what is above it.
    pub(super) fn show(&self, base: Option<Base>) {
        let before = {
            let mut shown = self.write();
            let base = base.filter(|_| !shown.ended);
            std::mem::replace(&mut shown.base, base)
        };
        drop(before);
    }

    /// Shows nothing any more, whatever comes.
    pub(super) fn end(&self) {
        self.write().ended = true;
        self.show(None);
    }

    fn read(&self) -> RwLockReadGuard<'_, Shown> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn above(&self, key: &[u8]) -> Option<&Version> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key))
    }

    /// The newest versions in a range, in its order.
    fn rows<'a>(&'a self, scan: &Scan<'a>) -> Box<dyn Iterator<Item = Seen<'a>> + 'a> {
        let newer = self.active.range(scan);
        match &self.frozen {
            Some(frozen) => Box::new(newest(newer, frozen.range(scan), scan.descending)),
            None => newer,
        }
    }
}

/// Two ordered ranges as one. Of two versions of a row the newer counts.
fn newest<'a>(
    newer: impl Iterator<Item = Seen<'a>>,
    older: impl Iterator<Item = Seen<'a>>,
    descending: bool,
) -> impl Iterator<Item = Seen<'a>> {
    let (mut newer, mut older) = (newer.peekable(), older.peekable());
    std::iter::from_fn(move || {
        let order = match (newer.peek(), older.peek()) {
            (Some((left, _)), Some((right, _))) if descending => right.cmp(left),
            (Some((left, _)), Some((right, _))) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        if order.is_eq() {
            let _ = older.next();
        }
        if order.is_gt() { older.next() } else { newer.next() }
    })
}

impl Version {
    /// The row, unless it was removed.
    pub(super) fn row(&self) -> Option<Row> {
        let value = self.value.as_ref()?;
        Some(Row { revision: self.revision, value: value.to_vec() })
    }
}
