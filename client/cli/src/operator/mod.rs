//! A client with the calls of those who run a broker: life cycle, custody, rotations, policies, other
//! people's tokens.

mod backup;
mod custody;
mod policy;
mod retention;
mod root;
mod rotation;
mod sources;
mod sys;
mod tokens;

use std::ops::Deref;

use symbolon::{Client, Token};

pub use self::backup::{BackupState, LastBackup};
pub use self::custody::{
    Ceremony, CeremonyState, Collected, KeptCeremony, Proving, Refused, RootWish, Wanted, WantedCustodian,
};
pub use self::policy::Policies;
pub use self::retention::{LogCut, LogSegment, LogState};
pub use self::root::{RootAnswer, RootTerms, WaitingToken};
pub use self::rotation::{
    FragmentKeys, GroupChange, LeavingNode, MountKeks, OwnKeks, RemoteKeyStatus, RewrapProgress,
    RotationStatus, Rotations,
};
pub use self::sources::{Custody, Source};
pub use self::sys::{InitAnswer, InitRequest, SealStatus};
pub use self::tokens::CreateToken;

/// A [`Client`] that knows an operator's calls as well. Cheap to clone.
#[derive(Clone)]
pub struct Operator(Client);

impl Operator {
    /// The same connections, speaking as another.
    #[must_use]
    pub fn with_token(&self, token: Token) -> Self {
        Self(self.0.with_token(token))
    }
}

impl From<Client> for Operator {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl Deref for Operator {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}
