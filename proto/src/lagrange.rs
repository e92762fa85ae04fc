//! Interpolation at zero: the weight of a node among those that take part.

use curve25519_dalek::scalar::Scalar as CurveScalar;

/// λ_i = Π_{j≠i} j·(j−i)⁻¹ for distinct nodes.
pub(crate) fn lagrange(node: u16, nodes: &[u16]) -> CurveScalar {
    let i = CurveScalar::from(node);
    let others = nodes.iter().filter(|other| **other != node).map(|other| CurveScalar::from(*other));
    let (numerator, denominator) =
        others.fold((CurveScalar::ONE, CurveScalar::ONE), |(n, d), j| (n * j, d * (j - i)));
    numerator * denominator.invert()
}
