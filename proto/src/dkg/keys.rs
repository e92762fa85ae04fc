//! The keys of a node in a ceremony: one that it keeps and signs with, and one for each run that shares are
//! sealed to.

use rand_core::CryptoRng;

use super::schnorr;
use crate::group::{Point, SCALAR_BYTES, Scalar, ScalarError};
use crate::secret::{self, Secret};

/// The private key d of a node and its public key P = d·G, which stands in the node's card. It signs receive
/// keys, dealings and transcripts, and shows receivers who dealt. No share can be opened with it alone.
pub struct StaticKey(KeyPair);

/// The private key r of a receiver and its public key R = r·G, to which dealers seal its shares in one run.
/// Whoever has it and the dealings of the run has the share, so it is erased when they are opened, and never
/// used in another run.
pub struct ReceiveKey(KeyPair);

struct KeyPair {
    secret: Secret<SCALAR_BYTES>,
    public: Point,
}

impl StaticKey {
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
        &self.0.secret
    }

    /// P.
    pub const fn public(&self) -> &Point {
        &self.0.public
    }

    /// Signs the concatenation of `parts`. The caller wipes the stack.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; schnorr::SCHNORR_BYTES] {
        self.0.sign(parts)
    }

    /// The scalar; the caller wipes the stack.
    pub(super) fn scalar(&self) -> Scalar {
        self.0.scalar()
    }
}

impl ReceiveKey {
    /// A fresh key, for one run.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(KeyPair::generate(rng))
    }

    /// A key from sealed storage.
    pub fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        KeyPair::from_secret(secret).map(Self)
    }

    /// The canonical scalar, for sealed storage until the dealings are opened.
    pub const fn secret(&self) -> &Secret<SCALAR_BYTES> {
        &self.0.secret
    }

    /// R.
    pub const fn public(&self) -> &Point {
        &self.0.public
    }

    /// Signs the concatenation of `parts`. The caller wipes the stack.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; schnorr::SCHNORR_BYTES] {
        self.0.sign(parts)
    }

    /// The scalar; the caller wipes the stack.
    pub(super) fn scalar(&self) -> Scalar {
        self.0.scalar()
    }
}

impl KeyPair {
    fn generate(rng: &mut dyn CryptoRng) -> Self {
        let key = Self::generate_unwiped(rng);
        secret::wipe_stack();
        key
    }

    fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let key = Self::with_public(secret);
        secret::wipe_stack();
        key
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; schnorr::SCHNORR_BYTES] {
        schnorr::sign(&self.scalar(), &self.public, parts)
    }

    fn scalar(&self) -> Scalar {
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
