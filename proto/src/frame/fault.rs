//! What is wrong with an answer, and what an answer without a result means. Nothing here is an accusation by
//! itself: what has consequences carries the signed lease that says so.

use thiserror::Error;

use super::{FrameError, Status, Target};
use crate::lease::{Lease, LeaseError, LeaseHolder, Standing, VerifiedLease};
use crate::manifest::ManifestNode;

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
