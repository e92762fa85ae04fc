//! The write-ahead file: what is acknowledged stands here first, and costs one write and one sync.
//!
//! Records follow each other in a ring of blocks. A record is written only when the one before it is durable,
//! so after a power cut at most the last can be torn, and it was not acknowledged. A place is written again
//! only when a checkpoint that holds its record is durable in the table.

use std::io;
use std::sync::Arc;

mod record;
mod replay;
mod ring;

pub(super) use record::Commit;

use self::ring::Ring;
use super::header::{Digest, LogId, Mark};
use crate::store::medium::Medium;
use crate::store::{StoreError, Write};

/// The write-ahead file in use.
#[derive(Debug)]
pub(super) struct Wal {
    ring: Ring,
    log: LogId,
    /// Where the next record goes.
    next: u64,
    /// Digest of the last record.
    digest: Digest,
    /// What stands before this is in the table.
    reclaimed: u64,
}

/// Why a record is not in the file.
#[derive(Debug)]
pub(super) enum AppendError {
    /// Writing failed; what there is of the record was made void.
    Void(io::Error),
    /// Whether the record is durable, and what else of the file is, nobody can say any more.
    Distrusted(io::Error),
}

/// How long a record with these commits is in the file, in bytes.
pub(super) fn record_bytes<'a>(commits: impl Iterator<Item = &'a [Write]>) -> u64 {
    record::padded(record::body_bytes(commits))
}

impl Wal {
    /// Begins a use of the file with a ring of `bytes`; makes the file if there is none.
    pub(super) fn begin(medium: Arc<dyn Medium>, bytes: u64, log: LogId) -> Result<Self, AppendError> {
        let ring = Ring::prepare(medium, bytes, log)?;
        Ok(Self { ring, log, next: 0, digest: [0; 32], reclaimed: 0 })
    }

    /// Goes on with a use that did not end in order: the commits after `mark`, and the file to append to.
    /// `sequence` is the number of the last commit before it.
    pub(super) fn resume(
        medium: Arc<dyn Medium>,
        mark: Mark,
        sequence: u64,
    ) -> Result<(Self, Vec<Commit>), StoreError> {
        replay::resume(medium, mark, sequence)
    }

    /// Whether a record of so many bytes can be written without touching one that is still needed.
    pub(super) fn fits(&self, record_bytes: u64) -> bool {
        self.used() + record_bytes <= self.ring.bytes()
    }

    /// The longest record that is appended rather than brought into the table at once.
    pub(super) fn record_bytes_max(&self) -> u64 {
        self.ring.bytes() / 4
    }

    /// Bytes of records that the table does not have.
    pub(super) fn used(&self) -> u64 {
        self.next - self.reclaimed
    }

    /// Where the record after the last begins.
    pub(super) fn mark(&self) -> Mark {
        Mark { log: self.log, position: self.next, digest: self.digest }
    }

    /// A checkpoint up to `position` is durable.
    pub(super) fn reclaim(&mut self, position: u64) {
        self.reclaimed = self.reclaimed.max(position);
    }

    /// Writes commits as one record, of which `first` is the number of the first, and makes it durable. It
    /// must fit.
    pub(super) fn append(&mut self, first: u64, commits: &[&[Write]]) -> Result<(), AppendError> {
        let (record, digest) = record::encode(self.log, first, &self.digest, commits);
        if let Err(error) = self.ring.write(self.next, &record) {
            return Err(self.make_void(error));
        }
        self.ring.sync().map_err(AppendError::Distrusted)?;
        self.next += record.len() as u64;
        self.digest = digest;
        Ok(())
    }

    /// A write that failed may have left a whole record all the same. Nobody was told of it, so it may not be
    /// found by the next start.
    fn make_void(&self, error: io::Error) -> AppendError {
        let zeros = [0; 4096];
        match self.ring.write(self.next, &zeros).and_then(|()| self.ring.sync()) {
            Ok(()) => AppendError::Void(error),
            Err(error) => AppendError::Distrusted(error),
        }
    }
}
