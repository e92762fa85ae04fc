//! What a session knows of the indices of its log: how many searches run, what has to be made again, and how
//! far all are made.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Searches, reports and looks of followers that work at the same time; each keeps at most one block and its
/// answer, some megabytes, and one core busy.
pub const SEARCHES_MAX: usize = 2;
/// Streams that tell entries as they come.
pub const FOLLOWERS_MAX: usize = 8;
/// Longest wait for a turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// Most segments that are remembered to be made again; others are found again by the next search.
const SUSPECTS_MAX: usize = 1024;

/// What is known.
pub struct Known {
    turns: Semaphore,
    followers: Arc<Semaphore>,
    suspects: Mutex<BTreeSet<u64>>,
    /// Segments that have none because their entries are not those that were committed.
    hopeless: Mutex<BTreeSet<u64>>,
    /// Segments before this one were all made, or refused.
    made_until: AtomicU64,
    news: Notify,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(SEARCHES_MAX),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            suspects: Mutex::default(),
            hopeless: Mutex::default(),
            made_until: AtomicU64::new(0),
            news: Notify::new(),
        }
    }
}

impl Known {
    /// A turn to read much of the log; `None` if there was none for ten seconds.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(TURN_WAIT_MAX, self.turns.acquire()).await.ok()?.ok()
    }

    /// A place for one who follows the log; `None` if all are taken.
    #[must_use]
    pub fn follower(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.followers).try_acquire_owned().ok()
    }

    /// The row of a segment is missing that was made, or does not open for its entries.
    pub fn suspect(&self, segment: u64) {
        if lock(&self.hopeless).contains(&segment) {
            return;
        }
        let mut suspects = lock(&self.suspects);
        if suspects.len() < SUSPECTS_MAX && suspects.insert(segment) {
            self.news.notify_one();
        }
    }

    /// What is to be made again, oldest first; it is not told twice.
    pub fn take_suspects(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *lock(&self.suspects))
    }

    /// Waits until there is something to be made again.
    pub async fn suspected(&self) {
        self.news.notified().await;
    }

    /// The first segment that may have no index yet.
    pub fn made_until(&self) -> u64 {
        self.made_until.load(Ordering::Acquire)
    }

    /// All segments before this one have an index, or cannot have one.
    pub fn made(&self, until: u64) {
        self.made_until.store(until, Ordering::Release);
    }

    /// A segment has no index, and none is tried again before the next unseal.
    pub fn give_up(&self, segment: u64) {
        let mut hopeless = lock(&self.hopeless);
        if hopeless.len() < SUSPECTS_MAX {
            hopeless.insert(segment);
        }
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
