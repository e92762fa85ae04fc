//! What the timing check (`benches/timing.rs`) has to reach and the public interface does not offer: two
//! steps of an opening by themselves. Only with the feature `timing`, which nothing but that check may switch
//! on.

use curve25519_dalek::ristretto::RistrettoPoint;

use crate::capsule::SharedSecret;
use crate::group::SCALAR_BYTES;
use crate::sealedbox::{COMMITMENT_BYTES, Derived};
use crate::secret::Secret;

/// A derived key, about to be compared with what a box or capsule claims.
pub struct Expected(Derived);

impl Expected {
    /// Derived from `key`.
    #[must_use]
    pub fn new(key: &Secret<32>) -> Self {
        Self(Derived::new(&[], key.expose(), b"", b""))
    }

    /// What it commits to.
    #[must_use]
    pub fn commitment(&self) -> [u8; COMMITMENT_BYTES] {
        *self.0.commitment()
    }

    /// The comparison of section 6.5.
    #[must_use]
    pub fn commits_to(&self, claimed: &[u8; COMMITMENT_BYTES]) -> bool {
        self.0.commits_to(claimed)
    }
}

/// S = ρ⁻¹·v, the decapsulation of section 6.6.
///
/// # Panics
/// If ρ is no canonical scalar, or zero.
#[must_use]
pub fn unblind(rho: Secret<SCALAR_BYTES>, evaluated: &RistrettoPoint) -> Option<SharedSecret> {
    crate::blind::unblind(vec![rho], core::slice::from_ref(evaluated)).pop()
}
