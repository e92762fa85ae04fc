//! Shamir's scheme over GF(2^8), byte by byte (docs/skb1.md section 7.1).
//!
//! Fewer than t points say nothing about the secret, whatever the computing power. That holds only if the t-1
//! non-constant coefficients are uniform over *all* byte values: excluding zero, as the `sharks` crate did,
//! makes some secrets impossible for some points and gives the secret away after enough re-sharings
//! (RUSTSEC-2024-0398).
//!
//! The scheme detects nothing: a wrong point gives a wrong secret. The share set's digests and check value do
//! that (`set.rs`).

use rand_core::CryptoRng;
use zeroize::Zeroize;

use super::gf256;
use crate::secret::{Secret, wiping};

/// Most shares of a set.
pub const SHARES_MAX: u8 = 16;
/// Fewest shares that may be enough. One would be a copy of the secret.
pub const THRESHOLD_MIN: u8 = 2;

/// How many of how many shares are needed: `2 <= needed <= total <= 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Threshold {
    needed: u8,
    total: u8,
}

/// Two numbers that are no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed} of {total} shares: the threshold must be at least 2, at most the number of shares, and there are at most 16 shares"
)]
pub struct ThresholdError {
    /// Shares that would be enough.
    pub needed: u8,
    /// Shares that would exist.
    pub total: u8,
}

impl Threshold {
    /// `needed` of `total`, if that is a sharing at all.
    pub const fn new(needed: u8, total: u8) -> Result<Self, ThresholdError> {
        if needed < THRESHOLD_MIN || needed > total || total > SHARES_MAX {
            return Err(ThresholdError { needed, total });
        }
        Ok(Self { needed, total })
    }

    /// t: shares that are enough.
    #[must_use]
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// n: shares that exist.
    #[must_use]
    pub const fn total(self) -> u8 {
        self.total
    }
}

/// One value of the polynomials: `x` is public and never zero, `y` has one byte per byte of the secret.
pub struct Point {
    /// 1..=n.
    pub x: u8,
    /// The polynomials' values at `x`.
    pub y: Secret<32>,
}

/// Points that do not determine a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointsError {
    /// Fewer than two points, or more than a set has.
    #[error("{found} points; a secret is made of 2 to 16")]
    Count {
        /// Points given.
        found: usize,
    },
    /// Zero is the place of the secret itself.
    #[error("a point at x = 0")]
    Zero,
    /// Two points at the same place.
    #[error("two points at x = {x}")]
    Repeated {
        /// The place.
        x: u8,
    },
}

/// Splits `secret` into points at x = 1..=n, any t of which give it back.
#[must_use]
pub fn split(secret: &Secret<32>, threshold: Threshold, rng: &mut dyn CryptoRng) -> Vec<Point> {
    let coefficients: Vec<_> = (1..threshold.needed).map(|_| Secret::random(rng)).collect();
    split_with(secret, &coefficients, threshold.total)
}

/// [`split`] with given coefficients a_1, a_2, …
pub(super) fn split_with(secret: &Secret<32>, coefficients: &[Secret<32>], total: u8) -> Vec<Point> {
    wiping(|| (1..=total).map(|x| Point { x, y: evaluate(secret, coefficients, x) }).collect())
}

/// Horner's rule from the highest coefficient down to the secret.
fn evaluate(secret: &Secret<32>, coefficients: &[Secret<32>], x: u8) -> Secret<32> {
    Secret::filled_by(|y| {
        for coefficient in coefficients.iter().rev().chain([secret]) {
            for (byte, next) in y.iter_mut().zip(coefficient.expose()) {
                *byte = gf256::mul(*byte, x) ^ next;
            }
        }
    })
}

/// The secret that `points` determine: the value at zero of the polynomials through all of them.
///
/// With fewer points than the threshold, or with a wrong one, the result is a uniformly random-looking wrong
/// secret.
pub fn recombine(points: &[&Point]) -> Result<Secret<32>, PointsError> {
    if points.len() < usize::from(THRESHOLD_MIN) || points.len() > usize::from(SHARES_MAX) {
        return Err(PointsError::Count { found: points.len() });
    }
    for (index, point) in points.iter().enumerate() {
        if point.x == 0 {
            return Err(PointsError::Zero);
        }
        if points[..index].iter().any(|earlier| earlier.x == point.x) {
            return Err(PointsError::Repeated { x: point.x });
        }
    }
    Ok(wiping(|| interpolate(points)))
}

fn interpolate(points: &[&Point]) -> Secret<32> {
    Secret::filled_by(|secret| {
        for point in points {
            let weight = weight_at_zero(point.x, points);
            for (byte, y) in secret.iter_mut().zip(point.y.expose()) {
                let mut term = gf256::mul(*y, weight);
                *byte ^= term;
                term.zeroize();
            }
        }
    })
}

/// Lagrange's weight of the point at `x` for the value at zero: the product of x_j / (x_j - x). Depends on
/// public numbers only.
fn weight_at_zero(x: u8, points: &[&Point]) -> u8 {
    points
        .iter()
        .filter(|other| other.x != x)
        .fold(1, |weight, other| gf256::mul(weight, gf256::mul(other.x, gf256::inverse(other.x ^ x))))
}

#[cfg(test)]
#[path = "shamir_tests.rs"]
mod tests;
