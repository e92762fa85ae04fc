//! What a ceremony with the fragment at hand makes of a deployment (`docs/skb1.md` 7.6).
//!
//! | Change | fragment | shares | epoch f |
//! |---|---|---|---|
//! | drill | stays | stay | stays |
//! | root | stays | stay | stays |
//! | epoch | stays | stay | +1 |
//! | reshare | stays | new, and old ones stay combinable with each other | stays |
//! | rekey | new | new | +1 |
//!
//! f never goes back and is never used twice, so a capsule's epoch says by itself which keys open it.

use core::fmt;

use rand_core::CryptoRng;
use symbolon_proto::custody::transcript::CeremonyType;
use symbolon_proto::custody::{Card, EnvelopeError, RootAsker, ShareEnvelope};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::secret::wiping;
use symbolon_proto::share::{
    Dealing, Holder, Share, ShareKind, ShareSetError, ShareSetManifest, Threshold, check_holders,
};

use crate::clock::Now;
use crate::seal::{EpochKeys, Sealed};

/// Who is to hold new shares, each with a card.
#[derive(Clone, Debug)]
pub struct NewSet {
    threshold: Threshold,
    holders: Vec<Holder>,
}

/// Why nobody can be dealt such a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewSetError {
    /// Numbers out of range.
    #[error("cards and threshold must satisfy 2 <= threshold <= cards <= 16")]
    Numbers,
    /// Two cards of one person, or under one name.
    #[error(transparent)]
    Holders(#[from] ShareSetError),
    /// Signatures under the transcript are told apart by name.
    #[error(
        "card {x} bears the name of a present custodian but other keys; its owner makes one under another name, such as with a number, so that signatures can be told apart"
    )]
    NameTaken {
        /// Place of the card, from 1.
        x: usize,
    },
}

/// What is to be done with the fragment.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing: only to see that every share is right.
    Drill,
    /// Nothing: a custodian asks for a root token, and others give their shares for it.
    Root(Box<RootAsker>),
    /// The next fragment epoch, with the shares that there are.
    Epoch,
    /// The same fragment for other people, or again for the same.
    Reshare(NewSet),
    /// A new fragment.
    Rekey(NewSet),
}

/// What a change came to. Nothing of it is in force before it is committed.
pub struct Changed {
    /// The deployment from then on.
    pub sealed: Sealed,
    /// Its keys from then on.
    pub keys: EpochKeys,
    /// The new shares, each sealed to its holder, in the order of their numbers; none if the shares stay.
    pub envelopes: Vec<ShareEnvelope>,
}

/// Why a change was not prepared. Everything is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No share set.
    #[error(transparent)]
    Set(#[from] ShareSetError),
    /// A share could not be sealed to its holder.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The last epoch number.
    #[error("no further fragment epoch is possible")]
    NoMoreEpochs,
}

impl NewSet {
    /// t of everybody whose card is there.
    pub fn new(threshold: u8, cards: &[Card]) -> Result<Self, NewSetError> {
        let total = u8::try_from(cards.len()).map_err(|_| NewSetError::Numbers)?;
        let threshold = Threshold::new(threshold, total).map_err(|_| NewSetError::Numbers)?;
        let holders: Vec<_> = cards.iter().map(Holder::from).collect();
        check_holders(threshold, &holders)?;
        Ok(Self { threshold, holders })
    }

    /// t.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold.needed()
    }

    /// Everybody, in the order of the shares.
    #[must_use]
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }
}

/// What is asked for, and by whom new shares are to be held.
impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.ceremony().name())?;
        if let Self::Root(asker) = self {
            return write!(out, ": {asker}");
        }
        let Some(set) = self.new_set() else { return Ok(()) };
        let names: Vec<_> = set.holders.iter().map(|holder| holder.name.as_str()).collect();
        write!(out, " to {} of {}: {}", set.threshold.needed(), set.threshold.total(), names.join(", "))
    }
}

impl Change {
    /// The ceremony that it takes.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyType {
        match self {
            Self::Drill => CeremonyType::Drill,
            Self::Root(_) => CeremonyType::Root,
            Self::Epoch => CeremonyType::Epoch,
            Self::Reshare(_) => CeremonyType::Reshare,
            Self::Rekey(_) => CeremonyType::Rekey,
        }
    }

    /// Whether purpose keys are others afterwards.
    #[must_use]
    pub const fn changes_keys(&self) -> bool {
        matches!(self, Self::Epoch | Self::Rekey(_))
    }

    /// Who is to hold new shares; nobody if the shares stay.
    #[must_use]
    pub fn new_set(&self) -> Option<&NewSet> {
        match self {
            Self::Drill | Self::Root(_) | Self::Epoch => None,
            Self::Reshare(set) | Self::Rekey(set) => Some(set),
        }
    }

    /// Who asks for a root token, if it is for one.
    #[must_use]
    pub fn root_asker(&self) -> Option<&RootAsker> {
        match self {
            Self::Root(asker) => Some(asker),
            _ => None,
        }
    }

    /// Refuses a new custodian who could sign as a present one.
    pub fn check_names(&self, present: &ShareSetManifest) -> Result<(), NewSetError> {
        let holders = self.new_set().map_or(&[] as &[Holder], NewSet::holders);
        let taken = |holder: &Holder| {
            present.custodians().iter().any(|custodian| {
                custodian.name == holder.name && custodian.keys.is_some() && custodian.keys != holder.keys
            })
        };
        match holders.iter().position(taken) {
            Some(at) => Err(NewSetError::NameTaken { x: at + 1 }),
            None => Ok(()),
        }
    }

    /// Prepares the change with the fragment of `sealed`; `None` if nothing is to change. Whoever calls drops
    /// the fragment.
    pub fn apply(
        &self,
        sealed: &Sealed,
        fragment: &Fragment,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Changed>, ChangeError> {
        let next = sealed.frag_epoch().checked_add(1).ok_or(ChangeError::NoMoreEpochs)?;
        wiping(|| match self {
            Self::Drill | Self::Root(_) => Ok(None),
            Self::Epoch => {
                let sealed = sealed.succeeded_by(sealed.share_set().clone(), next);
                let keys = EpochKeys::derive(fragment, &sealed);
                Ok(Some(Changed { keys, sealed, envelopes: Vec::new() }))
            }
            Self::Reshare(set) => deal(set, sealed, fragment, sealed.frag_epoch(), now, rng).map(Some),
            Self::Rekey(set) => deal(set, sealed, &Fragment::random(rng), next, now, rng).map(Some),
        })
    }
}

fn deal(
    set: &NewSet,
    sealed: &Sealed,
    fragment: &Fragment,
    frag_epoch: u32,
    now: Now,
    rng: &mut dyn CryptoRng,
) -> Result<Changed, ChangeError> {
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: sealed.deployment(),
        frag_epoch,
        created_ms: now.unix_ms,
        threshold: set.threshold,
        holders: &set.holders,
        previous: Some(sealed.share_set()),
    };
    let (manifest, shares) = dealing.deal(fragment, rng)?;
    let mut seal = |share: &Share| ShareEnvelope::seal(share, &manifest, rng);
    let envelopes = shares.iter().map(&mut seal).collect::<Result<_, _>>()?;
    let sealed = sealed.succeeded_by(manifest, frag_epoch);
    Ok(Changed { keys: EpochKeys::derive(fragment, &sealed), sealed, envelopes })
}

#[cfg(test)]
mod tests;
