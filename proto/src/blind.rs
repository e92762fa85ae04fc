//! Blinding: what the broker sends instead of a capsule's point, and what it makes of the answer
//! (`docs/skb1.md` sections 6.6 and 6.7).
//!
//! Each w is multiplied by a fresh secret ρ, so the node sees uniform points whatever is being opened;
//! batches are padded to 1, 8 or 64 with dummies, so it does not see how many either.
//!
//! ```text
//! blind(capsules) ─▶ request() ─▶ node ─▶ evaluate::verify ─▶ finalize(VerifiedEvaluation) ─▶ Capsule::open
//! ```

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::capsule::{Capsule, SharedSecret};
use crate::evaluate::VerifiedEvaluation;
use crate::frame::{BATCH_MAX, EvaluateRequest, Target};
use crate::group::{Point, SCALAR_BYTES, Scalar};
use crate::id::RequestId;
use crate::lagrange::lagrange;
use crate::remote_key::RemoteKey;
use crate::secret::{self, Secret};

const BATCH_SIZES: [usize; 3] = [1, 8, BATCH_MAX];

/// Why capsules cannot be sent together.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BlindError {
    /// No capsule, or more than 64.
    #[error("{found} capsules in a batch, where 1 to 64 are allowed")]
    Count {
        /// How many were given.
        found: usize,
    },
    /// A capsule is for another remote key or key epoch than the request.
    #[error("capsule {index} of the batch belongs to another remote key or epoch")]
    OtherTarget {
        /// Which one, from 0.
        index: usize,
    },
}

/// Why evaluations do not complete a blinded request.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FinalizeError {
    /// An evaluation of another request.
    #[error("node {node} evaluated another request")]
    OtherRequest {
        /// The node.
        node: u16,
    },
    /// Not as many evaluations as the threshold.
    #[error("{found} evaluations, the threshold is {threshold}")]
    Threshold {
        /// Evaluations given.
        found: usize,
        /// Evaluations needed.
        threshold: u16,
    },
    /// The same node twice.
    #[error("node {node} is there twice")]
    Duplicate {
        /// The node.
        node: u16,
    },
}

/// Capsules on their way through the remote. Holds the blinding secrets, in secret memory because it waits
/// for the network: ρ and the answer together give S. Wiped on drop.
pub struct Blinded {
    request: EvaluateRequest,
    rhos: Vec<Secret<SCALAR_BYTES>>,
}

impl Blinded {
    /// Blinds 1 to 64 capsules of one remote key and epoch into one request.
    pub fn blind(capsules: &[&Capsule], target: Target, rng: &mut dyn CryptoRng) -> Result<Self, BlindError> {
        let found = capsules.len();
        let padded = Self::padded(found).ok_or(BlindError::Count { found })?;
        let strays =
            |capsule: &&Capsule| (capsule.key(), capsule.key_epoch()) != (target.key, target.key_epoch);
        if let Some(index) = capsules.iter().position(strays) {
            return Err(BlindError::OtherTarget { index });
        }
        Ok(secret::wiping(|| Self::blind_padded(capsules, target, padded, rng)))
    }

    /// Points in the request for so many capsules, dummies included: what it costs. `None` if no request
    /// takes so many.
    #[must_use]
    pub fn padded(capsules: usize) -> Option<usize> {
        BATCH_SIZES.into_iter().find(|size| (1..=*size).contains(&capsules))
    }

    /// The request to send.
    pub const fn request(&self) -> &EvaluateRequest {
        &self.request
    }

    /// Unblinds the answer of a single remote: one secret for each capsule, in the order given.
    pub fn finalize(self, evaluation: VerifiedEvaluation) -> Result<Vec<SharedSecret>, FinalizeError> {
        self.finalize_threshold(&[evaluation], 1)
    }

    /// Combines the answers of `threshold` nodes (the first that many are used) and unblinds the result.
    pub fn finalize_threshold(
        self,
        evaluations: &[VerifiedEvaluation],
        threshold: u16,
    ) -> Result<Vec<SharedSecret>, FinalizeError> {
        let shares = self.check_shares(evaluations, threshold)?;
        let combined: Vec<RistrettoPoint> = match shares {
            [only] => only.points.iter().map(|point| *point.element()).collect(),
            shares => combine(shares, self.rhos.len()),
        };
        Ok(secret::wiping(|| unblind(self.rhos, &combined)))
    }

    /// Evaluates with the key itself and unblinds: recovery from escrow (section 8), where nobody else
    /// computed anything that a proof would be needed for.
    pub fn finalize_locally(self, key: &RemoteKey, rng: &mut dyn CryptoRng) -> Vec<SharedSecret> {
        let points = key.evaluate(&self.request, rng).points;
        let elements: Vec<RistrettoPoint> = points.iter().map(|point| *point.element()).collect();
        secret::wiping(|| unblind(self.rhos, &elements))
    }

    fn blind_padded(capsules: &[&Capsule], target: Target, padded: usize, rng: &mut dyn CryptoRng) -> Self {
        let mut rhos = Vec::with_capacity(capsules.len());
        let mut halves = Vec::with_capacity(padded);
        for capsule in capsules {
            let rho = Scalar::random(rng);
            halves.push(capsule.w().element() * rho.half().element());
            rhos.push(Secret::filled_by(|out| out.copy_from_slice(rho.element().as_bytes())));
        }
        halves.resize_with(padded, || RistrettoPoint::mul_base(Scalar::random(rng).element()));
        let points = Point::from_halves(&halves);
        let request = EvaluateRequest::new(target, RequestId::random(rng), points);
        Self { request: request.expect("batch sizes are in bounds"), rhos }
    }

    /// Equal share epochs need no check of their own: they are part of the request, whose hash every share
    /// carries.
    fn check_shares<'a>(
        &self,
        evaluations: &'a [VerifiedEvaluation],
        threshold: u16,
    ) -> Result<&'a [VerifiedEvaluation], FinalizeError> {
        let missing = FinalizeError::Threshold { found: evaluations.len(), threshold };
        let shares = evaluations.get(..usize::from(threshold)).ok_or(missing)?;
        if shares.is_empty() {
            return Err(missing);
        }
        for (position, share) in shares.iter().enumerate() {
            let node = share.node;
            if share.request_hash != *self.request.hash() {
                return Err(FinalizeError::OtherRequest { node });
            }
            if shares[..position].iter().any(|earlier| earlier.node == node) {
                return Err(FinalizeError::Duplicate { node });
            }
        }
        Ok(shares)
    }
}

/// Σ λ_i·v_i for the first `count` elements. The nodes know all of it, so this may be variable-time.
fn combine(shares: &[VerifiedEvaluation], count: usize) -> Vec<RistrettoPoint> {
    let nodes: Vec<u16> = shares.iter().map(|share| share.node).collect();
    let lambdas: Vec<CurveScalar> = nodes.iter().map(|node| lagrange(*node, &nodes)).collect();
    let combined = |j: usize| {
        RistrettoPoint::vartime_multiscalar_mul(
            &lambdas,
            shares.iter().map(|share| share.points[j].element()),
        )
    };
    (0..count).map(combined).collect()
}

/// S_j = ρ_j⁻¹·v_j, with one inversion for the whole batch.
pub(crate) fn unblind(rhos: Vec<Secret<SCALAR_BYTES>>, points: &[RistrettoPoint]) -> Vec<SharedSecret> {
    let scalar = |rho: &Secret<SCALAR_BYTES>| {
        *Scalar::from_secret(rho).expect("it was a scalar when the request was blinded").element()
    };
    let mut inverses = Zeroizing::new(rhos.iter().map(scalar).collect::<Vec<_>>());
    drop(rhos);
    let mut product = CurveScalar::invert_batch_alloc(&mut inverses);
    zeroize::Zeroize::zeroize(&mut product);
    let unblind_one = |(inverse, point): (&CurveScalar, &RistrettoPoint)| {
        let shared = Zeroizing::new(point * inverse);
        SharedSecret::from_element(&shared)
    };
    inverses.iter().zip(points).map(unblind_one).collect()
}
