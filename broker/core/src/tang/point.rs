//! Points of P-521 that came from outside: on the curve, and not the identity.

use p521::PublicKey;

/// Bytes of a coordinate, and of a scalar.
pub(super) const COORDINATE_BYTES: usize = 66;

/// A point that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point(pub(super) PublicKey);

impl Point {
    /// `None` if it is not on the curve, or a coordinate has another length (RFC 7518 6.2.1.2).
    pub(super) fn new(x: &[u8], y: &[u8]) -> Option<Self> {
        let full = x.len() == COORDINATE_BYTES && y.len() == COORDINATE_BYTES;
        full.then(|| Self::from_sec1(&[&[4], x, y].concat())).flatten()
    }

    /// Both points with this first coordinate, if there are any.
    pub(super) fn with_x(x: &[u8]) -> impl Iterator<Item = Self> {
        [2, 3].map(|sign| Self::from_sec1(&[&[sign], x].concat())).into_iter().flatten()
    }

    fn from_sec1(bytes: &[u8]) -> Option<Self> {
        PublicKey::from_sec1_bytes(bytes).ok().map(Self)
    }

    /// Uncompressed: 4, x and y.
    pub(super) fn to_sec1(self) -> Box<[u8]> {
        p521::Sec1Point::from(self.0).as_bytes().into()
    }
}
