//! Why the log cannot be read.

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
