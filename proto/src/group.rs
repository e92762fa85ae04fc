//! The prime-order group of suite 0x01: ristretto255 (RFC 9496), and hashing to its scalars
//! (`docs/skb1.md` section 6.1).
//!
//! [`Point`] and [`PublicKey`] are public values that were checked when they were decoded: canonical, in the
//! group (there is no cofactor and no small subgroup) and not the identity. [`Scalar`] is a secret: not
//! zero, wiped on drop, without `Clone`, `Debug` or `==`. Arithmetic on secrets is constant-time.

use std::fmt;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar as CurveScalar;
use curve25519_dalek::traits::IsIdentity;
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::label;
use crate::secret::Secret;

/// Bytes of an encoded point.
pub const POINT_BYTES: usize = 32;
/// Bytes of an encoded scalar, little-endian.
pub const SCALAR_BYTES: usize = 32;

/// Cryptographic suite. An unknown one is an error, never a fallback; 0x02 (P-256) is reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Suite {
    /// 0x01: ristretto255, SHA-512, HKDF-SHA-512, AES-256-GCM.
    Ristretto255 = 0x01,
}

impl Suite {
    /// The suite with this number on the wire, if it is one that we speak.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ristretto255),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// Why 32 bytes are not a usable point.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PointError {
    /// Not the canonical encoding of a group element.
    #[error("not a canonical ristretto255 encoding")]
    NotCanonical,
    /// The identity, which no honest party sends.
    #[error("the identity element")]
    Identity,
}

/// Why 32 bytes are not a usable scalar.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ScalarError {
    /// Not below the group order.
    #[error("not a canonical scalar")]
    NotCanonical,
    /// Zero.
    #[error("the zero scalar")]
    Zero,
}

/// A public group element that is not the identity, with its encoding.
#[derive(Clone, Copy)]
pub struct Point {
    point: RistrettoPoint,
    bytes: [u8; POINT_BYTES],
}

impl Point {
    /// Decodes 32 bytes from anywhere.
    pub fn decode(bytes: &[u8; POINT_BYTES]) -> Result<Self, PointError> {
        let point = CompressedRistretto(*bytes).decompress().ok_or(PointError::NotCanonical)?;
        match point.is_identity() {
            true => Err(PointError::Identity),
            false => Ok(Self { point, bytes: *bytes }),
        }
    }

    /// The canonical encoding.
    pub const fn as_bytes(&self) -> &[u8; POINT_BYTES] {
        &self.bytes
    }

    /// Takes a computed element; `None` for the identity.
    pub(crate) fn from_element(point: RistrettoPoint) -> Option<Self> {
        (!point.is_identity()).then(|| Self { point, bytes: point.compress().to_bytes() })
    }

    /// The doubles of computed elements that are not the identity, encoded together: about 1 µs each instead
    /// of 6.
    pub(crate) fn from_halves(halves: &[RistrettoPoint]) -> Vec<Self> {
        let encoded = RistrettoPoint::double_and_compress_batch(halves);
        let double = |(half, bytes): (&RistrettoPoint, CompressedRistretto)| Self {
            point: half + half,
            bytes: bytes.to_bytes(),
        };
        halves.iter().zip(encoded).map(double).collect()
    }

    pub(crate) const fn element(&self) -> &RistrettoPoint {
        &self.point
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Point {}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Point({})", data_encoding::HEXLOWER.encode(&self.bytes))
    }
}

/// The public key y = k·G of a remote key, or y_i of one of its shares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey(Point);

impl PublicKey {
    /// The public key that is this point.
    pub const fn from_point(point: Point) -> Self {
        Self(point)
    }

    /// Decodes 32 bytes from anywhere.
    pub fn decode(bytes: &[u8; POINT_BYTES]) -> Result<Self, PointError> {
        Point::decode(bytes).map(Self)
    }

    /// The canonical encoding.
    pub const fn as_bytes(&self) -> &[u8; POINT_BYTES] {
        self.0.as_bytes()
    }

    /// The point itself.
    pub const fn point(&self) -> &Point {
        &self.0
    }

    pub(crate) const fn element(&self) -> &RistrettoPoint {
        self.0.element()
    }
}

/// A secret scalar, not zero, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Scalar(CurveScalar);

impl Scalar {
    /// Uniform and not zero. Panics if `rng` gives nothing but zeros: better to stop than to send the
    /// identity.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        let draw = |_| {
            let mut wide = Zeroizing::new([0; 64]);
            rng.fill_bytes(wide.as_mut());
            Self::from_element(CurveScalar::from_bytes_mod_order_wide(&wide))
        };
        (0..8).find_map(draw).expect("randomness that is not zero eight times in a row")
    }

    /// Decodes a canonical little-endian scalar.
    pub fn decode(bytes: &[u8; SCALAR_BYTES]) -> Result<Self, ScalarError> {
        let scalar: Option<CurveScalar> = CurveScalar::from_canonical_bytes(*bytes).into();
        Self::from_element(scalar.ok_or(ScalarError::NotCanonical)?).ok_or(ScalarError::Zero)
    }

    /// Decodes a scalar at rest in secret memory.
    pub fn from_secret(bytes: &Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        Self::decode(bytes.expose())
    }

    /// k·G.
    pub fn public_key(&self) -> PublicKey {
        let element = RistrettoPoint::mul_base(&self.0);
        PublicKey(
            Point::from_element(element)
                .expect("a non-zero scalar times the generator of a prime-order group"),
        )
    }

    /// k/2, for computations whose result is doubled ([`Point::from_halves`]).
    pub(crate) fn half(&self) -> Self {
        Self(self.0.div_by_2())
    }

    /// `None` for zero.
    pub(crate) fn from_element(scalar: CurveScalar) -> Option<Self> {
        let zero: bool = scalar.ct_eq(&CurveScalar::ZERO).into();
        (!zero).then_some(Self(scalar))
    }

    pub(crate) const fn element(&self) -> &CurveScalar {
        &self.0
    }
}

/// HashToScalar of section 6.1 over the concatenation of `parts`. The result may be zero; callers that need
/// it otherwise retry.
pub fn hash_to_scalar(parts: &[&[u8]]) -> CurveScalar {
    hash_to_scalar_tagged(parts, label::HASH_TO_SCALAR)
}

/// HashToScalar under another domain separation tag, so that the vectors of RFC 9497 run through this code.
pub(crate) fn hash_to_scalar_tagged(parts: &[&[u8]], tag: &[u8]) -> CurveScalar {
    let mut uniform = expand_message(parts, tag);
    let scalar = CurveScalar::from_bytes_mod_order_wide(&uniform);
    uniform.zeroize();
    scalar
}

/// expand_message_xmd of RFC 9380 section 5.3.1 with SHA-512, for exactly 64 bytes of output.
pub(crate) fn expand_message(parts: &[&[u8]], tag: &[u8]) -> [u8; 64] {
    let tag_len = [u8::try_from(tag.len()).expect("tags are short constants")];
    let mut first = Sha512::new_with_prefix([0; 128]);
    for part in parts {
        first.update(part);
    }
    // l_i_b_str = I2OSP(64, 2), then I2OSP(0, 1), then DST_prime.
    first.update([0, 64, 0]);
    first.update(tag);
    first.update(tag_len);
    let mut seed = first.finalize();
    let expanded =
        Sha512::new().chain_update(seed).chain_update([1]).chain_update(tag).chain_update(tag_len).finalize();
    seed.zeroize();
    expanded.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED;
    use curve25519_dalek::traits::Identity;

    use super::*;

    #[test]
    fn refuses_identity_and_strange_encodings() {
        let identity = RistrettoPoint::identity().compress().to_bytes();
        assert_eq!(Point::decode(&identity).unwrap_err(), PointError::Identity);
        assert_eq!(Point::decode(&[0xff; 32]).unwrap_err(), PointError::NotCanonical);
        // Negative field element: canonical integer, odd.
        let mut odd = [0; 32];
        odd[0] = 1;
        assert_eq!(Point::decode(&odd).unwrap_err(), PointError::NotCanonical);
        let mut base = RISTRETTO_BASEPOINT_COMPRESSED.to_bytes();
        assert!(Point::decode(&base).is_ok());
        base[31] |= 0x80;
        assert_eq!(Point::decode(&base).unwrap_err(), PointError::NotCanonical);
    }

    #[test]
    fn refuses_zero_and_unreduced_scalars() {
        assert!(matches!(Scalar::decode(&[0; 32]), Err(ScalarError::Zero)));
        assert!(matches!(Scalar::decode(&[0xff; 32]), Err(ScalarError::NotCanonical)));
        let mut order = (-CurveScalar::ONE).to_bytes();
        assert!(Scalar::decode(&order).is_ok());
        order[0] += 1;
        assert!(matches!(Scalar::decode(&order), Err(ScalarError::NotCanonical)));
    }

    #[test]
    fn hashing_joins_parts() {
        assert_eq!(hash_to_scalar(&[b"ab", b"c"]), hash_to_scalar(&[b"abc"]));
        assert_ne!(hash_to_scalar(&[b"abc"]), hash_to_scalar_tagged(&[b"abc"], b"other"));
    }
}
