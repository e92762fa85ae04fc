//! SealedBox: all symmetric encryption (`docs/skb1.md` section 6.5).
//!
//! ```text
//! salt(32) ‖ commitment(32) ‖ AES-256-GCM(fresh key, nonce 0, aad = context, plaintext) ‖ tag(16)
//! ```
//!
//! Every box has a key of its own, derived from the long-lived key, a random salt and the context, so there
//! is no nonce to run out of. The commitment comes from the same derivation: a wrong key or a context of
//! another place is [`OpenError::Commitment`], found in constant time before anything is decrypted. A damaged
//! ciphertext under the right key is [`OpenError::Tag`].

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::codec::lp_len;
use crate::label;
use crate::primitives::{self, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use crate::secret::{self, Secret};

/// Bytes that a box adds to its plaintext.
pub const OVERHEAD_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES + TAG_BYTES;
/// The longest plaintext of one box, 1 MiB.
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 20;

/// Every key encrypts one message.
const NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];
const SALT_BYTES: usize = 32;
pub(crate) const COMMITMENT_BYTES: usize = 32;

/// Why a plaintext cannot be sealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SealError {
    /// Above [`PLAINTEXT_BYTES_MAX`].
    #[error("{found} bytes in one value, where at most 1048576 are allowed")]
    TooLong {
        /// Bytes of the plaintext.
        found: usize,
    },
}

/// Why a box does not open.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OpenError {
    /// Shorter than any box, or not of the length that the caller expects.
    #[error("{found} bytes are not the length of the expected box")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Wrong key, or a box that belongs elsewhere (another place, version, tenant).
    #[error("sealed under another key or for another place")]
    Commitment,
    /// Right key and place, damaged ciphertext.
    #[error("the ciphertext is damaged")]
    Tag,
}

/// Seals `plaintext` under `key` for the place that `context` describes.
pub fn seal(
    key: &Secret<32>,
    context: &[u8],
    plaintext: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let mut boxed = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
    secret::wiping(|| seal_onto(&mut boxed, key, context, plaintext, rng))?;
    Ok(boxed)
}

/// Opens what [`seal`] made with the same key and context.
pub fn open(key: &Secret<32>, context: &[u8], boxed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    secret::wiping(|| open_vec(key, context, boxed))
}

/// Appends a box to `out`. For work under `secret::wiping`.
pub(crate) fn seal_onto(
    out: &mut Vec<u8>,
    key: &Secret<32>,
    context: &[u8],
    plaintext: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<(), SealError> {
    let mut salt = [0; SALT_BYTES];
    rng.fill_bytes(&mut salt);
    seal_with_salt(out, key, context, plaintext, &salt)
}

fn seal_with_salt(
    out: &mut Vec<u8>,
    key: &Secret<32>,
    context: &[u8],
    plaintext: &[u8],
    salt: &[u8; SALT_BYTES],
) -> Result<(), SealError> {
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(SealError::TooLong { found: plaintext.len() });
    }
    let derived = Derived::new(salt, key.expose(), label::SEAL, context);
    out.reserve(plaintext.len() + OVERHEAD_BYTES);
    out.extend_from_slice(salt);
    out.extend_from_slice(derived.commitment());
    // Encrypted across, not in place, so that a key being wrapped never lies in ordinary memory.
    let start = out.len();
    out.resize(start + plaintext.len(), 0);
    let tag = derived.encrypt(context, plaintext, &mut out[start..]);
    out.extend_from_slice(&tag);
    Ok(())
}

pub(crate) fn open_vec(
    key: &Secret<32>,
    context: &[u8],
    boxed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let parts = Parts::split(boxed)?;
    let derived = parts.check(key, context)?;
    let mut plaintext = Zeroizing::new(vec![0; parts.ciphertext.len()]);
    derived.decrypt(context, parts.ciphertext, parts.tag, &mut plaintext)?;
    Ok(plaintext)
}

/// Opens a box that holds a key straight into secret memory. For work under `secret::wiping`.
pub(crate) fn open_key(key: &Secret<32>, context: &[u8], boxed: &[u8]) -> Result<Secret<32>, OpenError> {
    let parts = Parts::split(boxed)?;
    if parts.ciphertext.len() != 32 {
        return Err(OpenError::Length { found: boxed.len() });
    }
    let derived = parts.check(key, context)?;
    Secret::try_filled_by(|out| derived.decrypt(context, parts.ciphertext, parts.tag, out))
}

struct Parts<'a> {
    salt: &'a [u8; SALT_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn split(boxed: &'a [u8]) -> Result<Self, OpenError> {
        let wrong = OpenError::Length { found: boxed.len() };
        let (salt, rest) = boxed.split_first_chunk().ok_or(wrong)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or(wrong)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(wrong)?;
        match ciphertext.len() > PLAINTEXT_BYTES_MAX {
            true => Err(wrong),
            false => Ok(Self { salt, commitment, ciphertext, tag }),
        }
    }

    /// Derives and compares the commitment; only then may anything be decrypted.
    fn check(&self, key: &Secret<32>, context: &[u8]) -> Result<Derived, OpenError> {
        let derived = Derived::new(self.salt, key.expose(), label::SEAL, context);
        match derived.commits_to(self.commitment) {
            true => Ok(derived),
            false => Err(OpenError::Commitment),
        }
    }
}

/// The one-message key and commitment of a box or capsule: HKDF(salt, key), info = label ‖ LP(context).
#[derive(ZeroizeOnDrop)]
pub(crate) struct Derived {
    okm: [u8; KEY_BYTES + COMMITMENT_BYTES],
}

impl Derived {
    pub(crate) fn new(salt: &[u8], key: &[u8], label: &[u8], context: &[u8]) -> Self {
        let mut derived = Self { okm: [0; KEY_BYTES + COMMITMENT_BYTES] };
        primitives::hkdf(salt, key, &[label, &lp_len(context), context], &mut derived.okm)
            .expect("64 bytes are fewer than HKDF's limit");
        derived
    }

    pub(crate) fn commitment(&self) -> &[u8; COMMITMENT_BYTES] {
        self.okm.last_chunk().expect("the second half of 64 bytes")
    }

    /// Compares in constant time.
    pub(crate) fn commits_to(&self, commitment: &[u8; COMMITMENT_BYTES]) -> bool {
        self.commitment().ct_eq(commitment).into()
    }

    /// Encrypts into `ciphertext`, which must be as long as `plaintext`, and gives the tag.
    pub(crate) fn encrypt(&self, context: &[u8], plaintext: &[u8], ciphertext: &mut [u8]) -> [u8; TAG_BYTES] {
        primitives::encrypt(self.key(), &NONCE, context, plaintext, ciphertext)
    }

    /// Decrypts into `plaintext`, which must be as long as `ciphertext`; untouched if the tag is wrong.
    pub(crate) fn decrypt(
        &self,
        context: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_BYTES],
        plaintext: &mut [u8],
    ) -> Result<(), OpenError> {
        primitives::decrypt(self.key(), &NONCE, context, (ciphertext, tag), plaintext)
            .map_err(|_| OpenError::Tag)
    }

    fn key(&self) -> &[u8; KEY_BYTES] {
        self.okm.first_chunk().expect("the first half of 64 bytes")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A box with a chosen salt, for the vectors of section 14.
    pub(crate) fn seal_salted(
        key: &Secret<32>,
        context: &[u8],
        plaintext: &[u8],
        salt: &[u8; 32],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        seal_with_salt(&mut out, key, context, plaintext, salt).unwrap();
        out
    }

    fn key() -> Secret<32> {
        Secret::filled_by(|out| out.fill(9))
    }

    #[test]
    fn opens_what_it_sealed() {
        let rng = &mut crate::testing::rng();
        for len in [0, 1, 15, 16, 17, 1024, PLAINTEXT_BYTES_MAX] {
            let plaintext = vec![0x5a; len];
            let boxed = seal(&key(), b"place", &plaintext, rng).unwrap();
            assert_eq!(boxed.len(), len + OVERHEAD_BYTES);
            assert_eq!(*open(&key(), b"place", &boxed).unwrap(), plaintext);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let rng = &mut crate::testing::rng();
        let boxed = seal(&key(), b"place", b"value", rng).unwrap();
        let other = Secret::filled_by(|out| out.fill(8));
        assert_eq!(open(&other, b"place", &boxed).unwrap_err(), OpenError::Commitment);
        assert_eq!(open(&key(), b"elsewhere", &boxed).unwrap_err(), OpenError::Commitment);
        assert_eq!(open(&key(), b"place", &boxed[..79]).unwrap_err(), OpenError::Length { found: 79 });
        assert_eq!(open_key(&key(), b"place", &boxed).err(), Some(OpenError::Length { found: 85 }));
        for position in 0..boxed.len() {
            let mut damaged = boxed.clone();
            damaged[position] ^= 1;
            let expected = if position < 64 { OpenError::Commitment } else { OpenError::Tag };
            assert_eq!(open(&key(), b"place", &damaged).unwrap_err(), expected, "byte {position}");
        }
        let long = vec![0; PLAINTEXT_BYTES_MAX + 1];
        assert_eq!(seal(&key(), b"", &long, rng), Err(SealError::TooLong { found: long.len() }));
    }
}
