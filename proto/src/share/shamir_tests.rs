#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use vsss_rs::Gf256;

use super::*;
use crate::testing;

fn secret(bytes: [u8; 32]) -> Secret<32> {
    Secret::filled_by(|out| *out = bytes)
}

/// Every subset of `points` with exactly `size` members.
fn subsets(points: &[Point], size: u32) -> Vec<Vec<&Point>> {
    (0..1_u32 << points.len())
        .filter(|bits| bits.count_ones() == size)
        .map(|bits| {
            points.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, point)| point).collect()
        })
        .collect()
}

#[test]
fn every_subset_of_the_threshold_gives_the_secret() {
    let original = Secret::random(&mut testing::rng());
    for total in 2..=7 {
        for needed in 2..=total {
            let points = split(&original, Threshold::new(needed, total).unwrap(), &mut testing::rng());
            for subset in subsets(&points, u32::from(needed)) {
                assert!(recombine(&subset).unwrap().same_as(&original), "{needed} of {total}");
            }
            for subset in subsets(&points, u32::from(needed) - 1).iter().filter(|subset| subset.len() > 1) {
                assert!(!recombine(subset).unwrap().same_as(&original), "{} of {needed}", subset.len());
            }
        }
    }
}

#[test]
fn the_largest_set_works() {
    let original = Secret::random(&mut testing::rng());
    let points = split(&original, Threshold::new(16, 16).unwrap(), &mut testing::rng());
    assert!(recombine(&points.iter().collect::<Vec<_>>()).unwrap().same_as(&original));
}

#[test]
fn thresholds_are_bounded() {
    for (needed, total) in [(0, 3), (1, 3), (4, 3), (2, 17), (17, 17), (0, 0)] {
        assert_eq!(Threshold::new(needed, total), Err(ThresholdError { needed, total }));
    }
    assert!(Threshold::new(2, 2).is_ok() && Threshold::new(16, 16).is_ok());
}

#[test]
fn points_that_determine_nothing_are_refused() {
    let point = |x| Point { x, y: Secret::zeroed() };
    let (one, two, zero) = (point(1), point(2), point(0));
    assert_eq!(recombine(&[]).err(), Some(PointsError::Count { found: 0 }));
    assert_eq!(recombine(&[&one]).err(), Some(PointsError::Count { found: 1 }));
    assert_eq!(recombine(&[&one; 17]).err(), Some(PointsError::Count { found: 17 }));
    assert_eq!(recombine(&[&one, &two, &one]).err(), Some(PointsError::Repeated { x: 1 }));
    assert_eq!(recombine(&[&one, &zero]).err(), Some(PointsError::Zero));
}

/// Pearson's statistic against the uniform distribution over 256 values; 255 degrees of freedom. Above 380
/// happens by chance about once in 10^7 runs; without zeros, 640,000 samples give more than 2,500.
fn chi_square(counts: &[u64; 256]) -> f64 {
    let total: u64 = counts.iter().sum();
    let expected = total as f64 / 256.0;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

#[test]
fn coefficients_are_uniform_and_may_be_zero() {
    let mut linear = [0_u64; 256];
    let mut highest = [0_u64; 256];
    let c = 0x5a;
    let original = secret([c; 32]);
    for _ in 0..20_000 {
        // y(1) = c + a_1.
        let points = split(&original, Threshold::new(2, 2).unwrap(), &mut testing::rng());
        for y in points[0].y.expose() {
            linear[usize::from(y ^ c)] += 1;
        }
        // y(1) = c + a_1 + a_2 and y(2) = c + 2 a_1 + 4 a_2, so y(2) + 2 y(1) = c + 2 c + (4 + 2) a_2.
        let points = split(&original, Threshold::new(3, 3).unwrap(), &mut testing::rng());
        for (one, two) in points[0].y.expose().iter().zip(points[1].y.expose()) {
            let six = two ^ gf256::mul(2, *one) ^ c ^ gf256::mul(2, c);
            highest[usize::from(gf256::mul(six, gf256::inverse(6)))] += 1;
        }
    }
    for counts in [linear, highest] {
        assert!(counts[0] > 0);
        let statistic = chi_square(&counts);
        assert!(statistic < 380.0, "{statistic}");
    }
}

#[test]
fn the_uniformity_test_finds_missing_zeros() {
    let mut counts = [2510_u64; 256];
    counts[0] = 0;
    assert!(chi_square(&counts) > 380.0);
}

#[test]
fn an_independent_implementation_combines_our_points() {
    for (needed, total) in [(2, 3), (3, 5), (5, 9), (16, 16)] {
        let original = Secret::random(&mut testing::rng());
        let points = split(&original, Threshold::new(needed, total).unwrap(), &mut testing::rng());
        let shares: Vec<Vec<u8>> = points
            .iter()
            .rev()
            .take(usize::from(needed))
            .map(|point| [&[point.x][..], point.y.expose()].concat())
            .collect();
        assert_eq!(Gf256::combine_bytes(&shares).unwrap(), original.expose());
    }
}

proptest! {
    #[test]
    fn we_combine_the_points_of_an_independent_implementation(bytes: [u8; 32], needed in 2_u8..=16, extra in 0_u8..=8) {
        let total = needed.saturating_add(extra).min(SHARES_MAX);
        let shares =
            Gf256::split_bytes(usize::from(needed), usize::from(total), bytes, testing::rng()).unwrap();
        let points: Vec<_> = shares
            .iter()
            .take(usize::from(needed))
            .map(|share| Point { x: share[0], y: secret(share[1..].try_into().unwrap()) })
            .collect();
        let found = recombine(&points.iter().collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(found.expose(), &bytes);
    }
}
