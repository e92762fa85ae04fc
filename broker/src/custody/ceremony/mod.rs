//! Ceremonies: people with shares, and what they open or change together (`docs/skb1.md` 7.5, 7.6).
//!
//! ```text
//! sealed   fresh X-Wing key and nonce, fingerprint on the console
//!          ▲  └─▶ shares, sealed to the key or as plain text
//!          │      │ each checked on arrival, its holder named
//!          │      ├─▶ t of them: recombined, and the key is gone
//!          └──────┴── reset, 30 minutes, a wrong combination
//!
//! open     an operator begins a change ─▶ t shares as above ─▶ new shares dealt, sealed to their holders'
//!          cards ─▶ everybody proves that the share opens ─▶ one commit ─▶ the broker opens itself again
//!          with the new keys ─▶ signatures
//!
//! desk.rs         where shares are given          commit.rs   the rows of a change
//! change_desk.rs  one that changes something      archive.rs  what is kept of it, and who signed
//! refusals.rs     shares that were not taken      root.rs     the root token that one ends with
//! ```
//!
//! Before the commit nothing has changed, and after it everything has: a ceremony that is cancelled,
//! interrupted or forgotten leaves the old shares in force.

pub mod archive;
mod change_desk;
pub mod commit;
mod desk;
mod refusals;
pub mod root;

use symbolon_proto::custody::transcript::CeremonyType;

use crate::error::{OpError, Text};
use crate::rows::{Layout, Life, Table};
use symbolon_core::root_requests::RootRequestRefusal;
use symbolon_proto::custody::{RootAsk, RootAsker, RootNonce, RootRequestError, SubmissionError};

pub use self::change_desk::{ChangeDesk, Over};
pub use self::desk::Desk;
pub use self::refusals::Refused;

/// Ceremonies that are over, with their transcripts.
pub const CEREMONIES: Table = Table::new(0x0c, "ceremonies", Layout::Row, Life::Kept);

/// Why a ceremony cannot begin or go on. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyRefusal {
    /// One at a time.
    #[error("another ceremony is under way; let it end, or cancel it with `symbolon ceremony cancel`")]
    UnderWay,
    /// None to be cancelled, finished or signed.
    #[error("no ceremony is under way; begin one with `symbolon ceremony begin`")]
    None,
    /// The keys of an earlier change are still needed.
    #[error(
        "what fragment epoch {epoch} has encrypted is still being re-encrypted; wait for it (`symbolon operator rotate status`), then begin"
    )]
    Changing {
        /// The epoch before the present one.
        epoch: u32,
    },
    /// A new set that cannot be dealt.
    #[error(transparent)]
    Set(#[from] symbolon_core::succession::NewSetError),
    /// A drill with too few shares.
    #[error(
        "{given} of {needed} shares were given; a drill ends when at least so many as open the broker are there"
    )]
    TooFew {
        /// Given so far.
        given: usize,
        /// Needed to open the broker.
        needed: u8,
    },
    /// Only a drill is finished by hand.
    #[error("this ceremony ends by itself when everybody has done their part")]
    EndsByItself,
    /// A root token is asked for by a custodian.
    #[error(
        "a ceremony for a root token is begun by a custodian, without a token: `symbolon operator root begin --key FILE`"
    )]
    NotByToken,
    /// Somebody else's, or another ceremony than the one that was asked for.
    #[error(
        "no ceremony of your request is under way; `symbolon ceremony watch` shows whose is, and only they or a token with sudo can cancel it"
    )]
    NotYours,
    /// Nothing was made for this card, or it has been fetched.
    #[error(
        "no root token waits for this card: not enough shares were given yet (`symbolon ceremony watch`), it has been fetched or has ended, or the broker was sealed since; begin again"
    )]
    NoToken,
    /// Nothing awaits signatures.
    #[error("no transcript awaits signatures")]
    NothingToSign,
    /// Nobody of that name took part, or the signature is of something else.
    #[error(
        "the signature is not that of a participant who has a key; sign with the key file whose card is in the share set"
    )]
    Signature,
}

/// How far a ceremony is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Shares of the present set are given.
    Collecting,
    /// New custodians prove their shares.
    Proving,
    /// It is over and has taken effect; participants sign.
    Signing,
    /// Everybody who can has signed.
    Done,
}

impl Stage {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Proving => "proving",
            Self::Signing => "signing",
            Self::Done => "done",
        }
    }
}

/// What anyone may see of the ceremony. All of it is public.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What it is for.
    pub kind: CeremonyType,
    /// How far it is.
    pub stage: Stage,
    /// Deployment id, hex.
    pub deployment: String,
    /// Names the ceremony.
    pub nonce: [u8; 32],
    /// X-Wing public key that shares are sealed to; empty when none is wanted any more.
    pub key: Vec<u8>,
    /// Its fingerprint.
    pub fingerprint: String,
    /// When it began, Unix milliseconds.
    pub opened_ms: u64,
    /// When what was given so far is forgotten, Unix milliseconds; `None` before the first share.
    pub expires_ms: Option<u64>,
    /// Manifest of the set whose shares are wanted.
    pub manifest: Vec<u8>,
    /// Names of those who gave.
    pub given: Vec<String>,
    /// Names of those who can still do what the stage asks for: give, prove or sign.
    pub missing: Vec<String>,
    /// Shares needed.
    pub threshold: u8,
    /// For whom new shares are to be made, so that custodians see whom they give theirs for.
    pub wanted: Option<Wanted>,
    /// Who asks for a root token, if it is for one.
    pub root: Option<RootWish>,
    /// The new set, if there is one.
    pub prove: Option<Proof>,
    /// Refusals, one for each holder, oldest first.
    pub refused: Vec<Refused>,
    /// What happened so far.
    pub transcript: Vec<u8>,
}

/// Who is to hold new shares.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many of them are needed from then on.
    pub threshold: u8,
    /// Names and the fingerprints of their cards, in the order of the shares.
    pub holders: Vec<(String, String)>,
}

/// Who asks for a root token: custodians compare it with the console before they give their shares.
#[derive(Clone, Debug)]
pub struct RootWish {
    /// Name of the custodian in the set.
    pub name: String,
    /// Fingerprint of the card that the token is sealed to.
    pub fingerprint: String,
    /// Life of the token in seconds, from when enough shares are there.
    pub ttl_secs: u32,
    /// Nonce of the request.
    pub request: RootNonce,
}

impl RootWish {
    /// Of a request that was believed; `None` if it begins nothing.
    #[must_use]
    pub fn of(asker: &RootAsker) -> Option<Self> {
        let RootAsk::Begin { ttl_secs, nonce } = asker.ask() else { return None };
        let (name, fingerprint) = (asker.name().to_owned(), asker.fingerprint().to_string());
        Some(Self { name, fingerprint, ttl_secs, request: nonce })
    }
}

/// A new set on its way into force.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// Names of those who have proven their share.
    pub proven: Vec<String>,
    /// The shares, each sealed to its holder, by number.
    pub envelopes: Vec<(u8, Vec<u8>)>,
}

#[cfg(test)]
mod tests;

impl From<CeremonyRefusal> for OpError {
    fn from(error: CeremonyRefusal) -> Self {
        Self::Refused(Text::of(&error))
    }
}

impl From<SubmissionError> for OpError {
    fn from(error: SubmissionError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<RootRequestError> for OpError {
    fn from(error: RootRequestError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<RootRequestRefusal> for OpError {
    fn from(error: RootRequestRefusal) -> Self {
        Self::Refused(Text::of(&error))
    }
}
