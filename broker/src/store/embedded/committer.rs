//! The one that commits: judges expectations, appends to the write-ahead file, shows what is durable, and has
//! the table brought up to date before the ring is full.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rand_core::Rng;

use super::Sizes;
use super::checkpoint::{Checkpoints, Failed, Job, Outcome};
use super::header::{Header, Mark};
use super::overlay::Generation;
use super::read::read_revision;
use super::view::View;
use super::wal::{AppendError, Wal, record_bytes};
use crate::random::os_rng;
use crate::store::medium::{Medium, is_full};
use crate::store::{Cause, Expect, StoreError, Write};

/// Owns the write-ahead file.
pub(super) struct Committer {
    medium: Arc<dyn Medium>,
    sizes: Sizes,
    view: Arc<View>,
    checkpoints: Checkpoints,
    wal: Option<Wal>,
    /// A use of the file that the table does not know of yet, as far as is known.
    begun: Option<Wal>,
    /// Number of the last commit.
    sequence: u64,
    /// A checkpoint that failed and has to be made before any other.
    failed: Option<Job>,
    /// After a failed checkpoint: bytes in the ring that bring the next attempt.
    patience: u64,
    /// A sync failed: nothing is written any more.
    distrusted: bool,
}

/// Commits of a group that hold, and what they leave behind.
#[derive(Default)]
struct Staged {
    commits: Vec<(u64, Vec<Write>)>,
    revisions: HashMap<Vec<u8>, Option<u64>>,
}

/// What becomes of each commit of a group.
pub(super) type Verdicts = Vec<Result<(), StoreError>>;

impl Committer {
    /// Goes on where `header` says, which is what the table says of itself.
    pub(super) fn start(
        medium: Arc<dyn Medium>,
        sizes: Sizes,
        view: Arc<View>,
        checkpoints: Checkpoints,
        header: Header,
    ) -> Result<Self, StoreError> {
        let Header { mut sequence, mark } = header;
        let mut wal = None;
        if let Some(mark) = mark {
            let (resumed, commits) = Wal::resume(Arc::clone(&medium), mark, sequence)?;
            sequence = commits.last().map_or(sequence, |commit| commit.sequence);
            view.insert(commits.into_iter().map(|commit| (commit.sequence, commit.ops)));
            wal = Some(resumed);
        }
        let (begun, failed) = (None, None);
        Ok(Self {
            medium,
            sizes,
            view,
            checkpoints,
            wal,
            begun,
            sequence,
            failed,
            patience: 0,
            distrusted: false,
        })
    }

    /// Makes each commit of a group durable, or says why not; all with one write and one sync.
    pub(super) fn commit(&mut self, group: Vec<Vec<Write>>) -> Verdicts {
        if let Err(error) = self.prepare() {
            return group.iter().map(|_| Err(error.clone())).collect();
        }
        let mut staged = Staged::default();
        let verdicts: Verdicts = group.into_iter().map(|ops| self.stage(&mut staged, ops)).collect();
        match self.write(staged.commits) {
            Ok(()) => verdicts,
            // A commit that lost may have lost against one that did not happen.
            Err(error) => verdicts.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Has everything that was committed brought into the table, and waits for it.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.check_trust()?;
        self.settle()?;
        while self.has_work() {
            self.checkpoint();
            self.settle()?;
        }
        Ok(())
    }

    /// Brings everything into the table and says there that the write-ahead file is not needed.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        self.flush()?;
        if self.wal.is_none() && self.begun.is_none() {
            return Ok(());
        }
        let header = Header { sequence: self.sequence, mark: None };
        self.checkpoints.begin(Job { rows: Arc::default(), header });
        self.settle()
    }

    /// Nothing has come for a long time: what there is goes into the table.
    pub(super) fn idle(&mut self) {
        self.look_after_checkpoint();
        if self.has_work() && !self.distrusted && !self.checkpoints.is_under_way() {
            self.checkpoint();
        }
    }

    fn has_work(&self) -> bool {
        self.failed.is_some() || !self.view.is_level()
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.check_trust()?;
        self.look_after_checkpoint();
        if !self.view.is_open() {
            self.settle()?;
            self.checkpoint();
            self.settle()?;
        }
        Ok(())
    }

    fn check_trust(&self) -> Result<(), StoreError> {
        match self.distrusted {
            true => Err(StoreError::Unavailable(Cause::new(
                "an earlier sync of the store's files failed; check the disk and restart",
            ))),
            false => Ok(()),
        }
    }

    /// Judges a commit against the store and the commits of its group before it.
    fn stage(&self, staged: &mut Staged, ops: Vec<Write>) -> Result<(), StoreError> {
        let number = self.sequence + 1 + staged.commits.len() as u64;
        let mut written: HashMap<&[u8], Option<u64>> = HashMap::with_capacity(ops.len());
        for (position, op) in ops.iter().enumerate() {
            if op.expect() != Expect::Any {
                let earlier = written.get(op.key()).or_else(|| staged.revisions.get(op.key())).copied();
                let revision = earlier.map_or_else(|| read_revision(&self.view, op.key()), Ok)?;
                if !op.expect().holds(revision) {
                    return Err(StoreError::Conflict { op: position });
                }
            }
            written.insert(op.key(), matches!(op, Write::Put { .. }).then_some(number));
        }
        let written = written.into_iter().map(|(key, revision)| (key.to_vec(), revision)).collect::<Vec<_>>();
        staged.revisions.extend(written);
        staged.commits.push((number, ops));
        Ok(())
    }

    /// Makes commits that hold durable, and shows them.
    fn write(&mut self, commits: Vec<(u64, Vec<Write>)>) -> Result<(), StoreError> {
        let Some((first, _)) = commits.first() else { return Ok(()) };
        let (first, count) = (*first, commits.len() as u64);
        let bytes = record_bytes(commits.iter().map(|(_, ops)| ops.as_slice()));
        let limit = self.wal.as_ref().map_or(u64::MAX, Wal::record_bytes_max);
        if bytes > self.sizes.record_bytes.min(limit) {
            return self.write_through(commits);
        }
        self.begin_use()?;
        self.make_room(bytes)?;
        let Some(wal) = &mut self.wal else { return Err(super::gone()) };
        let ops: Vec<&[Write]> = commits.iter().map(|(_, ops)| ops.as_slice()).collect();
        if let Err(error) = wal.append(first, &ops) {
            return Err(self.lost(error));
        }
        self.sequence += count;
        self.view.insert(commits.into_iter());
        self.checkpoint_in_time();
        Ok(())
    }

    /// Commits that are too large for the ring go into the table at once, after everything before them.
    fn write_through(&mut self, commits: Vec<(u64, Vec<Write>)>) -> Result<(), StoreError> {
        self.flush()?;
        self.sequence += commits.len() as u64; // also if it fails: a number is never given twice
        let mut rows = Generation::default();
        commits.into_iter().for_each(|(number, ops)| rows.insert(number, ops));
        self.checkpoints.begin(Job { rows: Arc::new(rows), header: self.header() });
        let result = self.settle();
        self.failed = None; // whoever asked is told, and repeats it or not
        result
    }

    /// The first commit since the store was opened begins a use of the write-ahead file.
    fn begin_use(&mut self) -> Result<(), StoreError> {
        if self.wal.is_some() {
            return Ok(());
        }
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.new_use()?,
        };
        let header = Header { sequence: self.sequence, mark: Some(begun.mark()) };
        self.begun = Some(begun);
        self.settle()?;
        self.checkpoints.begin(Job { rows: Arc::default(), header });
        let result = self.settle();
        self.failed = None;
        result.inspect(|()| self.wal = self.begun.take())
    }

    fn new_use(&mut self) -> Result<Wal, StoreError> {
        let mut log = [0; 16];
        os_rng().fill_bytes(&mut log);
        let (medium, bytes) = (Arc::clone(&self.medium), self.sizes.ring_bytes);
        let free = medium.free_bytes().map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        let there = medium.len().map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        if free.saturating_add(there) < bytes + super::base::RESERVE_BYTES {
            return Err(StoreError::Full);
        }
        Wal::begin(medium, bytes, log).map_err(|error| self.lost(error))
    }

    /// Waits for checkpoints until a record of so many bytes can be appended and shown.
    fn make_room(&mut self, record_bytes: u64) -> Result<(), StoreError> {
        while !self.has_room(record_bytes) {
            if !self.checkpoints.is_under_way() {
                self.checkpoint();
            }
            self.settle()?;
        }
        Ok(())
    }

    fn has_room(&self, record_bytes: u64) -> bool {
        let fits = self.wal.as_ref().is_some_and(|wal| wal.fits(record_bytes));
        fits && self.view.active_bytes() < self.sizes.overlay_bytes
    }

    /// Begins a checkpoint early enough that commits need not wait for it.
    fn checkpoint_in_time(&mut self) {
        let used = self.wal.as_ref().map_or(0, Wal::used);
        let due =
            used >= self.sizes.ring_bytes / 2 || self.view.active_bytes() >= self.sizes.overlay_bytes / 2;
        if due && used >= self.patience && !self.checkpoints.is_under_way() {
            self.checkpoint();
        }
    }

    /// Begins a checkpoint of everything committed so far, or once more the one that failed.
    fn checkpoint(&mut self) {
        let job = match self.failed.take() {
            Some(job) => job,
            None => Job { rows: self.view.freeze(), header: self.header() },
        };
        self.checkpoints.begin(job);
    }

    fn header(&self) -> Header {
        Header { sequence: self.sequence, mark: self.wal.as_ref().map(Wal::mark) }
    }

    /// Takes note of a checkpoint that has ended meanwhile. What went wrong is told to whoever needs the
    /// next.
    fn look_after_checkpoint(&mut self) {
        if let Some(outcome) = self.checkpoints.poll() {
            let _ = self.ended(outcome); // tried again before anybody is told
        }
    }

    /// Waits for the checkpoint under way.
    fn settle(&mut self) -> Result<(), StoreError> {
        match self.checkpoints.wait() {
            Some(outcome) => self.ended(outcome),
            None => Ok(()),
        }
    }

    fn ended(&mut self, outcome: Outcome) -> Result<(), StoreError> {
        match outcome {
            Ok(header) => {
                self.patience = 0;
                if let (Some(wal), Some(Mark { position, .. })) = (&mut self.wal, header.mark) {
                    wal.reclaim(position);
                }
                Ok(())
            }
            Err(Failed { failure, job }) => {
                let used = self.wal.as_ref().map_or(0, Wal::used);
                self.patience = used + self.sizes.ring_bytes / 8;
                self.failed = job;
                self.distrusted |= failure.is_final;
                Err(failure.error)
            }
        }
    }

    /// What a failed write of the write-ahead file means for the commit, and for those after it.
    fn lost(&mut self, error: AppendError) -> StoreError {
        match error {
            AppendError::Void(error) if is_full(&error) => StoreError::Full,
            AppendError::Void(error) => StoreError::Unavailable(Cause::new(error)),
            AppendError::Distrusted(error) => self.distrust(error),
        }
    }

    /// Whether the commit happened is unknown until the next start, so nothing is shown any more either.
    fn distrust(&mut self, error: io::Error) -> StoreError {
        self.distrusted = true;
        self.view.end();
        StoreError::Unavailable(Cause::new(error))
    }
}
