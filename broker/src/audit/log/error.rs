//! Why the log cannot be read.

use symbolon_proto::log::pruned::PrunedError;
use symbolon_proto::log::{CheckpointError, HeadError};

use crate::store::StoreError;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The checkpoint row is not a checkpoint.
    #[error("the stored checkpoint is damaged")]
    Checkpoint(#[from] CheckpointError),
    /// The head row is not a head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// What was pruned cannot be told.
    #[error("the record of what was pruned from the log is damaged")]
    Pruned(#[from] PrunedError),
    /// Asked for what is not kept any more.
    #[error("the entries before {minimum} were pruned; they are where they were exported to")]
    Gone {
        /// The first entry that is kept.
        minimum: u64,
    },
    /// The store has less than this broker committed.
    #[error("{found} entries are stored, this broker committed {expected}; run `symbolon audit verify`")]
    Short {
        /// Entries that were committed.
        expected: u64,
        /// Entries that are stored.
        found: u64,
    },
    /// A bundle is missing or is not one.
    #[error("the bundle that holds entry {index} is missing or damaged")]
    Bundle {
        /// An entry that it should hold.
        index: u64,
    },
    /// A tile is missing or is not one.
    #[error("tile {number} of level {level} is missing or damaged")]
    Tile {
        /// 0 for leaves.
        level: u8,
        /// Position in its level.
        number: u64,
    },
}

impl LogError {
    /// Whether the store may answer in a moment: it does not while it reopens its file after a failed write.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
    }
}
