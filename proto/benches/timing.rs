//! Whether a secret shows in how long something takes (`docs/skb1.md` section 12.3), after Reparaz, Balasch
//! and Verbauwhede, "Dude, is my code constant time?" (2017).
//!
//! ```text
//! cargo bench -p symbolon-proto --features timing --bench timing [-- <samples>]
//! ```
//!
//! Each check runs one operation on inputs of two classes, one fixed and one random, in random order, and
//! compares the two sets of times with Welch's t-test. A difference that a million samples show beyond |t| =
//! 5 is a leak. Because interrupts hide small differences, the slowest samples are also left out, at several
//! levels, and the worst t counts. Two checks are controls: they leak on purpose, and the program fails if it
//! does not see that.
//!
//! It proves presence and never absence: constant time here, on this machine, with this compiler.

#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use getrandom::SysRng;
use rand_core::{Rng, UnwrapErr};
use symbolon_proto::secret::Secret;
use symbolon_proto::share::gf256;
use symbolon_proto::share::shamir::{Point, recombine};
use symbolon_proto::timing::{Expected, unblind};

const RNG: UnwrapErr<SysRng> = UnwrapErr(SysRng);
/// Section 12.3.
const BOUND: f64 = 5.0;
const SAMPLES: usize = 1_000_000;
/// Inputs prepared together, so that preparing one cannot colour the measurement of the same one.
const BATCH: usize = 128;
/// Percent of the samples, the fastest first, that a test looks at.
const LEVELS: [usize; 6] = [50, 75, 90, 95, 99, 100];

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Fixed,
    Random,
}

impl Class {
    /// Overwrites `random` in the fixed class. Both classes cost the same to prepare.
    fn choose<T>(self, fixed: T, random: T) -> T {
        match self {
            Self::Fixed => fixed,
            Self::Random => random,
        }
    }
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    RNG.clone().fill_bytes(&mut bytes);
    bytes
}

fn secret(bytes: [u8; 32]) -> Secret<32> {
    Secret::filled_by(|out| *out = bytes)
}

/// Times of both classes, in nanoseconds.
struct Times(Vec<(Class, f64)>);

impl Times {
    /// Runs `work` on `samples` inputs, of which a coin decides the class.
    fn take<T, R>(samples: usize, prepare: impl Fn(Class) -> T, work: impl Fn(T) -> R) -> Self {
        let mut times = Vec::with_capacity(samples + BATCH);
        while times.len() < samples {
            let coins = RNG.clone().next_u64() as u128 | u128::from(RNG.clone().next_u64()) << 64;
            let class = |at: usize| if coins >> at & 1 == 0 { Class::Fixed } else { Class::Random };
            let inputs: Vec<(Class, T)> = (0..BATCH).map(|at| (class(at), prepare(class(at)))).collect();
            for (class, input) in inputs {
                let input = black_box(input);
                let start = Instant::now();
                black_box(work(input));
                times.push((class, start.elapsed().as_secs_f64() * 1e9));
            }
        }
        Self(times)
    }

    /// The largest |t| of all levels.
    fn worst(mut self) -> f64 {
        self.0.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let level = |percent: usize| {
            let kept = &self.0[..self.0.len() * percent / 100];
            welch(&Moments::of(kept, Class::Fixed), &Moments::of(kept, Class::Random)).abs()
        };
        LEVELS.into_iter().map(level).fold(0.0, f64::max)
    }
}

/// Number, mean and variance of samples.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(times: &[(Class, f64)], class: Class) -> Self {
        let these = || times.iter().filter(|(of, _)| *of == class).map(|(_, time)| *time);
        let count = these().count() as f64;
        let mean = these().sum::<f64>() / count;
        let variance = these().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { count, mean, variance }
    }
}

/// Welch's t. Samples without any spread differ infinitely or not at all.
fn welch(a: &Moments, b: &Moments) -> f64 {
    let (difference, spread) = (a.mean - b.mean, a.variance / a.count + b.variance / b.count);
    if difference == 0.0 { 0.0 } else { difference / spread.sqrt() }
}

/// 32 products, as many as a share has bytes.
fn multiply(samples: usize) -> Times {
    let prepare =
        |class: Class| (class.choose([0; 32], random_bytes()), class.choose([0; 32], random_bytes()));
    Times::take(samples, prepare, |(mut a, b)| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = gf256::mul(*a, b));
        a
    })
}

/// Three points of a set: their places are public, their values are not.
fn recombine_shares(samples: usize) -> Times {
    let point = |class: Class, x| Point { x, y: secret(class.choose([0; 32], random_bytes())) };
    let prepare = |class| [1, 2, 4].map(|x| point(class, x));
    Times::take(samples, prepare, |points| recombine(&points.each_ref()))
}

/// The claim fits, or differs somewhere.
fn compare(samples: usize) -> Times {
    let expected = Expected::new(&secret(random_bytes()));
    let prepare = |class: Class| class.choose(expected.commitment(), random_bytes());
    Times::take(samples, prepare, |claimed| expected.commits_to(&claimed))
}

/// Control: stops at the first difference.
fn compare_leaking(samples: usize) -> Times {
    let expected = random_bytes();
    let prepare = |class: Class| class.choose(expected, random_bytes());
    Times::take(samples, prepare, |claimed| {
        for (a, b) in expected.iter().zip(&claimed) {
            if a != b {
                return false;
            }
        }
        true
    })
}

/// ρ = 2 has one bit set; random ones have half of theirs.
fn rho(class: Class) -> Scalar {
    class.choose(Scalar::from(2_u8), Scalar::random(&mut RNG.clone()))
}

fn decapsulate(samples: usize) -> Times {
    let evaluated = RistrettoPoint::random(&mut RNG.clone());
    Times::take(samples, |class| secret(rho(class).to_bytes()), |rho| unblind(rho, &evaluated))
}

/// Control: the multiplication for public scalars.
fn multiply_point_leaking(samples: usize) -> Times {
    let point = RistrettoPoint::random(&mut RNG.clone());
    Times::take(samples, rho, |rho| RistrettoPoint::vartime_multiscalar_mul([rho], [point]))
}

/// What must be seen.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    ConstantTime,
    Leak,
}

type Check = (&'static str, Expect, fn(usize) -> Times);

const CHECKS: [Check; 6] = [
    ("GF(2^8) multiply, 32 bytes", Expect::ConstantTime, multiply),
    ("recombine, 3 shares", Expect::ConstantTime, recombine_shares),
    ("commitment compare", Expect::ConstantTime, compare),
    ("decapsulate, fixed or random rho", Expect::ConstantTime, decapsulate),
    ("control: compare that stops early", Expect::Leak, compare_leaking),
    ("control: point times public scalar", Expect::Leak, multiply_point_leaking),
];

/// Runs one check. Whether it came out as it must.
fn holds((name, expect, run): Check, samples: usize) -> bool {
    let start = Instant::now();
    let worst = run(samples).worst();
    let seen = if worst < BOUND { Expect::ConstantTime } else { Expect::Leak };
    let verdict = match (expect, seen) {
        (Expect::ConstantTime, Expect::ConstantTime) => "no difference seen",
        (Expect::Leak, Expect::Leak) => "leaks, as it should",
        (Expect::ConstantTime, Expect::Leak) => "LEAKS: its time depends on a secret",
        (Expect::Leak, Expect::ConstantTime) => "NOT SEEN: this machine is too noisy for the check",
    };
    println!("{name:<36} |t| = {worst:>8.2}   {verdict} ({:.0} s)", start.elapsed().as_secs_f64());
    expect == seen
}

fn main() -> ExitCode {
    let samples = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(SAMPLES);
    println!("{samples} samples each; |t| must stay below {BOUND}, and exceed it for the controls");
    let results = CHECKS.map(|check| holds(check, samples));
    if results.iter().all(|held| *held) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
