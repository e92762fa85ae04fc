//! The task that owns the end of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use symbolon_core::clock::Clock;
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::BrokerId;
use symbolon_proto::log::tile::encode_hashes;
use symbolon_proto::log::tree::leaf_hash;
use symbolon_proto::log::{Checkpoint, Entry, NoteSigner};
use tokio::sync::mpsc;
use tracing::error;

use super::group::Group;
use super::{CommitError, Job, LogKeys, Shared};
use crate::audit::log::rows::{StoredEntry, bundle_key, checkpoint_key, encode_bundle, tile_key};
use crate::audit::log::tail::Tail;
use crate::store::{Expect, Store, StoreError, Write};

pub(super) struct Task {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    signer: NoteSigner,
    broker: BrokerId,
    tail: Tail,
    shared: Arc<Shared>,
    /// A commit that failed without saying whether it happened.
    unsettled: Option<Prepared>,
    /// Not used here. Held to the end and dropped last, so that whoever waits for the audit key to be gone
    /// also waits for the signing key and for the last commit: a writer started before that would find itself
    /// fenced out.
    _audit: Arc<AuditKey>,
}

/// The log's part of a commit, and the end of the log once it has happened.
struct Prepared {
    first: u64,
    bundle: Vec<u8>,
    tail: Tail,
}

/// Why an attempt at a commit did not succeed.
enum Setback {
    /// A job was dropped; the others may try again.
    Retry,
    /// Nobody's entry is durable, as far as is known.
    Failed(CommitError),
}

impl Task {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        keys: LogKeys,
        tail: Tail,
        shared: Arc<Shared>,
    ) -> Self {
        let LogKeys { signer, broker, audit, .. } = keys;
        Self { store, clock, signer, broker, tail, shared, unsettled: None, _audit: audit }
    }

    /// Commits group after group until every handle is gone, or another broker has taken the store. Ending
    /// drops the queue, which tells whoever still waits.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            // Those just answered are about to come back: let them, so that one commit serves them all.
            tokio::task::yield_now().await;
            self.commit(Group::gather(first, &mut queue)).await;
            if self.shared.fenced.get().is_some() {
                error!("another broker wrote to this store; this one has stopped writing");
                return;
            }
        }
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
        group.judge(self.store.as_ref()).await?;
        let first = self.tail.size();
        if group.live().next().is_none() {
            return Ok(first);
        }
        let (prepared, mut ops) = self.prepare(group);
        let log_ops = ops.len();
        ops.extend(group.live().flat_map(|job| job.changes.iter().cloned()));
        match self.store.commit(ops).await {
            Ok(()) => self.adopt(prepared),
            Err(StoreError::Conflict { op: 0 }) => return Err(self.fence()),
            Err(StoreError::Conflict { op }) if op >= log_ops && group.lose(op - log_ops) => {
                return Err(Setback::Retry);
            }
            Err(error) => {
                self.unsettled = Some(prepared);
                return Err(error.into());
            }
        }
        Ok(first)
    }

    /// After a commit without an answer: looks whether its bundle is there.
    async fn settle(&mut self) -> Result<(), Setback> {
        let Some(prepared) = self.unsettled.take() else { return Ok(()) };
        match self.store.get(&bundle_key(prepared.first)).await {
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

    /// Entries, bundle, tiles and checkpoint of the live jobs. The bundle comes first: it is what fences.
    fn prepare(&self, group: &Group) -> (Prepared, Vec<Write>) {
        let mut tail = self.tail.clone();
        tail.advance_time(self.clock.now().unix_ms);
        let (mut entries, mut tiles) = (Vec::new(), Vec::new());
        for job in group.live() {
            let bytes = self.entry(&tail, job);
            let leaf = leaf_hash(&bytes);
            tail.append(leaf, &mut tiles);
            entries.push(StoredEntry { leaf, bytes });
        }
        let first = self.tail.size();
        let bundle = encode_bundle(&entries);
        let note = Checkpoint::sign(tail.size(), tail.root(), &self.signer);
        let mut ops = Vec::with_capacity(2 + tiles.len());
        ops.push(Write::Put { key: bundle_key(first), value: bundle.clone(), expect: Expect::Absent });
        ops.extend(tiles.into_iter().map(|tile| {
            let key = tile_key(tile.level, tile.number);
            Write::Put { key, value: encode_hashes(&tile.hashes), expect: Expect::Any }
        }));
        ops.push(Write::Put { key: checkpoint_key(), value: note.into_bytes(), expect: Expect::Any });
        (Prepared { first, bundle, tail }, ops)
    }

    /// The next entry of the log.
    fn entry(&self, tail: &Tail, job: &Job) -> Vec<u8> {
        let entry = Entry {
            index: tail.size(),
            time_ms: tail.time_ms(),
            action: job.action,
            outcome: job.outcome,
            broker: self.broker,
            detail: job.sealed_detail.clone(),
        };
        entry.encode().expect("details are bounded well below an entry's length before they are sealed")
    }

    fn adopt(&mut self, prepared: Prepared) {
        self.tail = prepared.tail;
        self.shared.size.store(self.tail.size(), Ordering::Release);
    }

    fn fence(&self) -> Setback {
        let _ = self.shared.fenced.set(()); // already set says the same
        Setback::Failed(CommitError::Fenced)
    }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
