//! Collecting shares until the fragment can be recombined.

use rand_core::CryptoRng;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::secret::wiping;
use symbolon_proto::share::{self, Share, ShareError};

use super::Sealed;
use super::keys::EpochKeys;
use crate::clock::Now;

/// All shares are forgotten this long after the first one came: none is held longer (`docs/skb1.md` 7.5).
pub const CEREMONY_MS_MAX: u64 = 30 * 60 * 1000;

/// Why a share, or a whole ceremony, was refused. Names custodians, never their shares.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The share itself.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Every share was right on its own, yet together they are not the fragment: the share set was made
    /// wrongly.
    #[error(
        "the shares are valid but their combination is not; the share set is faulty and the ceremony was cleared"
    )]
    WrongCombination,
}

/// Shares on their way to each other.
pub struct Ceremony {
    sealed: Sealed,
    shares: share::Ceremony,
    nonce: [u8; 16],
    first_ms: Option<u64>,
}

/// How far a ceremony is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Custodians who have given their share.
    pub given: Vec<String>,
    /// Shares that are collected in all: the threshold, or in a drill everybody's.
    pub threshold: u8,
}

impl Progress {
    /// Whether enough shares are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.given.len() >= usize::from(self.threshold)
    }
}

impl Ceremony {
    pub(super) fn new(sealed: Sealed, shares: share::Ceremony, rng: &mut dyn CryptoRng) -> Self {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        Self { sealed, shares, nonce, first_ms: None }
    }

    /// Takes one share. A refused share changes nothing.
    pub fn submit(&mut self, share: Share, now: Now) -> Result<Progress, CeremonyError> {
        self.shares.submit(share, now.boot_ms)?;
        self.first_ms.get_or_insert(now.boot_ms);
        Ok(self.progress())
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { given: self.shares.given(), threshold: self.shares.wanted() }
    }

    /// Whether enough shares are here to recombine them, though a drill may wait for more.
    #[must_use]
    pub fn may_recombine(&self) -> bool {
        self.shares.progress().is_complete()
    }

    /// Tells this ceremony from others, hex.
    #[must_use]
    pub fn nonce(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.nonce)
    }

    /// When its shares are forgotten, on the boot clock; `None` before the first one.
    #[must_use]
    pub fn expires_boot_ms(&self) -> Option<u64> {
        self.first_ms.map(|first| first.saturating_add(CEREMONY_MS_MAX))
    }

    /// Whether its shares are too old to keep.
    #[must_use]
    pub fn is_expired(&self, now: Now) -> bool {
        self.first_ms.is_some_and(|first| now.boot_ms.saturating_sub(first) > CEREMONY_MS_MAX)
    }

    /// Recombines the fragment, checks it, derives the purpose keys and forgets everything else.
    pub fn finish(self) -> Result<EpochKeys, CeremonyError> {
        wiping(|| {
            let sealed = self.sealed.clone();
            let fragment = self.recombine()?;
            Ok(EpochKeys::derive(&fragment, &sealed))
        })
    }

    /// The fragment itself, checked, for a ceremony that changes something. The shares are forgotten.
    pub fn recombine(self) -> Result<Fragment, CeremonyError> {
        self.shares.recombine().map_err(|_| CeremonyError::WrongCombination)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_core::UnwrapErr;
    use symbolon_proto::id::{BrokerId, DeploymentId};
    use symbolon_proto::share::{Dealing, Holder, ShareKind, Threshold};

    use super::super::{FIRST_EPOCH, Recovery, SealRecord};
    use super::*;

    #[test]
    fn no_share_is_held_longer_however_late_the_next_one_comes() {
        let mut rng = UnwrapErr(getrandom::SysRng);
        let deployment = DeploymentId::from_bytes([1; 16]);
        let dealing = Dealing {
            kind: ShareKind::Fragment,
            deployment,
            frag_epoch: FIRST_EPOCH,
            created_ms: 0,
            threshold: Threshold::new(3, 3).unwrap(),
            holders: &["Ann", "Bob", "Cid"].map(Holder::named),
            previous: None,
        };
        let (set, shares) = dealing.deal(&Fragment::random(&mut rng), &mut rng).unwrap();
        let record = SealRecord {
            format: 1,
            deployment: deployment.to_string(),
            broker: BrokerId::from_bytes([2; 16]).to_string(),
            created_ms: 0,
            recovery: Recovery::None,
            share_set: data_encoding::HEXLOWER.encode(&set.encode()),
            frag_epoch: 0,
            service_root: String::new(),
            log_key: String::new(),
        };
        let mut ceremony = Sealed::open(record).unwrap().begin(&mut rng);
        let at = |boot_ms| Now { unix_ms: 0, boot_ms };
        assert!(!ceremony.is_expired(at(u64::MAX)), "nothing is held yet");
        for (share, minutes) in shares.into_iter().zip([0, 29]) {
            ceremony.submit(share, at(minutes * 60_000)).unwrap();
        }
        assert!(!ceremony.is_expired(at(CEREMONY_MS_MAX)));
        assert!(ceremony.is_expired(at(CEREMONY_MS_MAX + 1)));
    }
}
