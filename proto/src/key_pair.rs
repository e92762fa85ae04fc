//! A secret scalar and its public point: what every private key over the group is.

use rand_core::CryptoRng;

use crate::group::{PublicKey, SCALAR_BYTES, Scalar, ScalarError};
use crate::secret::{self, Secret};

/// A scalar in secret memory, with k·G.
pub(crate) struct KeyPair {
    secret: Secret<SCALAR_BYTES>,
    public: PublicKey,
}

impl KeyPair {
    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> Self {
        secret::wiping(|| Self::generate_unwiped(rng))
    }

    pub(crate) fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        secret::wiping(|| Self::with_public(secret))
    }

    pub(crate) const fn secret(&self) -> &Secret<SCALAR_BYTES> {
        &self.secret
    }

    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The scalar; for work under `secret::wiping`.
    pub(crate) fn scalar(&self) -> Scalar {
        Scalar::from_secret(&self.secret).expect("checked when the key was made")
    }

    fn generate_unwiped(rng: &mut dyn CryptoRng) -> Self {
        let scalar = Scalar::random(rng);
        let secret = Secret::filled_by(|out| out.copy_from_slice(scalar.element().as_bytes()));
        Self { secret, public: scalar.public_key() }
    }

    fn with_public(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let public = Scalar::from_secret(&secret)?.public_key();
        Ok(Self { secret, public })
    }
}
