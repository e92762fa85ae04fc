//! Two files on this machine: a write-ahead file that makes commits durable, and a table, kept by redb, that
//! follows it.
//!
//! ```text
//! get, scan ──▶ overlay (in memory), and the table below it
//! commit ──▶ queue ──▶ thread "symbolon-store" ──▶ one write, one sync ──▶ overlay ──▶ answer
//!                                                                            │ now and then
//!                      thread "symbolon-table" ◀── all of it, one transaction ┘
//! ```
//!
//! `docs/durability.md` argues why nothing acknowledged is lost. In short: a commit is answered when its
//! record is durable in the ring of `wal`; a place of the ring is written again when the transaction that
//! holds its commits is durable in the table; opening replays the records that the table does not have.
//!
//! **Layout of the table.** Bytes to bytes; a value is `revision(8) ‖ bytes`. The revision is the number of
//! the commit. A header row (`header.rs`), whose one-byte key sorts before every row key, says the number of
//! the last commit that the table holds and where the write-ahead file goes on. Numbers never repeat,
//! whatever is deleted.
//!
//! **Order and copies.** Closing brings everything into the table and says so in its header; then the file at
//! the configured path is the store, whole, for every version of this program. The file ending in `.wal`
//! beside it is needed after any other end.
//!
//! **Durability of the table.** redb's checksums decide after a crash which of its transactions is whole.
//! They can be forged by someone who chooses page contents and times the crash; ours hold ciphertext under
//! random salts. Each transaction saves the state of redb's allocator (*quick repair*), so that opening after
//! a crash needs no walk through the file: that makes it slower, and there are few of them.
//!
//! **Full disk.** The write-ahead file has its space from the beginning. Free space is looked at before each
//! checkpoint, so that the usual full disk never reaches redb; until there is space again commits go on as
//! long as the ring and the overlay have room, then they are refused with `Full` before anything was touched.
//! If a write of redb fails all the same (quota, somebody else was faster), redb refuses everything until it
//! is reopened; the thread does that under the same file lock. After a failed *sync* of either file nothing
//! goes on: the kernel may have dropped pages that it still shows, and only a restart of the process on a
//! checked disk is honest.
//!
//! **Memory.** redb's page cache, bounded by the caller, and the overlay, bounded by `Sizes`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::medium::{self, Medium, WalFile};
use super::{Answer, Cause, Row, Scan, Snapshot, Store, StoreError, Write};

mod base;
mod checkpoint;
mod committer;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod failure_tests;
mod fill;
mod header;
mod moment;
mod overlay;
#[cfg(test)]
mod power_tests;
mod read;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod rig;
#[cfg(test)]
mod tests;
mod view;
mod wal;

use base::Tables;
use checkpoint::Checkpoints;
use committer::Committer;
use moment::Moment;
use read::{Take, read_row, read_rows};
use view::View;

/// Page cache if nobody says otherwise. Cached pages move between the allocator's arenas and cost about twice
/// their bytes: with 100,000 secrets under load a broker takes 43 MiB with 8 MiB of cache and 57 to 62 MiB
/// with 16, which is no faster.
pub const CACHE_BYTES_DEFAULT: usize = 8 << 20;

/// Commits handed over and not yet answered; more wait in their own task.
const QUEUE_MAX: usize = 64;
/// A group of commits stops growing beyond this many bytes; one last commit may exceed it.
const GROUP_BYTES: usize = 512 << 10;
/// Time without commits after which the table is brought up to date although there is room.
const IDLE: Duration = Duration::from_secs(300);
/// Scans up to this many rows run where they are called; longer ones on a thread that may block.
const SCAN_INLINE_ROWS: usize = 256;

/// Bounds of the write-ahead file and of what is kept in memory above the table.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Records that the table does not have. A checkpoint begins when half of it is written.
    ring_bytes: u64,
    /// A longer record goes into the table at once, at most a quarter of the ring.
    record_bytes: u64,
    /// Rows above the table that are not on their way into it, and as many again that are. A checkpoint
    /// begins at half of it.
    overlay_bytes: usize,
}

const SIZES: Sizes = Sizes { ring_bytes: 16 << 20, record_bytes: 2 << 20, overlay_bytes: 2 << 20 };

/// The two files. Tests bring some that fail.
struct Files {
    table: Arc<dyn Medium>,
    wal: Arc<dyn Medium>,
}

/// A store in one file and its write-ahead file, open in this process only.
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
        answer: Answering,
    },
    /// Answered after the files are closed.
    Close(Answering),
}

type Answering = oneshot::Sender<Result<(), StoreError>>;

/// Where the write-ahead file of the store at `path` is. A store that was closed does not need it.
#[must_use]
pub fn write_ahead_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".wal");
    name.into()
}

impl EmbeddedStore {
    /// Makes a new store at `path`, which must not exist, with a page cache of `cache_bytes`. Only `init`
    /// calls this.
    pub fn create(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let file = medium::create_file(path)?;
        let files = Files { table: Arc::new(file), wal: Arc::new(WalFile::at(write_ahead_path(path))) };
        let store = Self::start(files, SIZES, cache_bytes, Start::Create)?;
        medium::sync_directory_of(path).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        Ok(store)
    }

    /// Opens the store at `path` with a page cache of `cache_bytes`. Never makes one: a missing, foreign or
    /// empty file is an error, and so is a store that another process has open.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let file = medium::open_file(path)?;
        let files = Files { table: Arc::new(file), wal: Arc::new(WalFile::at(write_ahead_path(path))) };
        Self::start(files, SIZES, cache_bytes, Start::Open)
    }

    fn start(files: Files, sizes: Sizes, cache_bytes: usize, start: Start) -> Result<Self, StoreError> {
        let view = Arc::new(View::default());
        let tables = Tables::start(files.table, cache_bytes, start, Arc::clone(&view))?;
        let header = tables.header().clone();
        let checkpoints = Checkpoints::start(tables)?;
        let committer = Committer::start(files.wal, sizes, Arc::clone(&view), checkpoints, header)?;
        let (orders, queue) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("symbolon-store".to_owned())
            .spawn(move || run(committer, &queue))
            .map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        Ok(Self { view, slots: Semaphore::new(QUEUE_MAX), orders: Some(orders), thread: Some(thread) })
    }

    /// Rows of a range. Long ranges are read by a thread that may block.
    async fn read<T: Take>(&self, scan: Scan<'_>) -> Result<Vec<T>, StoreError> {
        let range = read::range(&self.view, &scan)?;
        if scan.limit <= SCAN_INLINE_ROWS {
            return read_rows(range, scan);
        }
        let (from, until) = (scan.from.to_vec(), scan.until.to_vec());
        let (descending, limit) = (scan.descending, scan.limit);
        tokio::task::spawn_blocking(move || {
            read_rows(range, Scan { from: &from, until: &until, descending, limit })
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
        let (answer, wait) = oneshot::channel();
        match self.order(Order::Close(answer)) {
            Ok(()) => wait.await.unwrap_or(Ok(())), // dropped, whichever way the thread ended
            Err(_) => Ok(()),
        }
    }

    fn order(&self, order: Order) -> Result<(), StoreError> {
        self.orders.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())
    }
}

/// Stops the thread after what it was handed, closes the files in order and releases the lock.
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
        Box::pin(async move { read_row(&self.view, key) })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        Box::pin(self.read(scan))
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(self.read(scan))
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>> {
        Box::pin(async { Ok(Box::new(Moment::of(&self.view)?) as Box<dyn Snapshot>) })
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        Box::pin(self.hand_over(ops))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.hand_over_close())
    }
}

/// Whether the file has to be new or has to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Create,
    Open,
}

fn run(mut committer: Committer, queue: &Receiver<Order>) {
    let mut ahead = None;
    let closing = loop {
        match ahead.take().or_else(|| next_order(&mut committer, queue)) {
            Some(Order::Commit { ops, answer }) => ahead = commit_group(&mut committer, (ops, answer), queue),
            Some(Order::Close(answer)) => break Some(answer),
            None => break None,
        }
    };
    let closed = committer.close();
    if let Some(answer) = closing {
        let _ = answer.send(closed); // nobody waits any more: the files are closed all the same
    }
}

/// Commits the first order and those that wait behind it; answers one that is not a commit.
fn commit_group(
    committer: &mut Committer,
    first: (Vec<Write>, Answering),
    queue: &Receiver<Order>,
) -> Option<Order> {
    let mut bytes = bytes_of(&first.0);
    let (mut group, mut answers) = (vec![first.0], vec![first.1]);
    let mut ahead = None;
    while bytes < GROUP_BYTES && ahead.is_none() {
        match queue.try_recv() {
            Ok(Order::Commit { ops, answer }) => {
                bytes += bytes_of(&ops);
                group.push(ops);
                answers.push(answer);
            }
            Ok(other) => ahead = Some(other),
            Err(_) => break,
        }
    }
    for (answer, verdict) in answers.into_iter().zip(committer.commit(group)) {
        let _ = answer.send(verdict); // nobody waits any more: the commit stands all the same
    }
    ahead
}

fn bytes_of(ops: &[Write]) -> usize {
    ops.iter().map(Write::bytes).sum()
}

fn next_order(committer: &mut Committer, queue: &Receiver<Order>) -> Option<Order> {
    loop {
        match queue.recv_timeout(IDLE) {
            Err(RecvTimeoutError::Timeout) => committer.idle(),
            order => return order.ok(),
        }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable(Cause::new("the store's files are closed"))
}
