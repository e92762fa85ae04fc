//! The task that owns the end of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use symbolon_core::clock::Clock;
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::BrokerId;
use symbolon_proto::log::tile::encode_hashes;
use symbolon_proto::log::tree::leaf_hash;
use symbolon_proto::log::{Checkpoint, Entry, Head, NoteSigner};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use super::group::Group;
use super::{CommitError, Job, Moment, MomentAsk, Shared};
use crate::audit::log::rows::{
    StoredEntry, bundle_key, bundles, checkpoint_key, encode_bundle, head_key, tile_key,
};
use crate::audit::log::tail::Tail;
use crate::store::{Expect, Store, StoreError, Write};

/// What the task is made of.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) broker: BrokerId,
    pub(super) tail: Tail,
    pub(super) shared: Arc<Shared>,
    /// Who asks for everything as of one moment.
    pub(super) moments: mpsc::Receiver<MomentAsk>,
    /// How long the stored checkpoint may be behind the log.
    pub(super) checkpoint_every: Duration,
    pub(super) signer: NoteSigner,
    /// Held to the end and dropped last, so that whoever waits for the audit key to be gone
    /// also waits for the signing key and for the last commit: a writer started before that would find itself
    /// fenced out.
    #[expect(dead_code, reason = "held, not used")]
    pub(super) audit: Arc<AuditKey>,
}

pub(super) struct Task {
    /// A commit that failed without saying whether it happened.
    unsettled: Option<Prepared>,
    /// When the stored checkpoint is to cover what has come since.
    due: Instant,
    parts: Parts,
}

/// The log's part of a commit, and the end of the log once it has happened.
struct Prepared {
    first: u64,
    /// The first of its bundles.
    bundle: Vec<u8>,
    tail: Tail,
    /// Whether a checkpoint goes with it.
    signs: bool,
}

/// Why an attempt at a commit did not succeed.
enum Setback {
    /// A job was dropped; the others may try again.
    Retry,
    /// Nobody's entry is durable, as far as is known.
    Failed(CommitError),
}

impl Task {
    pub(super) fn new(parts: Parts) -> Self {
        Self { unsettled: None, due: Instant::now(), parts }
    }

    /// Commits group after group until every handle is gone, or another broker has taken the store. Ending
    /// drops the queue, which tells whoever still waits.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut before = 1;
        while let Some(first) = self.next(&mut queue).await {
            if before > 1 {
                // Those just answered are about to come back: let them, so that one commit serves them all.
                tokio::task::yield_now().await;
            }
            let group = Group::gather(first, &mut queue);
            before = group.jobs();
            self.commit(group).await;
        }
        let _ = self.write_checkpoint().await; // what an orderly stop leaves is signed to the last entry
        if self.is_fenced() {
            error!("another broker wrote to this store; this one has stopped writing");
        }
    }

    /// The next job. While there is none, a checkpoint when it is due or wanted. `None` at the end. Who asks
    /// for a moment comes first, or would wait for as long as there is always a job.
    async fn next(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        while !self.is_fenced() {
            let is_behind = self.signed() < self.parts.tail.size();
            tokio::select! {
                biased;
                Some(ask) = self.parts.moments.recv() => {
                    let _ = ask.send(self.moment().await); // who has stopped waiting needs none
                    continue;
                }
                job = queue.recv() => return job,
                () = self.parts.shared.news.notified(), if is_behind => {}
                () = sleep_until(self.due), if is_behind => {}
            }
            let _ = self.write_checkpoint().await;
        }
        None
    }

    /// Everything that is durable, with its checkpoint. No commit lies between them: all are made here.
    async fn moment(&mut self) -> Result<Moment, CommitError> {
        self.write_checkpoint().await?;
        let snapshot = self.parts.store.snapshot().await?;
        Ok(Moment { entries: self.parts.tail.size(), snapshot })
    }

    fn is_fenced(&self) -> bool {
        self.parts.shared.fenced.get().is_some()
    }

    fn sign(&self, head: Head) -> String {
        Checkpoint::sign(head.size, head.root, &self.parts.signer)
    }

    fn signed(&self) -> u64 {
        *self.parts.shared.signed.borrow()
    }

    /// Whether the next commit takes a checkpoint with it.
    fn signs(&self) -> bool {
        Instant::now() >= self.due || self.parts.shared.wanted.load(Ordering::Acquire) > self.signed()
    }

    /// Writes a checkpoint of what is durable, unless there is one. If that fails, the next commit or the
    /// next second tries again.
    async fn write_checkpoint(&mut self) -> Result<(), CommitError> {
        let written = self.sign_stored().await;
        self.due = Instant::now() + self.parts.checkpoint_every;
        written
    }

    async fn sign_stored(&mut self) -> Result<(), CommitError> {
        self.settle().await?;
        let head = self.parts.tail.head();
        if self.is_fenced() {
            return Err(CommitError::Fenced);
        }
        if self.signed() == head.size {
            return Ok(());
        }
        // Another broker's checkpoint must not be replaced: the bundle that follows is its fence, as ever.
        let alone = Write::Delete { key: bundle_key(head.size), expect: Expect::Absent };
        match self.parts.store.commit(vec![alone, put_checkpoint(self.sign(head))]).await {
            Ok(()) => drop(self.parts.shared.signed.send_replace(head.size)),
            Err(StoreError::Conflict { .. }) => return Err(self.fence()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn commit(&mut self, mut group: Group) {
        loop {
            match self.attempt(&mut group).await {
                Ok(first) => return group.succeed(first),
                Err(Setback::Retry) => {} // at least one job fewer each time
                Err(Setback::Failed(error)) => return group.fail(&error),
            }
        }
    }

    /// One commit of the group's live jobs; answers the index of the first.
    async fn attempt(&mut self, group: &mut Group) -> Result<u64, Setback> {
        self.settle().await?;
        group.judge(self.parts.store.as_ref()).await?;
        let first = self.parts.tail.size();
        if group.live().next().is_none() {
            return Ok(first);
        }
        let (prepared, mut ops) = self.prepare(group);
        let log_ops = ops.len();
        ops.extend(group.live().flat_map(|job| job.changes.iter().cloned()));
        match self.parts.store.commit(ops).await {
            Ok(()) => self.adopt(prepared),
            Err(StoreError::Conflict { op }) if op < log_ops => return Err(self.fence().into()),
            Err(StoreError::Conflict { op }) if group.lose(op - log_ops) => return Err(Setback::Retry),
            Err(error) => {
                self.unsettled = Some(prepared);
                return Err(error.into());
            }
        }
        Ok(first)
    }

    /// After a commit without an answer: looks whether its bundle is there.
    async fn settle(&mut self) -> Result<(), CommitError> {
        let Some(prepared) = self.unsettled.take() else { return Ok(()) };
        match self.parts.store.get(&bundle_key(prepared.first)).await {
            Ok(None) => {}
            Ok(Some(row)) if row.value == prepared.bundle => self.adopt(prepared),
            Ok(Some(_)) => return Err(self.fence()),
            Err(error) => {
                self.unsettled = Some(prepared);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Bundles, tiles and head of the live jobs, and a checkpoint if it is time for one. The first bundle
    /// comes first: it is what fences.
    fn prepare(&self, group: &Group) -> (Prepared, Vec<Write>) {
        let mut tail = self.parts.tail.clone();
        tail.advance_time(self.parts.clock.now().unix_ms);
        let (mut entries, mut tiles) = (Vec::new(), Vec::new());
        for job in group.live() {
            let bytes = self.entry(&tail, job);
            let leaf = leaf_hash(&bytes);
            tail.append(leaf, &mut tiles);
            entries.push(StoredEntry { leaf, bytes });
        }
        let first = self.parts.tail.size();
        let head = tail.head();
        let bundles: Vec<_> = bundles(&entries).map(|bundle| (bundle.len(), encode_bundle(bundle))).collect();
        let bundle = bundles.first().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let mut ops = put_bundles(first, bundles);
        ops.extend(tiles.into_iter().map(|tile| {
            let key = tile_key(tile.level, tile.number);
            Write::Put { key, value: encode_hashes(&tile.hashes), expect: Expect::Any }
        }));
        ops.push(Write::Put { key: head_key(), value: head.seal(&self.parts.signer), expect: Expect::Any });
        let signs = self.signs();
        ops.extend(signs.then(|| put_checkpoint(self.sign(head))));
        (Prepared { first, bundle, tail, signs }, ops)
    }

    /// The next entry of the log.
    fn entry(&self, tail: &Tail, job: &Job) -> Vec<u8> {
        let entry = Entry {
            index: tail.size(),
            time_ms: tail.time_ms(),
            action: job.action,
            outcome: job.outcome,
            broker: self.parts.broker,
            detail: job.sealed_detail.clone(),
        };
        entry.encode().expect("details are bounded well below an entry's length before they are sealed")
    }

    fn adopt(&mut self, prepared: Prepared) {
        self.parts.tail = prepared.tail;
        self.parts.shared.grown(&self.parts.tail);
        if prepared.signs {
            self.parts.shared.signed.send_replace(self.parts.tail.size());
            self.due = Instant::now() + self.parts.checkpoint_every;
        }
    }

    fn fence(&self) -> CommitError {
        let _ = self.parts.shared.fenced.set(()); // already set says the same
        self.parts.shared.signed.send_modify(|_| ()); // whoever waits for a checkpoint looks again
        CommitError::Fenced
    }
}

fn put_bundles(first: u64, bundles: Vec<(usize, Vec<u8>)>) -> Vec<Write> {
    let mut index = first;
    let put = |(entries, value)| {
        let key = bundle_key(index);
        index += entries as u64;
        Write::Put { key, value, expect: Expect::Absent }
    };
    bundles.into_iter().map(put).collect()
}

fn put_checkpoint(note: String) -> Write {
    Write::Put { key: checkpoint_key(), value: note.into_bytes(), expect: Expect::Any }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CommitError> for Setback {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}
