//! The only place that commits: changes and their audit entries become durable together, in groups.
//!
//! ```text
//! callers:  seal the detail ──▶ queue (bounded) ──┐                          ┌──▶ Receipt
//! task:                                           ├─ group ─▶ one commit ────┤
//! callers:  seal the detail ──▶ queue (bounded) ──┘   bundle ‖ tiles ‖ head  └──▶ Receipt
//!                                                     ‖ changes, now and then
//!                                                     ‖ checkpoint
//! ```
//!
//! One task owns the end of the log. While a commit is under way the next jobs gather in the queue, so a slow
//! disk makes groups larger and not answers fewer. A job gets its receipt when its entry is durable, never
//! before.
//!
//! **Conflicts.** A job whose expectations do not hold, against the store and the jobs before it in the
//! group, is dropped with [`CommitError::Conflict`] and leaves no entry; the others go through.
//!
//! **Fencing.** The bundle row is the first operation and must be absent. If somebody else wrote it, another
//! broker has this store too: the writer stops for good rather than fork the log.
//!
//! **Failures.** If the commit fails, every job of the group fails and the end of the log stays where it was.
//! Where the store cannot say whether the commit happened, the writer looks for its own bundle before it goes
//! on.
//!
//! **Sealing of details.** A SealedBox costs some ten microseconds, so the caller's task makes it, in
//! parallel with others, before the job queues. The index is not known there and is not part of the context;
//! deployment, broker, action and outcome are. That a detail belongs to its index is what the Merkle tree and
//! the signed checkpoint say: whoever moves a detail changes a leaf. A key per bundle would have saved
//! derivations and cost a second format beside SKB1's box.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use symbolon_core::audit::{Action, Draft, Outcome, Receipt};
use symbolon_core::clock::Clock;
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::log::{Frontier, NoteSigner, VerifierKey};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::log::LogError;
use super::log::detail::{self, DetailPlace};
use super::log::rows::is_log_key;
use super::log::tail::{Tail, TailError};
use super::retention::Changes;
use super::retention::reserve::{Reserve, Room};
use super::sinks::cursor::Bookmark;
use crate::error::{OpError, Text};
use crate::random::os_rng;
use crate::store::{Cause, Snapshot, Store, StoreError, Write};

mod group;
mod task;
#[cfg(test)]
pub(crate) mod tests;

use task::Task;

/// Jobs waiting for a group.
const QUEUE_MAX: usize = 1024;
/// Longest wait for a place in the queue.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Most operations of one job: a secret with 2,048 versions of two rows each, its metadata and its folders.
pub const JOB_OPS_MAX: usize = 5120;
/// Most bytes of keys and values of one job.
pub const JOB_BYTES_MAX: usize = 8 << 20;
/// How long a stored checkpoint may be behind the log: what an auditor may miss who asks the store, and not
/// an open broker.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Longest detail in bytes, before sealing. Paths have at most 1024 bytes and names less.
pub const DETAIL_BYTES_MAX: usize = 32 << 10;

/// The keys and names that make entries and checkpoints of one deployment.
pub struct LogKeys {
    /// Seals the details.
    pub audit: Arc<AuditKey>,
    /// Signs the checkpoints. Its name is their origin line, such as `symbolon/<deployment>`.
    pub signer: NoteSigner,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The broker that writes.
    pub broker: BrokerId,
}

/// Why the writer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error("the audit log cannot be read")]
    Store(#[from] StoreError),
    /// The log contradicts its signed checkpoint. Nothing is written on top of it.
    #[error("the audit log was cut or altered; keep the store for an investigation and restore a backup")]
    Log(#[source] TailError),
}

/// Why changes and their entry were not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// An expectation of this job did not hold. Nothing of it was written, and it left no entry.
    #[error("change {op} expected another state of its row; somebody else wrote it first")]
    Conflict {
        /// Position in the job's changes.
        op: usize,
    },
    /// More or larger changes than one job may have, or a detail that is too long.
    #[error("more than one audited commit may hold")]
    TooLarge,
    /// A change touches the log's own rows or is malformed: a bug of the caller.
    #[error("change {op} is not one that a job may make")]
    NotAllowed {
        /// Position in the job's changes.
        op: usize,
    },
    /// The queue stayed full for too long.
    #[error("the audit log does not keep up; repeat the request later")]
    Busy,
    /// No space for entries, therefore no answers. Nothing was written.
    #[error("no space left for the audit log; free space and repeat the request")]
    Full,
    /// The log has used up what the configuration gives it. Nothing was written.
    #[error("the audit log has used up its disk budget; prune it, or raise audit.disk_budget_mib")]
    Budget,
    /// The store did not answer, or not readably. Whether it was written is unknown.
    #[error("the audit log cannot be written")]
    Unavailable(#[source] Cause),
    /// Another broker writes to this store. This writer has stopped for good.
    #[error("another broker wrote to this store; this one has stopped writing, stop it")]
    Fenced,
    /// The writer has been stopped.
    #[error("the audit log is closed")]
    Stopped,
}

/// Hands changes and entries to the one task that commits. Dropping it ends the task after what was queued.
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    moments: mpsc::Sender<MomentAsk>,
    verifier: VerifierKey,
    audit: Arc<AuditKey>,
    deployment: DeploymentId,
    broker: BrokerId,
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    task: JoinHandle<()>,
}

/// What handle and task both see.
#[derive(Debug, Default)]
struct Shared {
    size: AtomicU64,
    /// The tree over all durable entries, which nobody reads from the store.
    tree: Mutex<Frontier>,
    fenced: OnceLock<()>,
    /// Entries that the stored checkpoint covers.
    signed: watch::Sender<u64>,
    /// Entries that it is to cover at once.
    wanted: AtomicU64,
    /// That this has changed.
    news: Notify,
    /// What may be entered at the end of the disk budget.
    room: Room,
}

impl Shared {
    /// The log ends here now.
    fn grown(&self, tail: &Tail) {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).clone_from(tail.frontier());
        self.size.store(tail.size(), Ordering::Release);
    }
}

/// Everything that is durable, as of one moment.
pub struct Moment {
    /// Entries of the log; the stored checkpoint covers exactly these.
    pub entries: u64,
    /// All rows.
    pub snapshot: Box<dyn Snapshot>,
}

type MomentAsk = oneshot::Sender<Result<Moment, CommitError>>;

struct Job {
    changes: Vec<Write>,
    action: Action,
    outcome: Outcome,
    sealed_detail: Vec<u8>,
    answer: oneshot::Sender<Result<Receipt, CommitError>>,
}

impl Writer {
    /// Finds the end of the log, checks it against the signed checkpoint and starts the committing task.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        keys: LogKeys,
    ) -> Result<Self, StartError> {
        Self::start_signing(store, clock, keys, CHECKPOINT_EVERY).await
    }

    async fn start_signing(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        keys: LogKeys,
        checkpoint_every: Duration,
    ) -> Result<Self, StartError> {
        let (tail, signed) = Tail::recover(store.as_ref(), &keys.signer).await?;
        let shared = Arc::new(Shared::default());
        shared.grown(&tail);
        shared.signed.send_replace(signed);
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (moments, asks) = mpsc::channel(1);
        let LogKeys { audit, signer, deployment, broker } = keys;
        let verifier = signer.verifier().clone();
        let parts = task::Parts {
            store: Arc::clone(&store),
            clock,
            broker,
            tail,
            shared: Arc::clone(&shared),
            moments: asks,
            checkpoint_every,
            signer,
            audit: Arc::clone(&audit),
        };
        let task = tokio::spawn(Task::new(parts).run(queue));
        Ok(Self { jobs, moments, verifier, audit, deployment, broker, shared, store, task })
    }

    /// Commits `changes` and the entry of `draft`, all or nothing. Empty changes are for requests that only
    /// read.
    ///
    /// A dropped future does not take the job back once it is queued.
    pub async fn commit(&self, changes: Vec<Write>, draft: Draft) -> Result<Receipt, CommitError> {
        check_job(&changes)?;
        if !self.shared.room.take(&draft) {
            return Err(CommitError::Budget);
        }
        self.queue(changes, draft).await
    }

    /// The same for changes of the log's own rows that retention makes, also at the end of the disk budget.
    pub async fn retain(&self, changes: Changes, draft: Draft) -> Result<Receipt, CommitError> {
        let changes = changes.into_writes();
        if changes.len() > JOB_OPS_MAX {
            return Err(CommitError::TooLarge);
        }
        self.queue(changes, draft).await
    }

    /// Remembers how far a sink has come, without an entry: each would be one more to send. Goes on at the
    /// end of the disk budget.
    pub async fn bookmark(&self, mark: Bookmark) -> Result<(), CommitError> {
        if self.is_fenced() {
            return Err(CommitError::Fenced);
        }
        Ok(self.store.commit(vec![mark.into_write()]).await?)
    }

    /// From now on only what frees space or protects is entered, as far as the reserve goes; or everything
    /// again.
    pub fn limit(&self, reserve: Option<Reserve>) {
        self.shared.room.set(reserve);
    }

    /// That an entry of this action would be taken now, for whoever does something before it.
    pub fn require_room(&self, action: Action) -> Result<(), CommitError> {
        if self.shared.room.has(action) { Ok(()) } else { Err(CommitError::Budget) }
    }

    async fn queue(&self, changes: Vec<Write>, draft: Draft) -> Result<Receipt, CommitError> {
        // Here and nowhere else, so that no head can say what somebody was refused.
        let draft = if draft.outcome == Outcome::Denied { draft.veiled() } else { draft };
        let sealed_detail = self.seal(&draft)?;
        let (answer, wait) = oneshot::channel();
        let job = Job { changes, action: draft.action, outcome: draft.outcome, sealed_detail, answer };
        self.enqueue(job).await?;
        wait.await.map_err(|_| self.stopped())?
    }

    /// What verifies the checkpoints of this log.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Entries that are durable.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.size.load(Ordering::Acquire)
    }

    /// The tree over the entries that were durable a moment ago, as this process has made it.
    #[must_use]
    pub fn tree(&self) -> Frontier {
        self.shared.tree.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the stored checkpoint covers everything that is durable now, for whoever reads it. What is
    /// told to others has to be stored: a checkpoint that a kill takes back looks like a log that was cut.
    pub async fn store_checkpoint(&self) -> Result<(), CommitError> {
        let size = self.size();
        let mut signed = self.shared.signed.subscribe();
        if *signed.borrow() >= size {
            return Ok(());
        }
        self.shared.wanted.fetch_max(size, Ordering::AcqRel);
        self.shared.news.notify_one();
        let done = signed.wait_for(|signed| *signed >= size || self.is_fenced());
        match timeout(QUEUE_WAIT_MAX, done).await {
            Ok(Ok(signed)) if *signed >= size => Ok(()),
            Ok(_) => Err(self.stopped()),
            Err(_) => Err(CommitError::Busy),
        }
    }

    /// All rows between two commits, under a checkpoint of all entries: for whoever takes them elsewhere, and
    /// has nothing else that says how far the log went.
    pub async fn moment(&self) -> Result<Moment, CommitError> {
        let (ask, answer) = oneshot::channel();
        self.moments.send(ask).await.map_err(|_| self.stopped())?;
        match timeout(QUEUE_WAIT_MAX, answer).await {
            Ok(moment) => moment.map_err(|_| self.stopped())?,
            Err(_) => Err(CommitError::Busy),
        }
    }

    /// Another broker took the store; nothing will be committed any more.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.shared.fenced.get().is_some()
    }

    /// Commits what is queued and a checkpoint of all, then wipes the signing key. Answers when the task has
    /// ended.
    pub async fn stop(self) {
        drop((self.jobs, self.moments));
        let _ = self.task.await; // a panic there has been reported by the panic hook
    }

    fn seal(&self, draft: &Draft) -> Result<Vec<u8>, CommitError> {
        let place = DetailPlace {
            deployment: self.deployment,
            broker: self.broker,
            action: draft.action,
            outcome: draft.outcome,
        };
        let plain = match draft.action {
            Action::Refused => detail::encode_refused(draft.detail.clone()),
            _ => detail::encode(&draft.detail),
        };
        if plain.len() > DETAIL_BYTES_MAX {
            return Err(CommitError::TooLarge);
        }
        detail::seal(&self.audit, &place, &plain, &mut os_rng()).map_err(|_| CommitError::TooLarge)
    }

    async fn enqueue(&self, job: Job) -> Result<(), CommitError> {
        let job = match self.jobs.try_send(job) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(self.stopped()),
            Err(mpsc::error::TrySendError::Full(job)) => job,
        };
        match self.jobs.send_timeout(job, QUEUE_WAIT_MAX).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(CommitError::Busy),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> CommitError {
        if self.is_fenced() { CommitError::Fenced } else { CommitError::Stopped }
    }
}

fn check_job(changes: &[Write]) -> Result<(), CommitError> {
    let bytes: usize = changes.iter().map(Write::bytes).sum();
    if changes.len() > JOB_OPS_MAX || bytes > JOB_BYTES_MAX {
        return Err(CommitError::TooLarge);
    }
    match changes.iter().position(|op| !op.in_bounds() || is_log_key(op.key())) {
        Some(op) => Err(CommitError::NotAllowed { op }),
        None => Ok(()),
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            error => Self::Unavailable(Cause::new(error)),
        }
    }
}

impl From<TailError> for StartError {
    fn from(error: TailError) -> Self {
        match error {
            TailError::Log(LogError::Store(error)) => Self::Store(error),
            error => Self::Log(error),
        }
    }
}

impl From<CommitError> for OpError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { .. } => Self::CONFLICT,
            CommitError::Busy => Self::BUSY,
            CommitError::TooLarge => Self::Invalid(Text::of(&error)),
            CommitError::NotAllowed { .. }
            | CommitError::Full
            | CommitError::Budget
            | CommitError::Unavailable(_)
            | CommitError::Fenced
            | CommitError::Stopped => Self::UNLOGGED,
        }
    }
}
