//! What has left, and is not said to be indexed. It outlives connections: whoever asks again before sending
//! again makes no copies.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::audit::sinks::Line;

/// Lines of one request.
struct Batch {
    id: u64,
    /// Hash of the last one.
    last: String,
    since: Instant,
    /// A collector says so once.
    is_indexed: bool,
}

/// All of them, in the order in which they have left.
#[derive(Default)]
pub(super) struct Pending(Mutex<Vec<Batch>>);

impl Pending {
    /// Those of `lines` that have not left.
    pub(super) fn unsent<'a>(&self, lines: &'a [Line]) -> &'a [Line] {
        let batches = self.batches();
        let has_left = |line: &Line| batches.iter().any(|batch| batch.last == line.hash);
        let from = lines.iter().rposition(has_left).map_or(0, |at| at + 1);
        lines.get(from..).unwrap_or_default()
    }

    /// They have left, and will be asked for by this number.
    pub(super) fn add(&self, id: u64, last: &str) {
        let batch = Batch { id, last: last.to_owned(), since: Instant::now(), is_indexed: false };
        self.batches().push(batch);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches().is_empty()
    }

    /// What is to be asked for.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.batches().iter().filter(|batch| !batch.is_indexed).map(|batch| batch.id).collect()
    }

    /// Notes of each whether it is.
    pub(super) fn indexed(&self, is: impl Fn(u64) -> bool) {
        self.batches().iter_mut().for_each(|batch| batch.is_indexed |= is(batch.id));
    }

    /// For how long the oldest has waited.
    pub(super) fn age(&self) -> Duration {
        self.batches().first().map_or(Duration::ZERO, |batch| batch.since.elapsed())
    }

    /// None of them counts any more.
    pub(super) fn clear(&self) {
        self.batches().clear();
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
