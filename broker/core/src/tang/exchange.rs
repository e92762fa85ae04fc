//! The exchange of McCallum and Relyea: the server helps to compute a secret that it cannot see.
//!
//! ```text
//! sealing:   C = c G is kept, K = c S is the secret, c is forgotten
//! opening:   X = C + e G goes out, Y = s X comes back, K = Y - e S
//! ```
//!
//! S = s G is the server's key, c and e are random. X is a random point whatever C is, so neither the server
//! nor the network learns C, and Y is worth nothing to whoever does not know e.

use p521::elliptic_curve::Generate;
use p521::elliptic_curve::point::AffineCoordinates;
use p521::{NonZeroScalar, ProjectivePoint, PublicKey};
use rand_core::CryptoRng;
use symbolon_proto::Zeroizing;

use super::point::{COORDINATE_BYTES, Point};

/// The first coordinate of K.
pub(super) type Shared = Zeroizing<[u8; COORDINATE_BYTES]>;

/// A scalar that stays where it was made, and is wiped.
type Ephemeral = Box<Zeroizing<NonZeroScalar>>;

/// The e of one opening.
pub(super) struct Blinding(Ephemeral);

/// For sealing: C and the secret.
pub(super) fn provision(server: Point, rng: &mut dyn CryptoRng) -> Option<(Point, Shared)> {
    let ephemeral = random(rng);
    let public = finite(ProjectivePoint::GENERATOR * ***ephemeral)?;
    Some((public, coordinate(server.0.to_projective() * ***ephemeral)?))
}

/// For opening: X, and what to undo it with. `None` for one e of all.
pub(super) fn blind(kept: Point, rng: &mut dyn CryptoRng) -> Option<(Point, Blinding)> {
    let ephemeral = random(rng);
    let sum = kept.0.to_projective() + ProjectivePoint::GENERATOR * ***ephemeral;
    Some((finite(sum)?, Blinding(ephemeral)))
}

/// The secret, if the server computed with its key. `None` where there is no point.
pub(super) fn unblind(blinding: &Blinding, server: Point, answer: Point) -> Option<Shared> {
    coordinate(answer.0.to_projective() - server.0.to_projective() * ***blinding.0)
}

fn random(rng: &mut dyn CryptoRng) -> Ephemeral {
    Box::new(Zeroizing::new(NonZeroScalar::generate_from_rng(rng)))
}

/// Not for the identity.
fn finite(point: ProjectivePoint) -> Option<Point> {
    PublicKey::from_affine(point.to_affine()).ok().map(Point)
}

fn coordinate(point: ProjectivePoint) -> Option<Shared> {
    let point = Zeroizing::new(finite(point)?.0.to_projective().to_affine());
    let x = Zeroizing::new(point.x());
    let mut shared = Shared::new([0; COORDINATE_BYTES]);
    shared.copy_from_slice(&x);
    Some(shared)
}
