//! Why a source gives nothing, and why an order about one is not followed.

use std::path::PathBuf;
use std::time::Duration;

use symbolon_core::places::TermsError;
use symbolon_proto::custody::SourceFileError;

use crate::error::{OpError, Text};

/// Why a source gives nothing. What a device or a server says is not in any text.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file of a credential or an authority.
    #[error("the file {path} cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No way to it.
    #[error("it is not reached: {0}")]
    Unreachable(String),
    /// It is there and says nothing.
    #[error("it did not answer within {} ms", after.as_millis())]
    Silent {
        /// How long was waited.
        after: Duration,
    },
    /// It answered what is no answer.
    #[error("it did not answer with {expected}")]
    Garbled {
        /// What was expected.
        expected: &'static str,
    },
    /// It does not give what it was asked for, and will not by itself.
    #[error("it refuses: {0}")]
    Refused(String),
    /// What was kept of it is damaged, or belongs to another source.
    #[error(
        "what the store keeps for it is damaged or was made for another source; enrol it again, then reshare"
    )]
    Kept,
}

/// What failed, in words that anyone may read: the status shows them without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A file on this machine.
    File,
    /// Not reached, or silent.
    Unreachable,
    /// An answer that is none.
    Garbled,
    /// It refuses.
    Refused,
    /// The row in the store.
    Kept,
}

impl Fault {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "a file on this machine cannot be used",
            Self::Unreachable => "it does not answer",
            Self::Garbled => "its answer is not understood",
            Self::Refused => "it refuses",
            Self::Kept => "what the store keeps for it is damaged",
        }
    }
}

impl SourceError {
    /// What of it anyone may read.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::File { .. } => Fault::File,
            Self::Unreachable(_) | Self::Silent { .. } => Fault::Unreachable,
            Self::Garbled { .. } => Fault::Garbled,
            Self::Refused(_) => Fault::Refused,
            Self::Kept => Fault::Kept,
        }
    }
}

/// Why an order about a source is not followed. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SourceRefusal {
    /// No such name.
    #[error(
        "this broker knows no source of that name: add it to [[custody.sources]] of its configuration, and enrol it with `symbolon custody enrol`"
    )]
    Unknown,
    /// It has no valid settings.
    #[error("the source {name} in [[custody.sources]] is not valid: {why}")]
    Unsound {
        /// Which.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Its device.
    #[error("the device of the source {name} did not do what was asked: {error}")]
    Device {
        /// Which.
        name: String,
        /// Why.
        error: SourceError,
    },
    /// Its key file or share.
    #[error("the source {name} cannot give a share: {error}")]
    File {
        /// Which.
        name: String,
        /// Why.
        error: SourceFileError,
    },
    /// Its row is not what was enrolled.
    #[error(
        "the public row of the source {name} was replaced since it was enrolled: somebody wrote to the store; keep a copy for an investigation, then enrol it again"
    )]
    Replaced {
        /// Which.
        name: String,
    },
    /// It holds a share.
    #[error("the source {name} holds a share of the present set: reshare without it, then remove it")]
    Holds {
        /// Which.
        name: String,
    },
    /// Whoever holds a share as text.
    #[error(
        "a set with sources is dealt to cards only: everybody else in it needs one, too (`symbolon custodian keygen`)"
    )]
    Cards,
    /// The set is too weak.
    #[error(transparent)]
    Terms(#[from] TermsError),
}

impl From<SourceRefusal> for OpError {
    fn from(error: SourceRefusal) -> Self {
        match error {
            SourceRefusal::Device { .. } | SourceRefusal::File { .. } | SourceRefusal::Replaced { .. } => {
                Self::Refused(Text::of(&error))
            }
            error => Self::Invalid(Text::of(&error)),
        }
    }
}

impl From<TermsError> for OpError {
    fn from(error: TermsError) -> Self {
        SourceRefusal::Terms(error).into()
    }
}
