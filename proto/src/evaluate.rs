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
use thiserror::Error;

use crate::dleq::{self, Proof, Prover, Transcript};
use crate::frame::{
    EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameError, RequestHash, Status, Target,
};
use crate::group::{Point, PublicKey, SCALAR_BYTES, Scalar, ScalarError};
use crate::lease::{Lease, LeaseError, LeaseHolder, Standing, VerifiedLease};
use crate::manifest::ManifestNode;
use crate::possession::{Possession, PossessionClaim};
use crate::secret::{self, Secret};

/// A remote key k, or a node's share k_i of one. It never leaves the process except sealed.
pub struct RemoteKey {
    secret: Secret<SCALAR_BYTES>,
    public: PublicKey,
}

/// What a node computed for a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evaluation {
    /// v_j = k·u_j.
    pub points: Vec<Point>,
    /// The batch proof, if the request wants one.
    pub proof: Option<Proof>,
}

impl RemoteKey {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let key = Self::generate_unwiped(rng);
        secret::wipe_stack();
        key
    }

    /// A key from sealed storage.
    pub fn from_secret(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let key = Self::with_public(secret);
        secret::wipe_stack();
        key
    }

    /// The canonical scalar, for sealed storage.
    pub const fn secret(&self) -> &Secret<SCALAR_BYTES> {
        &self.secret
    }

    /// y = k·G.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Multiplies every point of the request and proves it if asked to.
    pub fn evaluate(&self, request: &EvaluateRequest, rng: &mut dyn CryptoRng) -> Evaluation {
        let evaluation = self.with_scalar(|key| {
            let prover = Prover { key, public: &self.public };
            let transcript = Transcript::Skb1 { request: request.hash() };
            let nonce = |m: &Point, z: &Point| dleq::hedged_nonce(request.hash(), key, m, z, rng);
            evaluate_with(transcript, &prover, request.points(), request.proof_wanted().then_some(nonce))
        });
        secret::wipe_stack();
        evaluation
    }

    /// The same with a given transcript and nonce, for published vectors.
    #[cfg(test)]
    pub(crate) fn evaluate_fixed(
        &self,
        transcript: Transcript<'_>,
        us: &[Point],
        nonce: Scalar,
    ) -> Evaluation {
        self.with_scalar(|key| {
            evaluate_with(
                transcript,
                &Prover { key, public: &self.public },
                us,
                Some(|_: &Point, _: &Point| nonce),
            )
        })
    }

    /// Proves that this process holds the key, for enrolment.
    pub fn prove_possession(&self, claim: &PossessionClaim, rng: &mut dyn CryptoRng) -> Possession {
        let proof =
            self.with_scalar(|key| Possession::prove(claim, &Prover { key, public: &self.public }, rng));
        secret::wipe_stack();
        proof
    }

    #[inline(never)]
    fn generate_unwiped(rng: &mut dyn CryptoRng) -> Self {
        let scalar = Scalar::random(rng);
        let secret = Secret::filled_by(|out| out.copy_from_slice(scalar.element().as_bytes()));
        Self { secret, public: scalar.public_key() }
    }

    #[inline(never)]
    fn with_public(secret: Secret<SCALAR_BYTES>) -> Result<Self, ScalarError> {
        let public = Scalar::from_secret(&secret)?.public_key();
        Ok(Self { secret, public })
    }

    /// Lends the scalar to `work`, in a frame that the caller's wipe reaches.
    #[inline(never)]
    fn with_scalar<T>(&self, work: impl FnOnce(&Scalar) -> T) -> T {
        let key = Scalar::from_secret(&self.secret).expect("checked when the key was made");
        work(&key)
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

/// Something that only a faulty or lying node does.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("fragment service node {node}: {fault}")]
pub struct EvaluateError {
    /// The node that was asked, from 1.
    pub node: u16,
    /// What it did.
    pub fault: Fault,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Fault {
    /// The frame cannot be read; this includes identity and non-canonical points.
    #[error("unreadable answer: {0}")]
    Frame(#[from] FrameError),
    /// The answer is to another request: a replay.
    #[error("the answer is to another request")]
    OtherRequest,
    /// It says that it comes from another node.
    #[error("the answer says it is from node {found}")]
    OtherNode {
        /// The node it names.
        found: u16,
    },
    /// Evaluated under another key or epoch than asked.
    #[error("evaluated under another key or epoch than asked")]
    OtherTarget {
        /// What it names.
        found: Target,
    },
    /// More or fewer points than asked.
    #[error("{found} points in the answer to {asked}")]
    Count {
        /// Points in the answer.
        found: usize,
        /// Points in the request.
        asked: usize,
    },
    /// The proof is missing.
    #[error("the answer is not proven")]
    NoProof,
    /// The proof does not hold: a wrong key or exchanged points.
    #[error("the proof does not hold")]
    Proof,
    /// The lease is not to be believed.
    #[error("{0}")]
    Lease(#[from] LeaseError),
}

/// What a node's answer means.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Proven points, and a renewed lease (look at its standing).
    Evaluated(VerifiedEvaluation, VerifiedLease),
    /// No points, for a reason.
    Refused(Refusal),
}

/// Why a node gave no points. The variants with a lease are authenticated; the others are hints.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The key is suspended, signed.
    #[error("the remote key is suspended")]
    Suspended(VerifiedLease),
    /// The key is destroyed, signed.
    #[error("the remote key is destroyed")]
    Destroyed(VerifiedLease),
    /// A newer generation of this broker registered, signed.
    #[error("a newer generation of this broker is registered")]
    StaleGeneration(VerifiedLease),
    /// The node does not know the key.
    #[error("the node does not hold this key")]
    UnknownKey,
    /// The node has the key at another epoch.
    #[error("the node has another epoch of the key")]
    WrongKeyEpoch,
    /// The node has the shares at another epoch.
    #[error("the node has another epoch of the shares")]
    WrongShareEpoch,
    /// No quota left for now.
    #[error("the quota of the remote key is exhausted")]
    QuotaExhausted,
    /// The node could not read the request.
    #[error("the node could not read the request")]
    Malformed,
    /// Try later. Also what an unsigned suspension, destruction or fencing counts as.
    #[error("the node is busy")]
    Busy,
}

impl Refusal {
    /// Statuses 4, 5 and 8 count only with a lease that is signed and says the same; otherwise they are 9.
    pub(crate) fn believe(
        status: Status,
        lease: Option<&Lease>,
        holder: &LeaseHolder,
        node: &ManifestNode,
    ) -> Self {
        let lease = lease.and_then(|lease| lease.verify(holder, node).ok());
        match (status, lease, lease.map(|lease| lease.standing())) {
            (Status::Suspended, Some(lease), Some(Standing::Suspended)) => Self::Suspended(lease),
            (Status::Destroyed, Some(lease), Some(Standing::Destroyed)) => Self::Destroyed(lease),
            (Status::StaleGeneration, Some(lease), Some(Standing::Fenced)) => Self::StaleGeneration(lease),
            (Status::UnknownKey, ..) => Self::UnknownKey,
            (Status::WrongKeyEpoch, ..) => Self::WrongKeyEpoch,
            (Status::WrongShareEpoch, ..) => Self::WrongShareEpoch,
            (Status::QuotaExhausted, ..) => Self::QuotaExhausted,
            (Status::Malformed, ..) => Self::Malformed,
            _ => Self::Busy,
        }
    }
}

/// Points that a node evaluated correctly: made by [`verify`] only.
#[derive(Clone, Debug)]
pub struct VerifiedEvaluation {
    pub(crate) node: u16,
    pub(crate) request_hash: RequestHash,
    pub(crate) points: Vec<Point>,
}

impl VerifiedEvaluation {
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
            let evaluation = check_points(request, points, proof.as_ref(), node)?;
            Ok(Answer::Evaluated(evaluation, lease.verify(holder, node)?))
        }
    }
}

fn check_points(
    request: &EvaluateRequest,
    points: Vec<Point>,
    proof: Option<&Proof>,
    node: &ManifestNode,
) -> Result<VerifiedEvaluation, Fault> {
    if points.len() != request.points().len() {
        return Err(Fault::Count { found: points.len(), asked: request.points().len() });
    }
    let proof = proof.ok_or(Fault::NoProof)?;
    let transcript = Transcript::Skb1 { request: request.hash() };
    match dleq::verify(transcript, &node.public, request.points(), &points, proof) {
        true => Ok(VerifiedEvaluation { node: node.index, request_hash: *request.hash(), points }),
        false => Err(Fault::Proof),
    }
}
