//! What a store can answer instead of what was asked.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::{OpError, Text};

/// Why a store did not do what was asked. Cloneable, because one failed commit fails every job of its group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// An expectation did not hold; nothing was written.
    #[error("operation {op} of the commit expected another state of its row; somebody else wrote it first")]
    Conflict {
        /// Position of the operation in the commit.
        op: usize,
    },
    /// An operation is larger than a store accepts, or its key is too short; nothing was written.
    #[error("operation {op} of the commit is outside the store's bounds")]
    Bounds {
        /// Position of the operation in the commit.
        op: usize,
    },
    /// No space left; nothing was written, and what was there is intact.
    #[error("the store's disk is full; free space there and repeat the request")]
    Full,
    /// Another process, or another handle in this one, has the store open.
    #[error("the store is in use by another broker; stop that one, or give this one its own store")]
    Locked,
    /// There is no store at the given place, and opening never makes one.
    #[error("there is no store at the configured path; initialise one, or correct the path")]
    Missing,
    /// Creating found something already there, and creating never overwrites.
    #[error("the configured path already holds a file; a new store is never written over it")]
    Exists,
    /// The file is not a store of ours.
    #[error("the file is not a store of this program, or of a newer version of it")]
    Foreign,
    /// The store contradicts itself.
    #[error("the store is damaged; restore it from a backup")]
    Corrupt(#[source] Cause),
    /// The store did not answer. After a commit, whether it happened is unknown.
    #[error("the store does not answer")]
    Unavailable(#[source] Cause),
}

/// The error underneath a [`StoreError`], shared between everyone it concerns.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Keeps an error as the source of another.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<StoreError> for OpError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::CONFLICT,
            StoreError::Bounds { .. } => Self::Invalid(Text::of(&error)),
            StoreError::Full
            | StoreError::Locked
            | StoreError::Missing
            | StoreError::Exists
            | StoreError::Foreign
            | StoreError::Corrupt(_)
            | StoreError::Unavailable(_) => Self::Damaged(Text::of(&error)),
        }
    }
}
