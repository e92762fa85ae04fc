//! The signature scheme of COCKTAIL-DKG: Schnorr over ristretto255 with a deterministic nonce.
//!
//! ```text
//! k = H("…-NONCE" ‖ enc(sk) ‖ m) ; R = k·G ; c = H("…-H7" ‖ enc(R) ‖ enc(pk) ‖ m) ; z = k + c·sk ; R ‖ z
//! ```
//!
//! H is SHA-512, read as a little-endian integer modulo ℓ.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use crate::group::{POINT_BYTES, Point, SCALAR_BYTES, Scalar};
use crate::label;

/// Bytes of a signature R ‖ z.
pub const SCHNORR_BYTES: usize = POINT_BYTES + SCALAR_BYTES;

/// Signs the concatenation of `parts` with `key`, whose public half is `public`, under
/// `secret::wiping`.
pub(super) fn sign(key: &Scalar, public: &Point, parts: &[&[u8]]) -> [u8; SCHNORR_BYTES] {
    let nonce = hash_to_scalar(&[label::COCKTAIL_NONCE, key.element().as_bytes()], parts);
    let nonce = Scalar::from_element(nonce).expect("a hash that is not zero modulo the group order");
    let commitment = nonce.public_key();
    let c = challenge(commitment.point(), public, parts);
    let z = nonce.element() + c * key.element();
    let mut signature = [0; SCHNORR_BYTES];
    signature[..POINT_BYTES].copy_from_slice(commitment.as_bytes());
    signature[POINT_BYTES..].copy_from_slice(z.as_bytes());
    signature
}

/// Whether `signature` over the concatenation of `parts` was made with the private half of `public`.
/// Canonical encodings only, and R is not the identity.
#[must_use]
pub(super) fn verifies(public: &Point, parts: &[&[u8]], signature: &[u8; SCHNORR_BYTES]) -> bool {
    let (halves, _) = signature.as_chunks::<POINT_BYTES>();
    let z: Option<CurveScalar> = CurveScalar::from_canonical_bytes(halves[1]).into();
    let (Ok(commitment), Some(z)) = (Point::decode(&halves[0]), z) else {
        return false;
    };
    let c = challenge(&commitment, public, parts);
    // z·G − c·pk = R.
    let expected = RistrettoPoint::vartime_double_scalar_mul_basepoint(&-c, public.element(), &z);
    expected == *commitment.element()
}

fn challenge(commitment: &Point, public: &Point, parts: &[&[u8]]) -> CurveScalar {
    hash_to_scalar(&[label::COCKTAIL_CHALLENGE, commitment.as_bytes(), public.as_bytes()], parts)
}

fn hash_to_scalar(head: &[&[u8]], parts: &[&[u8]]) -> CurveScalar {
    let mut hash = Sha512::new();
    for part in head.iter().chain(parts) {
        hash.update(part);
    }
    let mut wide: [u8; 64] = hash.finalize().into();
    let scalar = CurveScalar::from_bytes_mod_order_wide(&wide);
    wide.zeroize();
    scalar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_for_one_key_and_message_only() {
        let rng = &mut crate::testing::rng();
        let (key, other) = (Scalar::random(rng), Scalar::random(rng));
        let public = *key.public_key().point();
        let signature = sign(&key, &public, &[b"one ", b"message"]);
        assert!(verifies(&public, &[b"one message"], &signature));
        assert!(!verifies(&public, &[b"another message"], &signature));
        assert!(!verifies(other.public_key().point(), &[b"one message"], &signature));
        for position in 0..SCHNORR_BYTES {
            let mut forged = signature;
            forged[position] ^= 1;
            assert!(!verifies(&public, &[b"one message"], &forged), "byte {position}");
        }
    }

    #[test]
    fn refuses_identity_and_unreduced_scalars() {
        let rng = &mut crate::testing::rng();
        let public = *Scalar::random(rng).public_key().point();
        assert!(!verifies(&public, &[b"message"], &[0; SCHNORR_BYTES]));
        assert!(!verifies(&public, &[b"message"], &[0xff; SCHNORR_BYTES]));
    }
}
