//! One file on this machine, kept by redb.
//!
//! ```text
//! get, scan ──▶ snapshot of the last commit (in memory or one file read, no thread change)
//! commit ──▶ queue ──▶ thread "symbolon-store" ──▶ one write transaction, synced ──▶ new snapshot ──▶ answer
//! ```
//!
//! **Layout.** One table, bytes to bytes; a value is `revision(8) ‖ bytes`. The revision is the number of the
//! commit, kept in a header row whose one-byte key sorts before every row key, so numbers never repeat,
//! whatever is deleted.
//!
//! **Durability.** One-phase commits: data and header are written and synced together, and redb's checksums
//! decide after a crash which header is whole. Checksums can be forged by someone who chooses page contents
//! and times the crash; ours hold ciphertext under random salts.
//!
//! **Opening after a crash.** redb can save the state of its allocator with a commit (*quick repair*), so
//! that opening needs no walk through the file. Measured on two cores: a walk takes 3 s per million rows (20
//! s for 10 GB); with quick repair it is 0.6 s at any size, but each commit takes 3 to 6 times as long, and
//! every read of a secret costs a share of a commit. So commits go without, and when none has come for
//! `QUIET` the thread adds an empty one with. Opening is slow only after a crash under load; an orderly stop
//! always opens at once.
//!
//! **Full disk.** Free space is looked at before each commit, so that the usual full disk never reaches redb.
//! If a write fails all the same (quota, somebody else was faster), redb refuses everything until it is
//! reopened; the thread does that under the same file lock, and answers go on when it succeeds. After a
//! failed *sync* it does not: the kernel may have dropped pages that it still shows, and only a restart of
//! the process on a checked disk is honest.
//!
//! **Memory.** redb's page cache, bounded by the caller. Rows beyond it are read from the file.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redb::{ReadOnlyTable, TableDefinition};
use tokio::sync::{Semaphore, oneshot};

use super::medium::{self, Medium};
use super::{Answer, Cause, Row, Scan, Store, StoreError, Write};

mod committer;
mod moment;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod tests;

use committer::Committer;
use moment::Moment;

/// Page cache if nobody says otherwise. Cached pages move between the allocator's arenas and cost about twice
/// their bytes: with 100,000 secrets under load a broker takes 43 MiB with 8 MiB of cache and 57 to 62 MiB
/// with 16, which is no faster.
pub const CACHE_BYTES_DEFAULT: usize = 8 << 20;

/// Commits handed over and not yet answered; more wait in their own task.
const QUEUE_MAX: usize = 64;
/// Time without commits after which the file is prepared for a quick opening.
const QUIET: Duration = Duration::from_millis(50);
/// Scans up to this many rows run where they are called; longer ones on a thread that may block.
const SCAN_INLINE_ROWS: usize = 256;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const REVISION_BYTES: usize = 8;

/// A store in one file, open in this process only.
#[derive(Debug)]
pub struct EmbeddedStore {
    view: Arc<View>,
    slots: Semaphore,
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told. An order that is never reached is dropped, and its answer with it.
enum Order {
    Commit {
        ops: Vec<Write>,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Answered by being dropped, after the file is closed.
    Close(oneshot::Sender<()>),
}

/// The last commit as readers see it; `None` while the file is being reopened or cannot be.
#[derive(Debug, Default)]
struct View(RwLock<Option<Snapshot>>);

type Snapshot = Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

impl EmbeddedStore {
    /// Makes a new store at `path`, which must not exist, with a page cache of `cache_bytes`. Only `init`
    /// calls this.
    pub fn create(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let file = medium::create_file(path)?;
        let store = Self::start(Arc::new(file), cache_bytes, Start::Create)?;
        medium::sync_directory_of(path).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        Ok(store)
    }

    /// Opens the store at `path` with a page cache of `cache_bytes`. Never makes one: a missing, foreign or
    /// empty file is an error, and so is a store that another process has open.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let file = medium::open_file(path)?;
        Self::start(Arc::new(file), cache_bytes, Start::Open)
    }

    fn start(medium: Arc<dyn Medium>, cache_bytes: usize, start: Start) -> Result<Self, StoreError> {
        let view = Arc::new(View::default());
        let committer = Committer::start(medium, cache_bytes, start, Arc::clone(&view))?;
        let (orders, queue) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("symbolon-store".to_owned())
            .spawn(move || run(committer, &queue))
            .map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        Ok(Self { view, slots: Semaphore::new(QUEUE_MAX), orders: Some(orders), thread: Some(thread) })
    }

    /// Rows of a range, of each what `take` makes of it. Long ranges are read by a thread that may block.
    async fn read<T: Send + 'static>(&self, scan: Scan<'_>, take: Take<T>) -> Result<Vec<T>, StoreError> {
        let snapshot = self.view.snapshot()?;
        if scan.limit <= SCAN_INLINE_ROWS {
            return read_rows(&snapshot, scan, take);
        }
        let (from, until) = (scan.from.to_vec(), scan.until.to_vec());
        let (descending, limit) = (scan.descending, scan.limit);
        tokio::task::spawn_blocking(move || {
            read_rows(&snapshot, Scan { from: &from, until: &until, descending, limit }, take)
        })
        .await
        .map_err(|error| StoreError::Unavailable(Cause::new(error)))?
    }

    /// Hands a commit to the thread and waits. Holding a slot until the answer keeps the queue from ever
    /// being full, so that handing over does not block.
    async fn hand_over(&self, ops: Vec<Write>) -> Result<(), StoreError> {
        super::check_bounds(&ops)?;
        let _slot = self.slots.acquire().await.map_err(|_| gone())?;
        let (answer, wait) = oneshot::channel();
        self.order(Order::Commit { ops, answer })?;
        wait.await.map_err(|_| gone())?
    }

    async fn hand_over_close(&self) -> Result<(), StoreError> {
        let _slot = self.slots.acquire().await.map_err(|_| gone())?;
        let (closed, wait) = oneshot::channel();
        if self.order(Order::Close(closed)).is_ok() {
            let _ = wait.await; // dropped, whichever way the thread ended
        }
        Ok(())
    }

    fn order(&self, order: Order) -> Result<(), StoreError> {
        self.orders.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())
    }
}

/// Stops the thread after what it was handed, closes the file in order and releases its lock.
impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been reported by the panic hook
        }
    }
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>> {
        Box::pin(async move { read_row(&*self.view.snapshot()?, key) })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        Box::pin(self.read(scan, decode_entry))
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(self.read(scan, |entry| Ok(entry.map_err(storage_error)?.0.value().to_vec())))
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn super::Snapshot>> {
        Box::pin(async { Ok(Box::new(Moment::of(self.view.snapshot()?)) as Box<dyn super::Snapshot>) })
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        Box::pin(self.hand_over(ops))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.hand_over_close())
    }
}

impl View {
    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)
    }

    fn show(&self, snapshot: Option<Snapshot>) {
        let before = {
            let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, snapshot)
        };
        drop(before); // ends a read transaction: not while readers wait for the lock
    }
}

/// Whether the file has to be new or has to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Create,
    Open,
}

fn run(mut committer: Committer, queue: &Receiver<Order>) {
    let closing = loop {
        match next_order(&mut committer, queue) {
            Some(Order::Commit { ops, answer }) => {
                let result = committer.commit(&ops);
                let _ = answer.send(result); // nobody waits any more: the commit stands all the same
            }
            Some(Order::Close(closed)) => break Some(closed),
            None => break None,
        }
    };
    drop(committer);
    drop(closing);
}

fn next_order(committer: &mut Committer, queue: &Receiver<Order>) -> Option<Order> {
    match queue.recv_timeout(QUIET) {
        Err(RecvTimeoutError::Timeout) => {
            committer.settle();
            queue.recv().ok()
        }
        order => order.ok(),
    }
}

fn read_row(
    table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Row>, StoreError> {
    match table.get(key).map_err(storage_error)? {
        Some(stored) => decode(stored.value()).map(Some),
        None => Ok(None),
    }
}

fn read_rows<T>(
    table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    scan: Scan<'_>,
    take: Take<T>,
) -> Result<Vec<T>, StoreError> {
    // The header row is not a row, wherever a range begins.
    let from = scan.from.max(committer::HEADER_KEY_END);
    if from >= scan.until {
        return Ok(Vec::new());
    }
    let range = table.range(from..scan.until).map_err(storage_error)?;
    if scan.descending {
        range.rev().take(scan.limit).map(take).collect()
    } else {
        range.take(scan.limit).map(take).collect()
    }
}

type Stored<'a> = redb::AccessGuard<'a, &'static [u8]>;

/// A row of a range on its way.
type Entry<'a> = Result<(Stored<'a>, Stored<'a>), redb::StorageError>;
/// What is taken of it.
type Take<T> = fn(Entry<'_>) -> Result<T, StoreError>;

fn decode_entry(entry: Entry<'_>) -> Result<(Vec<u8>, Row), StoreError> {
    let (key, stored) = entry.map_err(storage_error)?;
    Ok((key.value().to_vec(), decode(stored.value())?))
}

fn decode(stored: &[u8]) -> Result<Row, StoreError> {
    let revision = decode_revision(stored)?;
    Ok(Row { revision, value: stored[REVISION_BYTES..].to_vec() })
}

fn decode_revision(stored: &[u8]) -> Result<u64, StoreError> {
    match stored.first_chunk::<REVISION_BYTES>() {
        Some(revision) => Ok(u64::from_be_bytes(*revision)),
        None => Err(StoreError::Corrupt(Cause::new("a row is shorter than its revision"))),
    }
}

fn storage_error(error: redb::StorageError) -> StoreError {
    match error {
        redb::StorageError::Corrupted(_) => StoreError::Corrupt(Cause::new(error)),
        error => StoreError::Unavailable(Cause::new(error)),
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable(Cause::new("the store's file is closed after an earlier failure"))
}
