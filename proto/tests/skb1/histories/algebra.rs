//! What shares are worth, worked out on scalars: far cheaper than asking, so it can be done for every subset
//! after every step.

use curve25519_dalek::scalar::Scalar;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::group::PublicKey;
use symbolon_proto::secret::Secret;

/// A share as a thief would note it.
#[derive(Clone, Copy)]
pub struct Noted {
    pub index: u16,
    pub scalar: Scalar,
}

impl Noted {
    pub fn of(index: u16, share: &RemoteKey) -> Self {
        Self { index, scalar: Scalar::from_canonical_bytes(*share.secret().expose()).unwrap() }
    }
}

/// The key that these shares would be shares of: the value at zero of the polynomial through them.
pub fn interpolate(shares: &[Noted]) -> Scalar {
    let weight = |i: u16| {
        let others = shares.iter().map(|share| share.index).filter(|j| *j != i);
        others.fold(Scalar::ONE, |weight, j| {
            let (i, j) = (Scalar::from(i), Scalar::from(j));
            weight * j * (j - i).invert()
        })
    };
    shares.iter().map(|share| share.scalar * weight(share.index)).sum()
}

/// Whether they are the key behind y.
pub fn are_worth(shares: &[Noted], public: &PublicKey) -> bool {
    as_key(interpolate(shares)).is_some_and(|key| key.public_key() == public)
}

/// A key for whoever has its scalar.
pub fn as_key(scalar: Scalar) -> Option<RemoteKey> {
    RemoteKey::from_secret(Secret::filled_by(|out| *out = scalar.to_bytes())).ok()
}

/// Every subset with exactly `size` members.
pub fn subsets<T: Copy>(items: &[T], size: usize) -> Vec<Vec<T>> {
    (0_u32..1 << items.len())
        .filter(|bits| bits.count_ones() as usize == size)
        .map(|bits| (0..items.len()).filter(|at| bits & (1 << at) != 0).map(|at| items[at]).collect())
        .collect()
}
