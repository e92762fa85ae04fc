//! ES512, and who signed.
//!
//! A server whose keys were rotated has its advertisement signed by the old key, too, without saying which
//! key that is. An ECDSA signature tells: it belongs to two keys at most, which are worked out from it, and
//! the pinned thumbprint says whether one of them is the one that was trusted. A key so found is then used
//! as if it had been given.

use aws_lc_rs::digest::{SHA512, digest};
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use p521::elliptic_curve::PrimeField;
use p521::{FieldBytes, NonZeroScalar, ProjectivePoint, PublicKey, Scalar};

use super::key::thumbprint;
use super::point::{COORDINATE_BYTES, Point};
use super::thumbprint::Thumbprint;

/// Whether the key signed.
pub(super) fn verifies(key: Point, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, key.to_sec1()).verify(message, signature).is_ok()
}

/// Whether the key with this thumbprint signed.
pub(super) fn is_by(pinned: &Thumbprint, message: &[u8], signature: &[u8]) -> bool {
    let named = |key: &Point| thumbprint(*key) == *pinned;
    signers(message, signature).into_iter().find(named).is_some_and(|key| verifies(key, message, signature))
}

/// The keys under which a signature is one: (s R - z G) / r for both points R with the first coordinate r.
/// (That the coordinate was r plus the order of the group happens once in 2^260 signatures.)
fn signers(message: &[u8], signature: &[u8]) -> Vec<Point> {
    let Some((r, s)) = signature.split_at_checked(COORDINATE_BYTES) else { return Vec::new() };
    let inverse = scalar(r).and_then(|r| r.invert().into_option());
    let Some(((inverse, s), z)) = inverse.zip(scalar(s)).zip(hashed(message)) else { return Vec::new() };
    let key = |point: Point| {
        let sum = point.0.to_projective() * *s - ProjectivePoint::GENERATOR * z;
        PublicKey::from_affine((sum * inverse).to_affine()).ok().map(Point)
    };
    Point::with_x(r).filter_map(key).collect()
}

fn scalar(bytes: &[u8]) -> Option<NonZeroScalar> {
    NonZeroScalar::from_repr(FieldBytes::try_from(bytes).ok()?).into_option()
}

/// SHA-512 is shorter than the order of the group.
fn hashed(message: &[u8]) -> Option<Scalar> {
    let mut bytes = FieldBytes::default();
    let hash = digest(&SHA512, message);
    for (out, byte) in bytes.iter_mut().rev().zip(hash.as_ref().iter().rev()) {
        *out = *byte;
    }
    Scalar::from_repr(bytes).into_option()
}
