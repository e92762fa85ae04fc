//! The keys of a node in a ceremony: one that it keeps and signs with, and one for each run that shares are
//! sealed to.

use core::marker::PhantomData;

use rand_core::CryptoRng;

use super::schnorr;
use crate::group::{Point, SCALAR_BYTES, Scalar, ScalarError};
use crate::key_pair::KeyPair;
use crate::secret::Secret;

/// The private key d of a node and its public key P = d·G, which stands in the node's card. It signs receive
/// keys, dealings and transcripts, and shows receivers who dealt. No share can be opened with it alone.
pub type StaticKey = NodeKey<Static>;

/// The private key r of a receiver and its public key R = r·G, to which dealers seal its shares in one run.
/// Whoever has it and the dealings of the run has the share, so it is erased when they are opened, and never
/// used in another run.
pub type ReceiveKey = NodeKey<Receive>;

/// What a [`StaticKey`] is for. No value of it exists.
pub enum Static {}

/// What a [`ReceiveKey`] is for. No value of it exists.
pub enum Receive {}

/// A private key of a node, for one of two purposes: one cannot be given where the other is meant.
pub struct NodeKey<For>(KeyPair, PhantomData<fn() -> For>);

impl<For> NodeKey<For> {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(KeyPair::generate(rng), PhantomData)
    }

    /// A key from sealed storage.
    pub fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        KeyPair::from_secret(secret).map(|pair| Self(pair, PhantomData))
    }

    /// The canonical scalar, for sealed storage: of a receive key until the dealings are opened.
    pub const fn secret(&self) -> &Secret<SCALAR_BYTES> {
        self.0.secret()
    }

    /// P or R.
    pub const fn public(&self) -> &Point {
        self.0.public().point()
    }

    /// Signs the concatenation of `parts`. For work under `secret::wiping`.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; schnorr::SCHNORR_BYTES] {
        schnorr::sign(&self.scalar(), self.public(), parts)
    }

    /// The scalar; for work under `secret::wiping`.
    pub(super) fn scalar(&self) -> Scalar {
        self.0.scalar()
    }
}
