//! Why segments are not exported, or the log is not pruned.

use crate::audit::log::LogError;
use crate::audit::retention::journal::Fault;
use crate::audit::retention::packing::PackError;
use crate::error::{OpError, Text};
use crate::place::PlaceError;
use crate::store::Cause;

/// Why a round ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The session has ended.
    #[error("the broker was sealed")]
    Sealed,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A segment is not what was signed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The same, found while it was written.
    #[error("{0}")]
    Unreadable(Cause),
    /// The directory or bucket.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Something shorter, longer or else came back.
    #[error("what was read back of a segment is not what was written: {found} bytes came back of {expected}")]
    ReadBack {
        /// Written.
        expected: u64,
        /// Read.
        found: u64,
    },
    /// What was exported is not there any more as it was.
    #[error(
        "{name} was exported and read back, and is missing now or not whole; it is exported again before it is pruned"
    )]
    Lost {
        /// The name of the object.
        name: String,
    },
    /// What has the name of an object is a whole one with other entries.
    #[error(
        "{name} holds other entries than this log: perhaps the only copy of a log that was lost, or another broker writes there; keep it elsewhere, or give this broker another place"
    )]
    Occupied {
        /// The name of the object.
        name: String,
    },
    /// The public record of cuts and the one under the keys of the deployment say different things.
    #[error("the log begins at entry {found}, and this broker cut it last at {cut}")]
    Foreign {
        /// The first entry that is kept, as anybody can write it.
        found: u64,
        /// The same as only an open broker can.
        cut: u64,
    },
    /// Rows and log do not answer.
    #[error("{0}")]
    Broker(#[from] OpError),
}

impl RoundError {
    /// What of it anyone may know.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Sealed | Self::Broker(_) | Self::Log(LogError::Store(_)) => Fault::Broker,
            Self::Log(_) | Self::Pack(_) | Self::Unreadable(_) => Fault::Log,
            Self::Foreign { .. } => Fault::Foreign,
            Self::Place(_) => Fault::Place,
            Self::Occupied { .. } => Fault::Occupied,
            Self::ReadBack { .. } | Self::Lost { .. } => Fault::ReadBack,
        }
    }
}

impl From<RoundError> for OpError {
    fn from(error: RoundError) -> Self {
        match error {
            RoundError::Broker(error) => error,
            RoundError::Log(LogError::Store(error)) => error.into(),
            error @ (RoundError::Place(_)
            | RoundError::ReadBack { .. }
            | RoundError::Lost { .. }
            | RoundError::Occupied { .. }) => Self::Refused(Text::fixed(error.fault().text())),
            RoundError::Foreign { .. } => Self::Refused(Text::fixed(Fault::Foreign.text())),
            _ => Self::INTEGRITY,
        }
    }
}
