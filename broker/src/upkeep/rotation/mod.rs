//! Rotations: new keys for everything that is stored, while everything is served.
//!
//! ```text
//! fragment a ceremony's next epoch or new fragment ▶ rows re-encrypted ▶ capsules as below
//!          ▶ the keys before are forgotten
//! remote   new key epoch e+1 ▶ new capsules use it at once
//!          ▶ 64 at a time: open under e, re-wrap, compare one, commit ▶ sample
//!          ▶ RETIRE(e), refused while a capsule of e is left
//! KEK      new KEK for every bucket ▶ barrier: writers change over
//!          ▶ payloads are re-wrapped, some at a time, each with its metadata in one commit
//!          ▶ a pass that finds none ▶ old capsules removed
//! own      the deployment's own KEKs, in one commit; the one that seals machine tokens stays until the
//!          last token is dead
//!
//! rewrap.rs   capsules of older epochs           census.rs   how many capsules of which epoch there are
//! reencrypt.rs   rows of an older fragment epoch
//! roll.rs     KEKs of a mount, step by step      payloads.rs one batch of payloads
//! system_keks.rs  KEKs of the deployment itself      keks.rs     which KEK epoch a mount is at
//! status.rs   what operators and monitoring see  task.rs     who does all this, and how fast
//! ```
//!
//! **State.** What is rotated is what the rows say: a capsule names its key epoch, a version's metadata its
//! KEK epoch. A small row counts progress. So a broker that is killed after any commit goes on where the rows
//! are, at the next unseal.
//!
//! **Races.** Re-wrapping keeps KEK and capsule id, so no reader or writer notices. A roll moves payload and
//! metadata in one commit by compare-and-set; whoever loses against it reads again. Whoever chooses a key
//! holds a pass until that is committed, and epochs change behind a barrier ([`crate::keys::Pass`]): so
//! nothing old is added later.

use symbolon_core::audit::{Action, Draft};

use crate::error::{OpError, Text};

mod census;
pub mod remote;

mod pages;
mod payloads;
mod reencrypt;
mod rewrap;
mod roll;
mod status;
mod system_keks;
mod task;
#[cfg(test)]
mod tests;

pub use census::{Census, census};
pub(crate) use census::{PAGE_ROWS, page as capsule_rows};
pub use rewrap::Progress;
pub use status::{FragmentStatus, MountStatus, RemoteStatus, Status, at_hand, status};
pub use system_keks::request_roll as request_system_roll;
pub use task::{Pace, Rotation, Step, finish, run};

/// Why an operator's request for a rotation was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationRefusal {
    /// Capsules of the epoch are left.
    #[error(
        "{capsules} capsules of key epoch {key_epoch} are left; wait for the rotation to end (`symbolon operator rotate status`), then retire again"
    )]
    CapsulesLeft {
        /// How many.
        capsules: u64,
        /// Of which epoch.
        key_epoch: u32,
    },
    /// Capsules that cannot be read: nobody knows what they need.
    #[error(
        "{capsules} capsules are damaged, so that their key epoch cannot be told; run `symbolon audit verify`, restore them from a backup or remove what they belong to, then retire again"
    )]
    Damaged {
        /// How many.
        capsules: u64,
    },
    /// The rotation has not been verified yet.
    #[error(
        "the rotation to key epoch {key_epoch} has not ended; wait for it (`symbolon operator rotate status`), then retire again"
    )]
    Unfinished {
        /// The newest epoch.
        key_epoch: u32,
    },
    /// No older epoch lives.
    #[error("there is one key epoch only; nothing is to be retired")]
    NothingOlder,
    /// The epoch before the newest still lives.
    #[error(
        "key epoch {key_epoch} is not retired yet; retire it with `symbolon operator rotate retire` before another one is made"
    )]
    NotRetired {
        /// The older epoch.
        key_epoch: u32,
    },
}

/// The entry of a step that the broker takes by itself.
fn entry(what: String) -> Draft {
    Draft::by_broker(Action::KeyRotate, what)
}

impl From<RotationRefusal> for OpError {
    fn from(error: RotationRefusal) -> Self {
        Self::Refused(Text::of(&error))
    }
}
