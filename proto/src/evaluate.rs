//! Evaluation: what a fragment service does with its key, and how a broker checks it (`docs/skb1.md` 6.6).
//!
//! The node's side is [`RemoteKey::evaluate`]. The broker's side is [`verify`]: it turns an answer into an
//! [`Answer`], of which every variant that has consequences carries its proof. A [`VerifiedEvaluation`]
//! exists only after the batch proof held against this request and this node's public key; a suspension,
//! destruction or fencing exists only with a [`VerifiedLease`] that says so, so that an unauthenticated error
//! can never trigger a flush. Everything that only a faulty or lying node can cause is an [`EvaluateError`],
//! which names the node.

use curve25519_dalek::ristretto::RistrettoPoint;
use rand_core::CryptoRng;

use crate::dleq::{self, Proof, Prover, Transcript};
pub use crate::frame::{EvaluateError, Fault, Refusal};
use crate::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse};
use crate::group::{Point, Scalar};
use crate::id::RequestHash;
use crate::lease::{LeaseHolder, VerifiedLease};
use crate::manifest::ManifestNode;
pub use crate::remote_key::RemoteKey;
use crate::secret;

/// What a node computed for a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evaluation {
    /// v_j = k·u_j.
    pub points: Vec<Point>,
    /// The batch proof, if the request wants one.
    pub proof: Option<Proof>,
}

impl RemoteKey {
    /// Multiplies every point of the request and proves it if asked to.
    pub fn evaluate(&self, request: &EvaluateRequest, rng: &mut dyn CryptoRng) -> Evaluation {
        secret::wiping(|| {
            let key = &self.scalar();
            let prover = Prover { key, public: self.public_key() };
            let transcript = Transcript::Skb1 { request: request.hash() };
            let nonce = |m: &Point, z: &Point| dleq::hedged_nonce(request.hash(), key, m, z, rng);
            evaluate_with(transcript, &prover, request.points(), request.proof_wanted().then_some(nonce))
        })
    }

    /// The same with a given transcript and nonce, for published vectors.
    #[cfg(test)]
    pub(crate) fn evaluate_fixed(
        &self,
        transcript: Transcript<'_>,
        us: &[Point],
        nonce: Scalar,
    ) -> Evaluation {
        let prover = Prover { key: &self.scalar(), public: self.public_key() };
        evaluate_with(transcript, &prover, us, Some(|_: &Point, _: &Point| nonce))
    }
}

fn evaluate_with(
    transcript: Transcript<'_>,
    prover: &Prover<'_>,
    us: &[Point],
    nonce: Option<impl FnOnce(&Point, &Point) -> Scalar>,
) -> Evaluation {
    let points = multiply(prover.key, us);
    let proof = nonce.map(|nonce| dleq::prove(transcript, prover, us, &points, nonce));
    Evaluation { points, proof }
}

/// k·u for every u, in constant time. Computed as 2·(k/2)·u: doubling makes the encodings cheap, because all
/// of them then share one field inversion.
pub(crate) fn multiply(key: &Scalar, points: &[Point]) -> Vec<Point> {
    let half = key.half();
    let halves: Vec<RistrettoPoint> = points.iter().map(|point| point.element() * half.element()).collect();
    Point::from_halves(&halves)
}

/// What a node's answer means.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Proven points, and a renewed lease (look at its standing).
    Evaluated(VerifiedEvaluation, VerifiedLease),
    /// No points, for a reason.
    Refused(Refusal),
}

/// Points that a node evaluated correctly: made by [`verify`] only.
#[derive(Clone, Debug)]
pub struct VerifiedEvaluation {
    pub(crate) node: u16,
    pub(crate) request_hash: RequestHash,
    pub(crate) points: Vec<Point>,
    pub(crate) quota_left: u32,
}

impl VerifiedEvaluation {
    /// Elements that the node says it still evaluates for this key. Its word only: no proof covers it.
    pub const fn quota_left(&self) -> u32 {
        self.quota_left
    }

    /// The node whose key they were made with, from 1.
    pub const fn node(&self) -> u16 {
        self.node
    }
}

/// Checks the answer frame of `node` to `request`, sent by `holder`.
pub fn verify(
    request: &EvaluateRequest,
    frame: &[u8],
    holder: &LeaseHolder,
    node: &ManifestNode,
) -> Result<Answer, EvaluateError> {
    let checked = EvaluateResponse::parse(frame)
        .map_err(Fault::Frame)
        .and_then(|response| check(request, response, holder, node));
    checked.map_err(|fault| EvaluateError { node: node.index, fault })
}

fn check(
    request: &EvaluateRequest,
    response: EvaluateResponse,
    holder: &LeaseHolder,
    node: &ManifestNode,
) -> Result<Answer, Fault> {
    if response.request_hash != *request.hash() {
        return Err(Fault::OtherRequest);
    }
    if response.node_index != node.index {
        return Err(Fault::OtherNode { found: response.node_index });
    }
    match response.outcome {
        EvaluateOutcome::Refused { status, lease } => {
            Ok(Answer::Refused(Refusal::believe(status, lease.as_ref(), holder, node)))
        }
        EvaluateOutcome::Done { points, proof, lease } => {
            if response.target != *request.target() {
                return Err(Fault::OtherTarget { found: response.target });
            }
            let points = check_points(request, points, proof.as_ref(), node)?;
            let evaluation = VerifiedEvaluation {
                node: node.index,
                request_hash: *request.hash(),
                points,
                quota_left: response.quota_left,
            };
            Ok(Answer::Evaluated(evaluation, lease.verify(holder, node)?))
        }
    }
}

fn check_points(
    request: &EvaluateRequest,
    points: Vec<Point>,
    proof: Option<&Proof>,
    node: &ManifestNode,
) -> Result<Vec<Point>, Fault> {
    if points.len() != request.points().len() {
        return Err(Fault::Count { found: points.len(), asked: request.points().len() });
    }
    let proof = proof.ok_or(Fault::NoProof)?;
    let transcript = Transcript::Skb1 { request: request.hash() };
    match dleq::verify(transcript, &node.public, request.points(), &points, proof) {
        true => Ok(points),
        false => Err(Fault::Proof),
    }
}
