//! Keys that sign workload tokens: ECDSA over P-256 with SHA-256 (ES256, RFC 7518 section 3.4).
//!
//! The key is a record of the deployment's own KEK, so it opens only with the remote half, and it is held
//! only while the lease on that KEK lasts. [`Signer`] is asynchronous so that a remote half can take part in
//! the signature itself one day.

use std::future::Future;
use std::pin::Pin;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use symbolon_proto::Zeroizing;

use crate::error::OpError;

/// `r ‖ s`, each 32 bytes big-endian.
pub type Es256Signature = Vec<u8>;

/// A signature on its way.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Es256Signature, SignError>> + Send + 'a>>;

/// Signs with one key.
pub trait Signer: Send + Sync {
    /// Signs the bytes with ES256.
    fn sign<'a>(&'a self, message: &'a [u8]) -> Signing<'a>;
}

/// Why there is no key, or no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No new key.
    #[error("a new key for workload tokens could not be made")]
    NotMade,
    /// What is stored is no key.
    #[error("the key that signs workload tokens is damaged")]
    Damaged,
    /// A good key did not sign.
    #[error("a workload token could not be signed")]
    NotSigned,
}

impl From<SignError> for OpError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::NotMade => Self::no_key_made(),
            SignError::Damaged => Self::INTEGRITY,
            SignError::NotSigned => Self::bug("a workload token could not be signed"),
        }
    }
}

/// A whole P-256 key at hand.
pub struct LocalKey(EcdsaKeyPair);

impl LocalKey {
    /// A fresh key in PKCS#8, ready to be encrypted.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, SignError> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SignError::NotMade)?;
        let document = pair.to_pkcs8v1().map_err(|_| SignError::NotMade)?; // wiped by aws-lc-rs on drop
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads PKCS#8 and checks that it is a valid key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, SignError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map(Self)
            .map_err(|_| SignError::Damaged)
    }

    /// The public key's coordinates, big-endian.
    pub fn coordinates(&self) -> Result<([u8; 32], [u8; 32]), SignError> {
        // SEC 1, section 2.3.3: 0x04 ‖ x ‖ y.
        let Some((&4, point)) = self.0.public_key().as_ref().split_first() else {
            return Err(SignError::Damaged);
        };
        let (x, y) = point.split_at_checked(32).ok_or(SignError::Damaged)?;
        Ok((x.try_into().map_err(|_| SignError::Damaged)?, y.try_into().map_err(|_| SignError::Damaged)?))
    }
}

impl Signer for LocalKey {
    fn sign<'a>(&'a self, message: &'a [u8]) -> Signing<'a> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        Box::pin(async move {
            signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| SignError::NotSigned)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[tokio::test]
    async fn a_sealed_key_signs_what_its_coordinates_verify() {
        let key = LocalKey::from_pkcs8(&LocalKey::generate().unwrap()).unwrap();
        let signature = key.sign(b"message").await.unwrap();
        let (x, y) = key.coordinates().unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &x, &y].concat());
        public.verify(b"message", &signature).unwrap();
        public.verify(b"massage", &signature).unwrap_err();
    }

    #[test]
    fn only_a_damaged_key_sends_anybody_to_a_backup() {
        assert_eq!(OpError::from(SignError::NotMade), OpError::no_key_made());
        assert_eq!(OpError::from(SignError::Damaged), OpError::INTEGRITY);
        assert!(!OpError::from(SignError::NotSigned).to_string().contains("backup"));
    }

    #[test]
    fn damaged_keys_are_refused() {
        let pkcs8 = LocalKey::generate().unwrap();
        assert!(LocalKey::from_pkcs8(&pkcs8[..pkcs8.len() - 1]).is_err());
        assert!(LocalKey::from_pkcs8(&[]).is_err());
    }
}
