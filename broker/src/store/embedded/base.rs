//! The table: one file, kept by redb, brought up to date by checkpoints. After a failure it is reopened in
//! place.

use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, Durability, ReadableDatabase, TableDefinition};

use super::Start;
use super::fill;
use super::header::Header;
use super::overlay::Generation;
use super::view::{Base, View};
use crate::store::medium::{Disk, Medium, Trouble};
use crate::store::{Cause, StoreError};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Key of the header row. Row keys are longer, and this sorts before the shortest of them.
const HEADER_KEY: &[u8] = &[0];
/// The first key after the header row.
pub(super) const HEADER_KEY_END: &[u8] = &[0, 0];
/// How a file of redb begins.
const FILE_MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Space that must stay free beside the bytes of a checkpoint: redb copies the pages it changes, and needs
/// room to reopen.
pub(super) const RESERVE_BYTES: u64 = 4 << 20;

/// Owns the database.
pub(super) struct Tables {
    medium: Arc<dyn Medium>,
    cache_bytes: usize,
    view: Arc<View>,
    open: Option<Open>,
    /// What is known to be in the file.
    header: Header,
    /// What a transaction without an answer would have made of it.
    attempted: Option<Header>,
}

/// Why a checkpoint did not happen.
#[derive(Debug)]
pub(super) struct Failure {
    /// What to tell whoever waits for it.
    pub error: StoreError,
    /// Nothing may be written any more until the process has been restarted.
    pub is_final: bool,
}

struct Open {
    database: Database,
    disk: Disk,
}

impl Tables {
    pub(super) fn start(
        medium: Arc<dyn Medium>,
        cache_bytes: usize,
        start: Start,
        view: Arc<View>,
    ) -> Result<Self, StoreError> {
        let header = Header { sequence: 0, mark: None };
        let mut tables = Self { medium, cache_bytes, view, open: None, header, attempted: None };
        match start {
            Start::Create => tables.create()?,
            Start::Open => tables.header = tables.reopen()?,
        }
        Ok(tables)
    }

    /// What the file says of itself.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Brings rows and their header into the table, in one durable transaction, and shows it.
    pub(super) fn apply(&mut self, rows: &Generation, header: &Header) -> Result<(), Failure> {
        self.check_space(rows).map_err(passing)?;
        if self.open.is_none() {
            self.recover()?;
        }
        let Some(open) = &self.open else { return Err(passing(closed())) };
        self.attempted = Some(header.clone());
        match transact(&open.database, rows, header) {
            Ok(()) => self.happened(header),
            Err(error) => self.fail(error, header),
        }
    }

    /// Closes the file in order.
    pub(super) fn close(&mut self) {
        self.view.show(None);
        self.open = None;
    }

    fn happened(&mut self, header: &Header) -> Result<(), Failure> {
        self.header = header.clone();
        self.attempted = None;
        self.snapshot().map(|base| self.view.advance(base)).map_err(passing)
    }

    /// Refuses before redb sees it what would fill the disk. Twice the bytes, because a page may have to be
    /// split.
    fn check_space(&self, rows: &Generation) -> Result<(), StoreError> {
        let free = self.medium.free_bytes().map_err(unavailable)?;
        if free < 2 * rows.bytes() as u64 + RESERVE_BYTES { Err(StoreError::Full) } else { Ok(()) }
    }

    fn create(&mut self) -> Result<(), StoreError> {
        let nothing = Generation::default();
        self.check_space(&nothing)?;
        let disk = Disk::new(Arc::clone(&self.medium));
        let database = self.builder().create_with_backend(disk.clone()).map_err(open_error)?;
        self.open = Some(Open { database, disk });
        let header = self.header.clone();
        self.apply(&nothing, &header).map_err(|failure| failure.error)
    }

    /// Opens what the medium holds and shows it; answers its header.
    fn reopen(&mut self) -> Result<Header, StoreError> {
        self.check_magic()?;
        self.check_length()?;
        let disk = Disk::new(Arc::clone(&self.medium));
        let database = self.builder().create_with_backend(disk.clone()).map_err(open_error)?;
        let header = read_header(&database)?;
        self.open = Some(Open { database, disk });
        self.view.show(Some(self.snapshot()?));
        Ok(header)
    }

    /// Opens again after a failure. The file must be where we left it, or one transaction further.
    fn recover(&mut self) -> Result<(), Failure> {
        let found = self.reopen().map_err(passing)?;
        if found != self.header && self.attempted.as_ref() != Some(&found) {
            self.close();
            let cause = Cause::new("commits are missing after reopening the file");
            return Err(Failure { error: StoreError::Corrupt(cause), is_final: true });
        }
        self.header = found;
        self.attempted = None;
        Ok(())
    }

    /// What a failed transaction means, and what becomes of the file.
    fn fail(&mut self, error: redb::Error, wanted: &Header) -> Result<(), Failure> {
        let trouble = self.open.as_ref().map_or(Trouble::Other, |open| open.disk.trouble());
        self.close();
        let error = unavailable(error);
        if trouble == Trouble::Sync {
            return Err(Failure { error, is_final: true });
        }
        match self.recover() {
            Ok(()) if self.header == *wanted => self.happened(wanted), // all but its answer
            Ok(()) if trouble == Trouble::Full => Err(passing(StoreError::Full)),
            Err(failure) if failure.is_final => Err(failure),
            Ok(()) | Err(_) => Err(passing(error)),
        }
    }

    fn snapshot(&self) -> Result<Base, StoreError> {
        let open = self.open.as_ref().ok_or_else(closed)?;
        let snapshot = open.database.begin_read().map_err(unavailable)?;
        snapshot.open_table(ROWS).map(Arc::new).map_err(unavailable)
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
        let found = self.medium.len().map_err(unavailable)?;
        match found < said {
            true => {
                Err(StoreError::Corrupt(Cause::new("the file was cut: it is shorter than its header says")))
            }
            false => Ok(()),
        }
    }
}

/// Readers let go before the database closes, so that closing can tidy up.
impl Drop for Tables {
    fn drop(&mut self) {
        self.close();
    }
}

/// One transaction: the rows in order, then the header. It saves the state of the allocator with it (*quick
/// repair*), so that opening after a crash needs no walk through the file.
fn transact(database: &Database, rows: &Generation, header: &Header) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(ROWS)?;
        fill::put_rows(&mut table, rows)?;
        table.insert(HEADER_KEY, header.encode().as_slice())?;
    }
    Ok(transaction.commit()?)
}

fn read_header(database: &Database) -> Result<Header, StoreError> {
    let snapshot = database.begin_read().map_err(unavailable)?;
    let table = match snapshot.open_table(ROWS) {
        Ok(table) => table,
        Err(redb::TableError::Storage(error)) => return Err(storage_error(error)),
        Err(_) => return Err(StoreError::Foreign),
    };
    let header = table.get(HEADER_KEY).map_err(storage_error)?.ok_or(StoreError::Foreign)?;
    Header::decode(header.value())
}

fn open_error(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::UpgradeRequired(_) => StoreError::Foreign,
        DatabaseError::Storage(error) => storage_error(error),
        error => unavailable(error),
    }
}

pub(super) fn storage_error(error: redb::StorageError) -> StoreError {
    match error {
        redb::StorageError::Corrupted(_) => StoreError::Corrupt(Cause::new(error)),
        error => unavailable(error),
    }
}

/// The file may be well the next time.
fn passing(error: StoreError) -> Failure {
    Failure { error, is_final: false }
}

fn closed() -> StoreError {
    StoreError::Unavailable(Cause::new("the store's file is closed after an earlier failure"))
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable(Cause::new(error))
}
