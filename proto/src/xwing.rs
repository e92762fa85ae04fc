//! HPKE to one X-Wing key (RFC 9180, docs/skb1.md section 7.4): the one place where the `hpke` crate is
//! called.
//!
//! A sealed message is `enc(1120) ‖ ciphertext ‖ tag(16)`. The seed of a private key lives in secret memory
//! and is expanded for each message; what the expansion leaves on the stack is overwritten.

use std::fmt;

use ::hpke::aead::{AeadTag, AesGcm256};
use ::hpke::inout::InOutBuf;
use ::hpke::kdf::HkdfSha512;
use ::hpke::kem::{Kem, XWing};
use ::hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, single_shot_open_inout_detached,
    single_shot_seal_inout_detached_with_rng,
};
use curve25519_dalek::montgomery::MontgomeryPoint;
use rand_core::CryptoRng;
use thiserror::Error;

use crate::fingerprint::Fingerprint;
use crate::primitives::TAG_BYTES;
use crate::secret::{self, Secret};

type PublicKey = <XWing as Kem>::PublicKey;
type PrivateKey = <XWing as Kem>::PrivateKey;
type Encapsulated = <XWing as Kem>::EncappedKey;

/// Bytes of an X-Wing public key: ML-KEM-768, then X25519.
pub const XWING_PUBLIC_BYTES: usize = 1216;
const ML_KEM_PUBLIC_BYTES: usize = 1184;
const ENCAPSULATED_BYTES: usize = 1120;
/// Bytes that sealing adds to a message.
pub const SEALED_OVERHEAD_BYTES: usize = ENCAPSULATED_BYTES + TAG_BYTES;

/// Bytes that are no X-Wing public key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not an X-Wing public key")]
pub struct XWingKeyError;

/// Bytes that do not open: other key, other place, or damaged. HPKE does not tell which.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DoesNotOpen;

/// An X-Wing public key that was checked: ML-KEM coefficients in range, an X25519 point of large order.
#[derive(Clone, Eq, PartialEq)]
pub struct XWingPublicKey(Box<[u8; XWING_PUBLIC_BYTES]>);

impl XWingPublicKey {
    /// Decodes 1,216 bytes from anywhere.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, XWingKeyError> {
        let bytes: &[u8; XWING_PUBLIC_BYTES] = bytes.try_into().map_err(|_| XWingKeyError)?;
        PublicKey::from_bytes(bytes).map_err(|_| XWingKeyError)?;
        let point = bytes[ML_KEM_PUBLIC_BYTES..].try_into().map_err(|_| XWingKeyError)?;
        // A clamped scalar is a multiple of the cofactor: it takes exactly the points of small order to zero.
        match MontgomeryPoint(point).mul_clamped([0; 32]) == MontgomeryPoint([0; 32]) {
            true => Err(XWingKeyError),
            false => Ok(Self(Box::new(*bytes))),
        }
    }

    /// The 1,216 bytes.
    pub fn as_bytes(&self) -> &[u8; XWING_PUBLIC_BYTES] {
        &self.0
    }

    /// Twelve groups for two people to compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.as_bytes())
    }

    /// Seals `plaintext` to the holder of the seed.
    pub(crate) fn seal(&self, info: &[u8], aad: &[u8], plaintext: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        secret::wiping_deep(|| self.seal_inner(info, aad, plaintext, rng))
    }

    fn seal_inner(&self, info: &[u8], aad: &[u8], plaintext: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        let key = PublicKey::from_bytes(self.as_bytes()).expect("the key was checked when it was decoded");
        let mut sealed = vec![0; plaintext.len() + SEALED_OVERHEAD_BYTES];
        let (encapsulated, rest) = sealed.split_at_mut(ENCAPSULATED_BYTES);
        let (ciphertext, tag_bytes) = rest.split_at_mut(plaintext.len());
        // Encrypted across, not in place, so that a share never lies in ordinary memory.
        let buffer = InOutBuf::new(plaintext, ciphertext).expect("buffers of equal length");
        let (enc, tag) = single_shot_seal_inout_detached_with_rng::<AesGcm256, HkdfSha512, XWing>(
            &OpModeS::Base,
            &key,
            info,
            buffer,
            aad,
            &mut { rng },
        )
        .expect("X-Wing takes every checked key, and the message is short");
        enc.write_exact(encapsulated);
        tag.write_exact(tag_bytes);
        sealed
    }
}

impl fmt::Debug for XWingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XWingPublicKey({})", self.fingerprint())
    }
}

/// An X-Wing private key: its 32-byte seed in secret memory.
pub struct XWingSeed(Secret<32>);

impl XWingSeed {
    /// A fresh key.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// A key from sealed storage, or recombined from shares.
    pub const fn from_secret(seed: Secret<32>) -> Self {
        Self(seed)
    }

    /// The seed, for sealed storage or for splitting.
    pub const fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// The public half.
    pub fn public_key(&self) -> XWingPublicKey {
        secret::wiping_deep(|| self.expand_public())
    }

    /// Opens what was sealed to the public half, into secret memory.
    pub(crate) fn open<const N: usize>(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Secret<N>, DoesNotOpen> {
        secret::wiping_deep(|| {
            Secret::try_filled_by(|out: &mut [u8; N]| self.open_inner(info, aad, sealed, out))
        })
    }

    fn expand_public(&self) -> XWingPublicKey {
        let mut bytes = Box::new([0; XWING_PUBLIC_BYTES]);
        XWing::sk_to_pk(&self.expand()).write_exact(bytes.as_mut_slice());
        XWingPublicKey(bytes)
    }

    fn open_inner(&self, info: &[u8], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), DoesNotOpen> {
        if sealed.len() != out.len() + SEALED_OVERHEAD_BYTES {
            return Err(DoesNotOpen);
        }
        let (encapsulated, rest) = sealed.split_at(ENCAPSULATED_BYTES);
        let (ciphertext, tag) = rest.split_at(out.len());
        let encapsulated = Encapsulated::from_bytes(encapsulated).map_err(|_| DoesNotOpen)?;
        let tag = AeadTag::<AesGcm256>::from_bytes(tag).map_err(|_| DoesNotOpen)?;
        let buffer = InOutBuf::new(ciphertext, out).expect("buffers of equal length");
        single_shot_open_inout_detached::<AesGcm256, HkdfSha512, XWing>(
            &OpModeR::Base,
            &self.expand(),
            &encapsulated,
            info,
            buffer,
            aad,
            &tag,
        )
        .map_err(|_| DoesNotOpen)
    }

    fn expand(&self) -> PrivateKey {
        PrivateKey::from_bytes(self.0.expose()).expect("a seed has 32 bytes")
    }
}

#[cfg(test)]
mod tests;
