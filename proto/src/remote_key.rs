//! The key that a fragment service holds (`docs/skb1.md` section 6.6). What it does with it is in
//! [`crate::evaluate`].

use rand_core::CryptoRng;

use crate::dleq::Prover;
use crate::group::{PublicKey, SCALAR_BYTES, Scalar, ScalarError};
use crate::key_pair::KeyPair;
use crate::possession::{Possession, PossessionClaim};
use crate::secret::{self, Secret};

/// A remote key k, or a node's share k_i of one. It never leaves the process except sealed.
pub struct RemoteKey(KeyPair);

impl RemoteKey {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(KeyPair::generate(rng))
    }

    /// A key from sealed storage.
    pub fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        KeyPair::from_secret(secret).map(Self)
    }

    /// The canonical scalar, for sealed storage.
    pub const fn secret(&self) -> &Secret<SCALAR_BYTES> {
        self.0.secret()
    }

    /// y = k·G.
    pub const fn public_key(&self) -> &PublicKey {
        self.0.public()
    }

    /// Proves that this process holds the key, for enrolment.
    pub fn prove_possession(&self, claim: &PossessionClaim, rng: &mut dyn CryptoRng) -> Possession {
        secret::wiping(|| {
            let key = &self.scalar();
            Possession::prove(claim, &Prover { key, public: self.public_key() }, rng)
        })
    }

    /// The scalar, for work under [`secret::wiping`].
    pub(crate) fn scalar(&self) -> Scalar {
        self.0.scalar()
    }
}
