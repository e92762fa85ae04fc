//! Secret polynomials and their commitments.

use curve25519_dalek::scalar::Scalar as CurveScalar;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::public::evaluate_public;
use crate::group::{Point, Scalar};

/// Σ a_k·x^k, all a_k secret and not zero. One without a constant term is x·Σ a_k·x^k.
pub(super) struct Polynomial {
    coefficients: Vec<Scalar>,
    without_constant: bool,
}

impl Polynomial {
    /// Degree t − 1, all coefficients random.
    pub(super) fn random(threshold: u16, rng: &mut dyn CryptoRng) -> Self {
        let coefficients = (0..threshold).map(|_| Scalar::random(rng)).collect();
        Self { coefficients, without_constant: false }
    }

    /// Degree t − 1 with f(0) = 0.
    pub(super) fn through_zero(threshold: u16, rng: &mut dyn CryptoRng) -> Self {
        let coefficients = (1..threshold).map(|_| Scalar::random(rng)).collect();
        Self { coefficients, without_constant: true }
    }

    /// Degree t − 1 with f(0) = `constant`.
    pub(super) fn with_constant(constant: Scalar, threshold: u16, rng: &mut dyn CryptoRng) -> Self {
        let mut coefficients = Vec::with_capacity(usize::from(threshold));
        coefficients.push(constant);
        coefficients.extend((1..threshold).map(|_| Scalar::random(rng)));
        Self { coefficients, without_constant: false }
    }

    /// The lowest coefficient, whose possession is proven.
    pub(super) fn lowest(&self) -> &Scalar {
        &self.coefficients[0]
    }

    /// a_k·G of each coefficient.
    pub(super) fn commitments(&self) -> Vec<Point> {
        self.coefficients.iter().map(|coefficient| *coefficient.public_key().point()).collect()
    }

    /// f(x), unless it is zero.
    pub(super) fn evaluate(&self, x: u16) -> Option<Scalar> {
        let at = CurveScalar::from(x);
        let mut sum = Zeroizing::new(CurveScalar::ZERO);
        for coefficient in self.coefficients.iter().rev() {
            *sum = *sum * at + coefficient.element();
        }
        if self.without_constant {
            *sum *= at;
        }
        Scalar::from_element(*sum)
    }
}

/// f(x)·G of a committed polynomial.
pub(super) fn evaluate_committed(
    commitments: &[Point],
    without_constant: bool,
    x: u16,
) -> curve25519_dalek::ristretto::RistrettoPoint {
    let value = evaluate_public(commitments, x);
    match without_constant {
        true => value * CurveScalar::from(x),
        false => value,
    }
}
