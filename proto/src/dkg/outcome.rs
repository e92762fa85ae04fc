//! Round 2, the public half: what the dealings of all make together.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use curve25519_dalek::traits::Identity;
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::context::{CIPHERSUITE, len32, len64};
use super::dealing::Dealing;
use super::run::RunKind;
use super::schnorr::SCHNORR_BYTES;
use super::session::Session;
use super::{DkgError, GroupKey};
use crate::codec::Writer;
use crate::group::Point;
use crate::lagrange::lagrange;

/// What a run gives if all receivers certify it: computed by each of them, and by the broker, from the
/// dealings alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The new sharing.
    pub key: GroupKey,
    /// What the receivers sign.
    pub transcript: Vec<u8>,
}

impl Session {
    /// Checks everything that is public about the dealings, which stand in the order of their dealers.
    ///
    /// # Errors
    /// [`DkgError::Participant`] names the dealer whose dealing is wrong.
    pub fn outcome(&self, dealings: &[Vec<u8>]) -> Result<Outcome, DkgError> {
        let checked = self.check(dealings)?;
        self.combine(&checked, dealings)
    }

    /// The certificate of `outcome`, from the signatures of all receivers in their order.
    ///
    /// # Errors
    /// [`DkgError::Participant`] names the receiver whose signature is wrong.
    pub fn certify(
        &self,
        outcome: &Outcome,
        signatures: &[[u8; SCHNORR_BYTES]],
    ) -> Result<Certificate, DkgError> {
        Certificate::new(&outcome.transcript, &self.receivers, signatures)
    }

    pub(super) fn check(&self, dealings: &[Vec<u8>]) -> Result<Vec<Dealing>, DkgError> {
        if dealings.len() != self.dealers.len() {
            return Err(DkgError::Count { found: dealings.len(), expected: self.dealers.len() });
        }
        let check = |(dealer, bytes): (&super::roster::Dealer, &Vec<u8>)| {
            Dealing::check(self, dealer, bytes).map_err(|fault| fault.by(dealer.index))
        };
        self.dealers.iter().zip(dealings).map(check).collect()
    }

    pub(super) fn combine(&self, checked: &[Dealing], dealings: &[Vec<u8>]) -> Result<Outcome, DkgError> {
        let key = self.commit(checked).ok_or(DkgError::Degenerate)?;
        let digest =
            dealings.iter().fold(Sha256::new(), |hash, dealing| hash.chain_update(dealing)).finalize();
        let extension = [self.extension.as_slice(), digest.as_slice()].concat();
        Ok(Outcome { key, transcript: self.transcript(checked, &extension) })
    }

    /// The new A_0 … A_{t−1}; `None` if one of them or of the y_i is the identity, or if the key is not the
    /// old one.
    fn commit(&self, checked: &[Dealing]) -> Option<GroupKey> {
        let commitments = match self.kind {
            RunKind::Generate => self.sum(checked, &vec![CurveScalar::ONE; checked.len()])?,
            RunKind::Reshare => self.sum(checked, &self.weights())?,
            RunKind::Refresh => self.refreshed(checked)?,
        };
        let key = GroupKey::new(commitments)?;
        let usable = (1..).zip(&self.receivers).all(|(index, _)| key.share(index).is_some());
        let same = self.base.as_ref().is_none_or(|base| base.public() == key.public());
        (usable && same).then_some(key)
    }

    /// The weight of each dealer's polynomial in the new one: λ_i in a resharing, otherwise 1.
    pub(super) fn weights(&self) -> Vec<CurveScalar> {
        let indices: Vec<u16> = self.dealers.iter().map(|dealer| dealer.index).collect();
        let weight = |index: &u16| match self.kind {
            RunKind::Reshare => lagrange(*index, &indices),
            RunKind::Generate | RunKind::Refresh => CurveScalar::ONE,
        };
        indices.iter().map(weight).collect()
    }

    fn sum(&self, checked: &[Dealing], weights: &[CurveScalar]) -> Option<Vec<Point>> {
        let column = |l: usize| {
            let terms = checked
                .iter()
                .zip(weights)
                .map(|(dealing, weight)| dealing.commitments[l].element() * weight);
            terms.fold(RistrettoPoint::identity(), |sum, term| sum + term)
        };
        (0..self.commitments()).map(|l| Point::from_element(column(l))).collect()
    }

    /// A_0 as it was, and each other A_l plus what was dealt for it.
    fn refreshed(&self, checked: &[Dealing]) -> Option<Vec<Point>> {
        let base = self.base.as_ref()?.commitments();
        let added = self.sum(checked, &self.weights())?;
        let moved =
            base[1..].iter().zip(&added).map(|(old, new)| Point::from_element(old.element() + new.element()));
        std::iter::once(Some(base[0])).chain(moved).collect()
    }

    /// The transcript of COCKTAIL-DKG.
    pub(super) fn transcript(&self, checked: &[Dealing], extension: &[u8]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4096);
        for field in [CIPHERSUITE, &self.context] {
            writer.bytes(&len64(field).to_le_bytes()).bytes(field);
        }
        writer.bytes(&len32(&self.receivers).to_le_bytes()).bytes(&u32::from(self.threshold).to_le_bytes());
        for receiver in &self.receivers {
            writer.bytes(receiver.as_bytes());
        }
        for commitment in checked.iter().flat_map(|dealing| &dealing.commitments) {
            writer.bytes(commitment.as_bytes());
        }
        for dealing in checked {
            writer.bytes(&dealing.possession);
        }
        for dealing in checked {
            writer.bytes(dealing.ephemeral.as_bytes());
        }
        writer.bytes(&len64(extension).to_le_bytes()).bytes(extension);
        writer.finish()
    }
}
