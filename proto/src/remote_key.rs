//! The key that a fragment service holds (`docs/skb1.md` section 6.6). What it does with it is in
//! [`crate::evaluate`].

use rand_core::CryptoRng;

use crate::dleq::Prover;
use crate::group::{PublicKey, SCALAR_BYTES, Scalar, ScalarError};
use crate::possession::{Possession, PossessionClaim};
use crate::secret::{self, Secret};

/// A remote key k, or a node's share k_i of one. It never leaves the process except sealed.
pub struct RemoteKey {
    secret: Secret<SCALAR_BYTES>,
    public: PublicKey,
}

impl RemoteKey {
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

    /// y = k·G.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Proves that this process holds the key, for enrolment.
    pub fn prove_possession(&self, claim: &PossessionClaim, rng: &mut dyn CryptoRng) -> Possession {
        let proof =
            self.with_scalar(|key| Possession::prove(claim, &Prover { key, public: &self.public }, rng));
        secret::wipe_stack();
        proof
    }

    #[inline(never)]
    fn generate_unwiped(rng: &mut dyn CryptoRng) -> Self {
        let scalar = Scalar::random(rng);
        let secret = Secret::filled_by(|out| out.copy_from_slice(scalar.element().as_bytes()));
        Self { secret, public: scalar.public_key() }
    }

    #[inline(never)]
    fn with_public(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let public = Scalar::from_secret(&secret)?.public_key();
        Ok(Self { secret, public })
    }

    /// Lends the scalar to `work`, in a frame that the caller's wipe reaches.
    #[inline(never)]
    pub(crate) fn with_scalar<T>(&self, work: impl FnOnce(&Scalar) -> T) -> T {
        let key = Scalar::from_secret(&self.secret).expect("checked when the key was made");
        work(&key)
    }
}
