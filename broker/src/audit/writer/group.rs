//! A group of jobs on its way to one commit, and the judgement of their expectations.

use std::collections::HashMap;

use symbolon_core::audit::Receipt;
use tokio::sync::mpsc;

use super::{CommitError, Job};
use crate::audit::log::rows::BUNDLE_ENTRIES_MAX;
use crate::store::{Expect, Store, StoreError, Write};

/// A group stops growing beyond this many operations or bytes; one last job may exceed it.
const GROUP_OPS: usize = 8192;
const GROUP_BYTES: usize = 8 << 20;

/// Jobs that share a commit, each with what has become of it.
pub(super) struct Group {
    jobs: Vec<(Job, Verdict)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Goes into the commit.
    Live,
    /// An expectation does not hold. It is told so only when the group has an outcome, for what it lost
    /// against may be another job of this group.
    Lost { op: usize },
}

/// What a row looks like at some point within the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// As in the store: its revision, if it exists.
    Stored(Option<u64>),
    /// Put by an earlier operation of the group, so it has no revision yet.
    Put,
    /// Deleted by an earlier operation of the group.
    Deleted,
}

impl Seen {
    fn satisfies(self, expect: Expect) -> bool {
        match self {
            Self::Stored(revision) => expect.holds(revision),
            Self::Put => expect == Expect::Any,
            Self::Deleted => expect.holds(None),
        }
    }
}

type Overlay = HashMap<Vec<u8>, Seen>;

impl Group {
    /// The first job and whatever else is waiting, within the bounds of a group.
    pub(super) fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> Self {
        let (mut ops, mut bytes) = (0, 0);
        let mut jobs = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            ops += job.changes.len();
            bytes += job.sealed_detail.len() + job.changes.iter().map(Write::bytes).sum::<usize>();
            jobs.push((job, Verdict::Live));
            let room = jobs.len() < BUNDLE_ENTRIES_MAX && ops < GROUP_OPS && bytes < GROUP_BYTES;
            next = if room { queue.try_recv().ok() } else { None };
        }
        Self { jobs }
    }

    /// How many jobs there are.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Jobs that go into the commit.
    pub(super) fn live(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|(_, verdict)| *verdict == Verdict::Live).map(|(job, _)| job)
    }

    /// Drops the jobs whose expectations do not hold against the store and the jobs before them.
    pub(super) async fn judge(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut overlay = Overlay::new();
        for (job, verdict) in &mut self.jobs {
            if *verdict != Verdict::Live || job.changes.is_empty() {
                continue;
            }
            match judge_job(&job.changes, &overlay, store).await? {
                Ok(written) => overlay.extend(written),
                Err(op) => *verdict = Verdict::Lost { op },
            }
        }
        Ok(())
    }

    /// Drops the live job that owns operation `position`, counted over the changes of all live jobs in order:
    /// somebody else wrote between judgement and commit. `false` if there is no such operation.
    pub(super) fn lose(&mut self, position: usize) -> bool {
        let mut before = 0;
        for (job, verdict) in &mut self.jobs {
            if *verdict != Verdict::Live {
                continue;
            }
            if position < before + job.changes.len() {
                *verdict = Verdict::Lost { op: position - before };
                return true;
            }
            before += job.changes.len();
        }
        false
    }

    /// Answers everybody: live jobs have the indices from `first` on.
    pub(super) fn succeed(self, first: u64) {
        let mut index = first;
        for (job, verdict) in self.jobs {
            let answer = match verdict {
                Verdict::Live => {
                    index += 1;
                    // The one place that may say so: the commit that holds this entry has been answered with
                    // success.
                    #[allow(clippy::disallowed_methods)]
                    Ok(Receipt::attest(index - 1))
                }
                Verdict::Lost { op } => Err(CommitError::Conflict { op }),
            };
            let _ = job.answer.send(answer); // the caller may have gone; the entry stands
        }
    }

    /// Answers everybody with the reason why there was no commit.
    pub(super) fn fail(self, error: &CommitError) {
        for (job, _) in self.jobs {
            let _ = job.answer.send(Err(error.clone()));
        }
    }
}

/// What a job's changes leave behind, or the position of the first that may not happen.
async fn judge_job(
    changes: &[Write],
    group: &Overlay,
    store: &dyn Store,
) -> Result<Result<Overlay, usize>, StoreError> {
    let mut written = Overlay::new();
    for (position, op) in changes.iter().enumerate() {
        if op.expect() != Expect::Any {
            let seen = match written.get(op.key()).or_else(|| group.get(op.key())) {
                Some(seen) => *seen,
                None => Seen::Stored(store.get(op.key()).await?.map(|row| row.revision)),
            };
            if !seen.satisfies(op.expect()) {
                return Ok(Err(position));
            }
        }
        let after = match op {
            Write::Put { .. } => Seen::Put,
            Write::Delete { .. } => Seen::Deleted,
        };
        written.insert(op.key().to_vec(), after);
    }
    Ok(Ok(written))
}
