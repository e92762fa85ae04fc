//! Collecting shares until there are enough (docs/skb1.md sections 7.3 and 7.5).
//!
//! Each share is checked when it comes, so that the one person whose share is wrong hears it at once, by
//! name, and nobody else has to come back. Shares stay in secret memory and are wiped when the ceremony is
//! dropped.
//!
//! Time is the caller's: it gives boot-time milliseconds with each share and calls [`Ceremony::expire`]. So
//! is the limit on attempts.

use super::bytes::Share;
use super::error::ShareError;
use super::set::ShareSetManifest;
use super::shamir;
use crate::hierarchy::Fragment;

/// Why there is no fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecombineError {
    /// Too early.
    #[error("{given} of {needed} shares were given")]
    TooFew {
        /// Shares given.
        given: u8,
        /// Shares needed.
        needed: u8,
    },
    /// Every share is what was dealt, yet together they are not the fragment: the dealer made a mistake.
    #[error("the shares are valid but do not give the fragment; the share set was made wrongly")]
    WrongCombination,
}

/// How far a ceremony is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Shares given.
    pub given: u8,
    /// Shares needed.
    pub needed: u8,
}

impl Progress {
    /// Whether the fragment can be recombined.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.given >= self.needed
    }

    /// Shares still missing.
    #[must_use]
    pub const fn missing(self) -> u8 {
        self.needed.saturating_sub(self.given)
    }
}

struct Given {
    share: Share,
    submitted_at_boot_ms: u64,
}

/// Shares given so far: at most t, or in a drill everybody's.
pub struct Ceremony {
    set: ShareSetManifest,
    given: Vec<Given>,
    wanted: u8,
}

impl Ceremony {
    /// Begins without shares.
    #[must_use]
    pub fn new(set: ShareSetManifest) -> Self {
        let wanted = set.threshold();
        Self::collecting(set, wanted)
    }

    /// Begins a drill: everybody's share is wanted, so that each is seen to be right.
    #[must_use]
    pub fn drill(set: ShareSetManifest) -> Self {
        let wanted = set.sharing().total();
        Self::collecting(set, wanted)
    }

    fn collecting(set: ShareSetManifest, wanted: u8) -> Self {
        Self { set, given: Vec::with_capacity(usize::from(wanted)), wanted }
    }

    /// Shares that are wanted in all.
    #[must_use]
    pub const fn wanted(&self) -> u8 {
        self.wanted
    }

    /// The set whose shares are collected.
    #[must_use]
    pub const fn set(&self) -> &ShareSetManifest {
        &self.set
    }

    /// Checks one share and keeps it. `now_boot_ms` is the time since boot.
    pub fn submit(&mut self, share: Share, now_boot_ms: u64) -> Result<Progress, ShareError> {
        let holder = self.set.check_share(&share)?.name.clone();
        let x = share.x();
        if self.given.iter().any(|given| given.share.x() == x) {
            let missing = self.wanted.saturating_sub(self.progress().given);
            return Err(ShareError::Duplicate { holder, x, missing });
        }
        if self.progress().given >= self.wanted {
            return Err(ShareError::NotNeeded { needed: self.wanted });
        }
        self.given.push(Given { share, submitted_at_boot_ms: now_boot_ms });
        Ok(self.progress())
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let given = u8::try_from(self.given.len()).unwrap_or(u8::MAX);
        Progress { given, needed: self.set.threshold() }
    }

    /// Names of those who gave their share, in the order of giving.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        let name =
            |given: &Given| self.set.custodian(given.share.x()).map(|custodian| custodian.name.clone());
        self.given.iter().filter_map(name).collect()
    }

    /// Wipes shares that were given more than `ttl_ms` ago; returns how many.
    pub fn expire(&mut self, now_boot_ms: u64, ttl_ms: u64) -> usize {
        let before = self.given.len();
        self.given.retain(|given| now_boot_ms.saturating_sub(given.submitted_at_boot_ms) <= ttl_ms);
        before - self.given.len()
    }

    /// The fragment, checked against the set's check value. If more than t shares were given, every one of
    /// them takes part in a recombination of its own. The shares stay until the ceremony is dropped.
    pub fn recombine(&self) -> Result<Fragment, RecombineError> {
        let Progress { given, needed } = self.progress();
        if given < needed {
            return Err(RecombineError::TooFew { given, needed });
        }
        let (first, others) = self.given.split_at(usize::from(needed));
        let fragment = self.recombined(first)?;
        for at in 1..=others.len() {
            drop(self.recombined(&self.given[at..at + usize::from(needed)])?);
        }
        Ok(fragment)
    }

    /// From t neighbouring shares, in the order of giving.
    fn recombined(&self, neighbours: &[Given]) -> Result<Fragment, RecombineError> {
        let points: Vec<_> = neighbours.iter().map(|given| given.share.point()).collect();
        let secret = shamir::recombine(&points).map_err(|_| RecombineError::WrongCombination)?;
        let fragment = Fragment::from_secret(secret);
        if self.set.is_fragment(&fragment) { Ok(fragment) } else { Err(RecombineError::WrongCombination) }
    }
}
