//! Requests by nobody known, on their way into the log: the first of a source is durable before its answer,
//! the others are counted (`symbolon_core::strangers` decides which) and written when their time comes.
//!
//! Counts are in memory until then, so a crash loses them: nothing is disclosed to whom they are of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_core::audit::Draft;
use symbolon_core::clock::Now;
use symbolon_core::strangers::{self as core, Summary};
use symbolon_proto::source::Source;
use tracing::warn;

use super::writer::{CommitError, Writer};

/// Longest wait for the last counts: a disk that hangs must not keep a broker open.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What a session knows of requests by nobody known.
#[derive(Default)]
pub struct Strangers {
    counting: Mutex<core::Strangers>,
    counted: AtomicU64,
}

impl Strangers {
    /// Enters a request into the log, or counts it.
    pub async fn enter(
        &self,
        writer: &Writer,
        source: Source,
        draft: Draft,
        now: Now,
    ) -> Result<(), CommitError> {
        let Some(draft) = self.counting().note(source, draft, now) else {
            self.counted.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let written = writer.commit(Vec::new(), draft).await;
        written.map(drop).inspect_err(|_| self.counting().not_written(source))
    }

    /// Requests that were counted and have no entry of their own.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// Writes the counts whose time has come.
    pub async fn write_due(&self, writer: &Writer, now: Now) {
        let due = self.counting().due(now);
        let missing = self.write(writer, due, now).await;
        if missing > 0 {
            warn!(
                requests = missing,
                "refused requests could not be entered into the audit log; they stay counted"
            );
        }
    }

    /// Writes all counts; from here on every request is written.
    pub async fn close(&self, writer: &Writer, now: Now) {
        let all = self.counting().close(now);
        let requests: u64 = all.iter().map(Summary::requests).sum();
        let written = tokio::time::timeout(CLOSE_MAX, self.write(writer, all, now)).await;
        let missing = written.unwrap_or(requests);
        if missing > 0 {
            warn!(
                requests = missing,
                "refused requests could not be entered into the audit log before it closed"
            );
        }
    }

    /// How many requests could not be written. All at once, so that a commit takes many.
    async fn write(&self, writer: &Writer, summaries: Vec<Summary>, now: Now) -> u64 {
        let commits = summaries.into_iter().map(async |summary| {
            let written = writer.commit(Vec::new(), summary.draft()).await;
            written.is_err().then_some(summary)
        });
        let mut missing = 0;
        for summary in futures_util::future::join_all(commits).await.into_iter().flatten() {
            missing += summary.requests();
            self.counting().put_back(summary, now);
        }
        missing
    }

    fn counting(&self) -> MutexGuard<'_, core::Strangers> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
