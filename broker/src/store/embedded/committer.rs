//! The one thread that writes: a commit is one synced transaction; after a failure the file is reopened in
//! place.

use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, Table};

use super::{REVISION_BYTES, ROWS, Start, View, storage_error};
use crate::store::medium::{Disk, Medium, Trouble};
use crate::store::{Cause, StoreError, Write};

/// Key of the header row. Row keys are longer, and this sorts before the shortest of them.
pub(super) const HEADER_KEY: &[u8] = &[0];
/// The first key after the header row.
pub(super) const HEADER_KEY_END: &[u8] = &[0, 0];
/// What a header row begins with: a name and the version of the layout.
const HEADER_MAGIC: &[u8; 16] = b"symbolon store\x00\x01";
/// How a file of redb begins.
const FILE_MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Space that must stay free beside a commit's own bytes: redb copies the pages it changes, and needs room to
/// reopen.
const RESERVE_BYTES: u64 = 4 << 20;

/// Owns the database.
pub(super) struct Committer {
    medium: Arc<dyn Medium>,
    cache_bytes: usize,
    view: Arc<View>,
    open: Option<Open>,
    /// Number of the last commit that is known to be durable.
    sequence: u64,
    /// The last commit saved what a quick opening needs.
    settled: bool,
    /// A sync failed: nothing is written any more.
    distrusted: bool,
}

/// Whether a commit saves the allocator's state, see the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Walk,
    Quick,
}

struct Open {
    database: Database,
    disk: Disk,
}

/// How a commit failed inside redb.
enum Failed {
    /// Our own reason; the transaction was taken back and the database is well.
    Refused(StoreError),
    /// redb's; it has to be reopened.
    Broken(redb::Error),
}

impl Committer {
    pub(super) fn start(
        medium: Arc<dyn Medium>,
        cache_bytes: usize,
        start: Start,
        view: Arc<View>,
    ) -> Result<Self, StoreError> {
        let mut committer =
            Self { medium, cache_bytes, view, open: None, sequence: 0, settled: true, distrusted: false };
        match start {
            Start::Create => committer.create()?,
            Start::Open => committer.sequence = committer.reopen()?,
        }
        Ok(committer)
    }

    /// Applies `ops` in one durable transaction, or explains.
    pub(super) fn commit(&mut self, ops: &[Write]) -> Result<(), StoreError> {
        if self.distrusted {
            return Err(unavailable(
                "an earlier sync of the store's file failed; check the disk and restart",
            ));
        }
        self.check_space(ops)?;
        if self.open.is_none() {
            self.recover()?;
        }
        let Some(open) = &self.open else { return Err(unavailable("the store's file is closed")) };
        match transact(&open.database, ops, self.sequence + 1, Repair::Walk) {
            Ok(()) => {
                self.sequence += 1;
                self.settled = false;
                self.show()
            }
            Err(Failed::Refused(error)) => Err(error),
            Err(Failed::Broken(error)) => Err(self.fail(error)),
        }
    }

    /// Makes the next opening quick even if it comes after a crash. Best effort: what fails here fails the
    /// next commit.
    pub(super) fn settle(&mut self) {
        let Some(open) = &self.open else { return };
        if self.settled || self.check_space(&[]).is_err() {
            return;
        }
        match transact(&open.database, &[], self.sequence, Repair::Quick) {
            Ok(()) => self.settled = self.show().is_ok(),
            Err(Failed::Refused(_)) => {}
            Err(Failed::Broken(error)) => drop(self.fail(error)),
        }
    }

    /// Refuses before redb sees it what would fill the disk. Twice the bytes, because a page may have to be
    /// split.
    fn check_space(&self, ops: &[Write]) -> Result<(), StoreError> {
        let wanted: u64 = ops.iter().map(|op| 2 * op.bytes() as u64).sum();
        let free = self.medium.free_bytes().map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        if free < wanted + RESERVE_BYTES { Err(StoreError::Full) } else { Ok(()) }
    }

    fn create(&mut self) -> Result<(), StoreError> {
        self.check_space(&[])?;
        let disk = Disk::new(Arc::clone(&self.medium));
        let database = self.builder().create_with_backend(disk.clone()).map_err(open_error)?;
        let open = self.open.insert(Open { database, disk });
        match transact(&open.database, &[], self.sequence, Repair::Quick) {
            Ok(()) => self.show(),
            Err(Failed::Refused(error)) => Err(error),
            Err(Failed::Broken(error)) => Err(self.fail(error)),
        }
    }

    /// Opens what the medium holds and shows it; answers the number of its last commit.
    fn reopen(&mut self) -> Result<u64, StoreError> {
        self.check_magic()?;
        self.check_length()?;
        let disk = Disk::new(Arc::clone(&self.medium));
        let database = self.builder().create_with_backend(disk.clone()).map_err(open_error)?;
        let sequence = read_sequence(&database)?;
        self.open = Some(Open { database, disk });
        self.show()?;
        Ok(sequence)
    }

    /// Opens again after a failure. The file must be where we left it, or one commit further.
    fn recover(&mut self) -> Result<(), StoreError> {
        let sequence = self.reopen()?;
        if sequence < self.sequence {
            self.close();
            self.distrusted = true;
            return Err(StoreError::Corrupt(Cause::new("commits are missing after reopening the file")));
        }
        self.sequence = sequence;
        Ok(())
    }

    /// What a failed transaction means, and what becomes of the store.
    fn fail(&mut self, error: redb::Error) -> StoreError {
        let trouble = self.open.as_ref().map_or(Trouble::Other, |open| open.disk.trouble());
        self.close();
        if trouble == Trouble::Sync {
            self.distrusted = true;
            return StoreError::Unavailable(Cause::new(error));
        }
        let before = self.sequence;
        match self.recover() {
            Ok(()) if trouble == Trouble::Full && self.sequence == before => StoreError::Full,
            Err(corrupt @ StoreError::Corrupt(_)) => corrupt,
            Ok(()) | Err(_) => StoreError::Unavailable(Cause::new(error)),
        }
    }

    fn close(&mut self) {
        self.view.show(None);
        self.open = None;
    }

    fn show(&self) -> Result<(), StoreError> {
        let Some(open) = &self.open else { return Ok(()) };
        let snapshot =
            open.database.begin_read().map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        let table = snapshot.open_table(ROWS).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        self.view.show(Some(Arc::new(table)));
        Ok(())
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes);
        builder
    }

    /// redb would make a database of an empty file; opening must not.
    fn check_magic(&self) -> Result<(), StoreError> {
        let mut start = [0; FILE_MAGIC.len()];
        match self.medium.read(0, &mut start) {
            Ok(()) if start == *FILE_MAGIC => Ok(()),
            Ok(()) => Err(StoreError::Foreign),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(StoreError::Foreign),
            Err(error) => Err(StoreError::Unavailable(Cause::new(error))),
        }
    }

    /// A file that is shorter than its own header says was cut; redb would panic on it. The header's layout
    /// is part of redb's stable file format (its `design.md`, "Database header"): five little-endian numbers
    /// from byte 12 on.
    fn check_length(&self) -> Result<(), StoreError> {
        let mut numbers = [0; 20];
        self.medium.read(12, &mut numbers).map_err(|_| StoreError::Foreign)?;
        let number = |index: usize| {
            let bytes = [0, 1, 2, 3].map(|byte| numbers[4 * index + byte]);
            u64::from(u32::from_le_bytes(bytes))
        };
        let (page_bytes, header_pages, region_pages) = (number(0), number(1), number(2));
        let (full_regions, trailing_pages) = (number(3), number(4));
        let trailing = if trailing_pages > 0 { header_pages + trailing_pages } else { 0 };
        let pages = full_regions
            .checked_mul(header_pages + region_pages)
            .and_then(|pages| pages.checked_add(trailing + 1)); // one page before the first region
        let said = pages.and_then(|pages| pages.checked_mul(page_bytes)).ok_or(StoreError::Foreign)?;
        let found = self.medium.len().map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        match found < said {
            true => {
                Err(StoreError::Corrupt(Cause::new("the file was cut: it is shorter than its header says")))
            }
            false => Ok(()),
        }
    }
}

/// Readers let go before the database closes, so that closing can tidy up.
impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

/// One transaction: `ops` in order, then the header row with the commit's number.
fn transact(database: &Database, ops: &[Write], sequence: u64, repair: Repair) -> Result<(), Failed> {
    let mut transaction = database.begin_write().map_err(broken)?;
    transaction.set_durability(Durability::Immediate).map_err(broken)?;
    transaction.set_quick_repair(repair == Repair::Quick);
    let applied = {
        let mut table = transaction.open_table(ROWS).map_err(broken)?;
        apply(&mut table, ops, sequence)
    };
    match applied {
        Ok(()) => transaction.commit().map_err(broken),
        Err(Failed::Refused(error)) => {
            transaction.abort().map_err(broken)?;
            Err(Failed::Refused(error))
        }
        Err(error) => Err(error),
    }
}

fn apply(table: &mut Table<'_, &[u8], &[u8]>, ops: &[Write], sequence: u64) -> Result<(), Failed> {
    for (position, op) in ops.iter().enumerate() {
        if !holds(table, op)? {
            return Err(Failed::Refused(StoreError::Conflict { op: position }));
        }
        match op {
            Write::Put { key, value, .. } => put(table, key, sequence, value)?,
            Write::Delete { key, .. } => drop(table.remove(key.as_slice()).map_err(broken)?),
        }
    }
    put_header(table, sequence)
}

fn holds(table: &Table<'_, &[u8], &[u8]>, op: &Write) -> Result<bool, Failed> {
    if op.expect() == super::super::Expect::Any {
        return Ok(true);
    }
    let stored = table.get(op.key()).map_err(broken)?;
    let revision = match &stored {
        Some(stored) => Some(super::decode_revision(stored.value()).map_err(Failed::Refused)?),
        None => None,
    };
    Ok(op.expect().holds(revision))
}

fn put(table: &mut Table<'_, &[u8], &[u8]>, key: &[u8], sequence: u64, value: &[u8]) -> Result<(), Failed> {
    let mut stored = table.insert_reserve(key, REVISION_BYTES + value.len()).map_err(broken)?;
    let (revision, bytes) = stored.as_mut().split_at_mut(REVISION_BYTES);
    revision.copy_from_slice(&sequence.to_be_bytes());
    bytes.copy_from_slice(value);
    Ok(())
}

fn put_header(table: &mut Table<'_, &[u8], &[u8]>, sequence: u64) -> Result<(), Failed> {
    let header = [&HEADER_MAGIC[..], &sequence.to_be_bytes()].concat();
    table.insert(HEADER_KEY, header.as_slice()).map_err(broken)?;
    Ok(())
}

fn read_sequence(database: &Database) -> Result<u64, StoreError> {
    let snapshot = database.begin_read().map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
    let table = match snapshot.open_table(ROWS) {
        Ok(table) => table,
        Err(redb::TableError::Storage(error)) => return Err(storage_error(error)),
        Err(_) => return Err(StoreError::Foreign),
    };
    let header = table.get(HEADER_KEY).map_err(storage_error)?.ok_or(StoreError::Foreign)?;
    let sequence = header.value().strip_prefix(HEADER_MAGIC).ok_or(StoreError::Foreign)?;
    sequence.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Foreign)
}

fn open_error(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::UpgradeRequired(_) => StoreError::Foreign,
        DatabaseError::Storage(error) => storage_error(error),
        error => StoreError::Unavailable(Cause::new(error)),
    }
}

fn broken(error: impl Into<redb::Error>) -> Failed {
    Failed::Broken(error.into())
}

fn unavailable(text: &'static str) -> StoreError {
    StoreError::Unavailable(Cause::new(text))
}
