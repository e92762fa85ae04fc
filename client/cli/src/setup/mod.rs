//! A first deployment: folders, keys, certificates, configurations and units, for either side.
//!
//! Everything is made once. What is there is looked at and kept, whoever made it; what an interrupted run has
//! not made is made by the next. A key is never overwritten.

pub mod authority;
pub mod broker;
pub mod fragment;
pub mod invitation;
pub mod names;
mod place;
pub mod sources;
pub mod unit;

use std::path::PathBuf;

pub use self::place::{Account, Layout};

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It was not there.
    Made,
    /// It was there, and is as it would have been made.
    Kept,
    /// It was there, otherwise than these settings say, and is left so.
    Differs,
    /// It was ours and is made anew, because its time is nearly over or its names are others.
    Renewed,
}

/// One thing, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What became of it.
    pub deed: Deed,
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub what: &'static str,
}

impl Deed {
    /// For a table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Kept => "kept",
            Self::Differs => "kept, differs",
            Self::Renewed => "renewed",
        }
    }

    /// Whether anything was written.
    #[must_use]
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Made | Self::Renewed)
    }
}

/// Why a set-up stops. Nothing that was made before is undone: the same command again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A folder in which others could exchange what lies there.
    #[error(
        "{path} can be changed by others than its owner; run `chmod go-w` on it, or choose another folder"
    )]
    Writable {
        /// Which folder.
        path: PathBuf,
    },
    /// A folder of somebody else.
    #[error(
        "{path} belongs to user {owner}, and this runs as {own}; run it as that user, or choose another folder"
    )]
    Foreign {
        /// Which folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// Something else has the name of a folder or file.
    #[error("{path} is no {expected}; move it away")]
    Kind {
        /// Which name.
        path: PathBuf,
        /// What is expected there.
        expected: &'static str,
    },
    /// A secret that others can read.
    #[error("{path} can be read by others; take it for known: move it away, and this makes another")]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// One of two files that belong together.
    #[error("{found} is there and {missing} is not: put it back, or move the first away as well")]
    Half {
        /// What is there.
        found: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// A file that is not what its name says.
    #[error("{path} cannot be used: {reason}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot make or read {path}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No certificate could be made.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// The fragment service's own state.
    #[error(transparent)]
    Service(#[from] symbolon_kms_fragment::error::ServiceError),
    /// Its key or passphrase.
    #[error(transparent)]
    Sealing(#[from] symbolon_kms_fragment::config::ConfigError),
    /// Secret memory.
    #[error(transparent)]
    Memory(#[from] symbolon_proto::secret::MemoryError),
    /// The user whom the service is to run as.
    #[error(
        "the system user {name} is not there and could not be made; make it with `useradd --system {name}`"
    )]
    User {
        /// Its name.
        name: String,
    },
    /// A program that a service could not start.
    #[error(
        "{path} is in a folder that a service cannot use; first run: \
         install -m 755 {path} /usr/local/bin/symbolon"
    )]
    Program {
        /// The program that runs.
        path: PathBuf,
    },
}
