//! A node's static DKG key: shares are encrypted to it, dealings and transcripts are signed with it.

use rand_core::CryptoRng;

use super::schnorr;
use crate::group::{Point, SCALAR_BYTES, Scalar, ScalarError};
use crate::secret::{self, Secret};

/// The private key d of a node and its public key P = d·G, which stands in the node's card.
pub struct StaticKey {
    secret: Secret<SCALAR_BYTES>,
    public: Point,
}

impl StaticKey {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let key = Self::generate_unwiped(rng);
        secret::wipe_stack();
        key
    }

    /// A key from sealed storage.
    pub fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let key = Self::with_public(secret);
        secret::wipe_stack();
        key
    }

    /// The canonical scalar, for sealed storage.
    pub const fn secret(&self) -> &Secret<SCALAR_BYTES> {
        &self.secret
    }

    /// P.
    pub const fn public(&self) -> &Point {
        &self.public
    }

    /// Signs the concatenation of `parts`. The caller wipes the stack.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; schnorr::SCHNORR_BYTES] {
        schnorr::sign(&self.scalar(), &self.public, parts)
    }

    /// The scalar; the caller wipes the stack.
    pub(super) fn scalar(&self) -> Scalar {
        Scalar::from_secret(&self.secret).expect("checked when the key was made")
    }

    #[inline(never)]
    fn generate_unwiped(rng: &mut dyn CryptoRng) -> Self {
        let scalar = Scalar::random(rng);
        let secret = Secret::filled_by(|out| out.copy_from_slice(scalar.element().as_bytes()));
        Self { secret, public: *scalar.public_key().point() }
    }

    #[inline(never)]
    fn with_public(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let public = *Scalar::from_secret(&secret)?.public_key().point();
        Ok(Self { secret, public })
    }
}
