//! Ed25519 as the protocol uses it: keys in secret memory, verification strict (`docs/skb1.md` section 6.8).
//!
//! Strict verification refuses small-order keys and non-canonical encodings, so one signature has one form
//! and one signer.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::secret::{self, Secret};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// 32 bytes that are not an Ed25519 public key that we accept.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not an Ed25519 public key")]
pub struct PublicKeyError;

/// An Ed25519 public key.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct SigningPublicKey(VerifyingKey);

impl SigningPublicKey {
    /// Decodes 32 bytes; refuses what is not on the curve and what has small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(PublicKeyError),
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature` over `message` is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for SigningPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningPublicKey({})", data_encoding::HEXLOWER.encode(self.as_bytes()))
    }
}

/// An Ed25519 private key: the 32-byte seed in secret memory, expanded for each signature.
pub struct SigningSeed(Secret<32>);

impl SigningSeed {
    /// A fresh key.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// A key from sealed storage.
    pub const fn from_secret(seed: Secret<32>) -> Self {
        Self(seed)
    }

    /// The seed, for sealed storage.
    pub const fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// The public half.
    pub fn public_key(&self) -> SigningPublicKey {
        secret::wiping(|| self.expand_public())
    }

    /// Signs `message`, which must begin with its own label.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        secret::wiping(|| self.expand_and_sign(message))
    }

    fn expand_public(&self) -> SigningPublicKey {
        SigningPublicKey(SigningKey::from_bytes(self.0.expose()).verifying_key())
    }

    fn expand_and_sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        SigningKey::from_bytes(self.0.expose()).sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies() {
        let seed = SigningSeed::random(&mut crate::testing::rng());
        let key = seed.public_key();
        let mut signature = seed.sign(b"message");
        assert!(key.verifies(b"message", &signature));
        assert!(!key.verifies(b"massage", &signature));
        signature[63] ^= 0x10;
        assert!(!key.verifies(b"message", &signature));
    }

    #[test]
    fn refuses_small_order_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(SigningPublicKey::from_bytes(&identity), Err(PublicKeyError));
        assert_eq!(SigningPublicKey::from_bytes(&[0; 32]), Err(PublicKeyError));
    }
}
