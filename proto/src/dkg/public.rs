//! The public side of a shared key.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use curve25519_dalek::traits::Identity;
use sha2::{Digest, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{Point, PointError, PublicKey};
use crate::label;
use crate::limits::NODES_MAX;

/// A sharing as everybody may know it: the Feldman commitments A_0 … A_{t−1}, with A_0 = y. Not empty, at
/// most 16.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupKey {
    commitments: Vec<Point>,
}

/// Why bytes are no [`GroupKey`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GroupKeyError {
    /// Too short.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// No commitment, or too many.
    #[error("{found} commitments, where 1 to {max} are allowed")]
    Count {
        /// The number found.
        found: usize,
        /// The bound.
        max: usize,
    },
    /// A commitment is not a usable point.
    #[error("commitment {index} is {error}")]
    Point {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        error: PointError,
    },
}

impl GroupKey {
    /// The sharing with these commitments, A_0 first; `None` for none, or for more than 16.
    pub fn new(commitments: Vec<Point>) -> Option<Self> {
        (1..=usize::from(NODES_MAX)).contains(&commitments.len()).then_some(Self { commitments })
    }

    /// y = A_0.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_point(self.commitments[0])
    }

    /// t.
    pub fn threshold(&self) -> u16 {
        u16::try_from(self.commitments.len()).expect("at most 16 commitments")
    }

    /// A_0 … A_{t−1}.
    pub fn commitments(&self) -> &[Point] {
        &self.commitments
    }

    /// y_i = Σ i^l·A_l of the node with this index; `None` if it is the identity.
    pub fn share(&self, index: u16) -> Option<PublicKey> {
        Point::from_element(evaluate_public(&self.commitments, index)).map(PublicKey::from_point)
    }

    /// What names this sharing in a run.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(label::GROUP_KEY);
        for commitment in &self.commitments {
            hash.update(commitment.as_bytes());
        }
        hash.finalize().into()
    }

    /// Reads t(1), then t points.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, GroupKeyError> {
        let found = usize::from(reader.u8()?);
        let max = usize::from(NODES_MAX);
        if !(1..=max).contains(&found) {
            return Err(GroupKeyError::Count { found, max });
        }
        let mut point = |index| {
            let bytes = reader.array()?;
            Point::decode(&bytes).map_err(|error| GroupKeyError::Point { index, error })
        };
        Ok(Self { commitments: (0..found).map(&mut point).collect::<Result<_, _>>()? })
    }

    /// Appends t(1), then t points.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(u8::try_from(self.commitments.len()).expect("at most 16 commitments"));
        for commitment in &self.commitments {
            writer.bytes(commitment.as_bytes());
        }
    }
}

/// Σ i^l·A_l by Horner's rule. Variable time: all of it is public.
pub(crate) fn evaluate_public(commitments: &[Point], index: u16) -> RistrettoPoint {
    let i = CurveScalar::from(index);
    commitments.iter().rev().fold(RistrettoPoint::identity(), |sum, a| sum * i + a.element())
}
