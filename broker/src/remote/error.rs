//! Why an evaluation failed, who must act, and how.

use symbolon_proto::evaluate::{EvaluateError as Misbehaviour, Refusal};
use symbolon_proto::manifest::ManifestError;

use super::FragmentProblem;

/// Why the remote half is unavailable. The texts are for the broker's operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// Connected or not, no answer came in time.
    #[error(
        "fragment service node {node} gave no answer within {deadline_ms} ms; its operator should check it and the network between"
    )]
    Silent {
        /// The node that was asked.
        node: u16,
        /// How long was waited.
        deadline_ms: u64,
    },
    /// No connection, or one that broke.
    #[error(
        "fragment service node {node} cannot be reached; check that it runs, and the address and firewall between"
    )]
    Unreachable {
        /// The node that was asked.
        node: u16,
    },
    /// Whoever answers at its address does not hold the key of its manifest.
    #[error(
        "whoever answers at the address of fragment service node {node} is somebody else; check the address, or suspect the network"
    )]
    Impostor {
        /// The node that was asked.
        node: u16,
    },
    /// Something that only a faulty or hostile node does.
    #[error("{0}; treat this node as compromised until its operator explains")]
    Lied(Misbehaviour),
    /// An answer that is not even a frame.
    #[error(
        "whatever answers at the address of fragment service node {node} does not speak this protocol; check address and version"
    )]
    NoFrame {
        /// The node that was asked.
        node: u16,
    },
    /// The manifest has run out, or the next one does not continue the chain.
    #[error(
        "the manifest of fragment service node {node} is not usable: {error}; ask its operator, new keys are refused until then"
    )]
    Manifest {
        /// The node it came from.
        node: u16,
        /// What is wrong with it.
        error: ManifestError,
    },
    /// The manifest names nodes that this broker was not told of.
    #[error(
        "the newest manifest names {nodes} nodes, not those that this broker was enrolled with; compare [remote] of the configuration with the services' operators"
    )]
    Nodes {
        /// Nodes in the manifest.
        nodes: usize,
    },
    /// A node that the manifest asked for does not name.
    #[error("the manifest of this key does not name this node; it holds no share of it")]
    NotAMember,
    /// Fewer than t nodes answered as they should. The others are named, each with its reason.
    #[error("{answered} of the {threshold} answers needed{}", listed(.failures))]
    TooFew {
        /// t.
        threshold: u16,
        /// Good answers.
        answered: usize,
        /// Who failed, and why.
        failures: Vec<NodeFailure>,
    },
    /// A capsule of a key epoch whose manifest is not kept: retired, or from elsewhere.
    #[error(
        "no manifest of key epoch {key_epoch} is kept; the capsule is of a retired epoch, or its header is damaged"
    )]
    KeyEpoch {
        /// The epoch asked for.
        key_epoch: u32,
    },
    /// Suspended, under the node's signature.
    #[error("the fragment service has suspended this key; its operator must run `symbolon fragment resume`")]
    Suspended,
    /// Destroyed, under the node's signature.
    #[error(
        "the fragment service has destroyed this key; what it protects is lost, ask the operator for the destroy certificate"
    )]
    Destroyed,
    /// The allowance is spent.
    #[error(
        "the evaluation quota is spent; wait until it refills, or ask the operator of the fragment service to raise it"
    )]
    QuotaExhausted,
    /// Another broker with this identity has unsealed since, under the node's signature.
    #[error(
        "a newer generation of this broker has registered: this is a clone or a restored snapshot; seal it, or unseal again if it is the real one"
    )]
    StaleGeneration,
    /// The manifest is older or newer than the key.
    #[error("the fragment service holds this key at another epoch; fetch its manifest, then retry")]
    WrongEpoch,
    /// The key is not this broker's there.
    #[error(
        "the fragment service does not hold this key for this broker; check with its operator which broker was approved"
    )]
    UnknownKey,
    /// The service does not know this broker.
    #[error(
        "the fragment service does not know this broker; its operator must approve it by its fingerprint"
    )]
    NotEnrolled,
    /// Later, perhaps. Unsigned, so it changes nothing.
    #[error("the fragment service is busy; retry in a second")]
    Busy,
    /// No hello yet: the anchor and the manifest chain come first.
    #[error(
        "the fragment service has not been reached since the unseal; the next heartbeat checks the anchor, follows the manifests and registers this broker"
    )]
    NotRegistered,
    /// Ours is not the newest manifest, and no way leads there.
    #[error(
        "the fragment service has newer manifests, which do not continue the one in this store; finish the change of the services that is under way, or restore the newest backup; new keys are refused until then"
    )]
    Overtaken,
    /// The two clocks are more than five minutes apart, so its leases say nothing.
    #[error(
        "the clocks of broker and fragment service differ by more than five minutes, or ours was set back; correct the clock, keys stay closed until then"
    )]
    Clock,
}

/// A node that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// Its index in the manifest, 0 if it is in none.
    pub node: u16,
    /// What happened. Its text says who must act.
    pub error: EvaluateError,
}

fn listed(failures: &[NodeFailure]) -> String {
    failures.iter().map(|failure| format!("; node {}: {}", failure.node, failure.error)).collect()
}

/// What most of the failed nodes have in common; of equals the one that wants an operator most.
fn commonest(failures: &[NodeFailure]) -> FragmentProblem {
    use FragmentProblem::{LeaseEnded, Lied, Quota, Refused, Silent, Suspended};
    let problems: Vec<_> = failures.iter().map(|failure| failure.error.problem()).collect();
    let count = |problem: &FragmentProblem| problems.iter().filter(|other| *other == problem).count();
    // The last of several equals wins.
    let by_weight = [Silent, LeaseEnded, Lied, Refused, Quota, Suspended];
    by_weight.into_iter().max_by_key(count).filter(|problem| count(problem) > 0).unwrap_or(Silent)
}

impl EvaluateError {
    /// Whether no t nodes are left that may hold this key for this broker.
    #[must_use]
    pub fn denies_key(&self) -> bool {
        match self {
            Self::UnknownKey | Self::NotEnrolled | Self::Destroyed => true,
            Self::TooFew { threshold, answered, failures } => {
                let others = failures.iter().filter(|failure| !failure.error.denies_key()).count();
                answered + others < usize::from(*threshold)
            }
            _ => false,
        }
    }

    /// The same for callers who may not know more.
    #[must_use]
    pub fn problem(&self) -> FragmentProblem {
        match self {
            Self::Silent { .. } | Self::Unreachable { .. } | Self::Busy | Self::NotRegistered => {
                FragmentProblem::Silent
            }
            Self::Impostor { .. } | Self::Lied(_) | Self::NoFrame { .. } => FragmentProblem::Lied,
            Self::Suspended => FragmentProblem::Suspended,
            Self::QuotaExhausted => FragmentProblem::Quota,
            Self::Destroyed
            | Self::Manifest { .. }
            | Self::Nodes { .. }
            | Self::NotAMember
            | Self::KeyEpoch { .. }
            | Self::StaleGeneration
            | Self::Overtaken
            | Self::WrongEpoch
            | Self::UnknownKey
            | Self::NotEnrolled => FragmentProblem::Refused,
            Self::Clock => FragmentProblem::LeaseEnded,
            Self::TooFew { failures, .. } => commonest(failures),
        }
    }
}

impl From<Refusal> for EvaluateError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Suspended(_) => Self::Suspended,
            Refusal::Destroyed(_) => Self::Destroyed,
            Refusal::StaleGeneration(_) => Self::StaleGeneration,
            Refusal::UnknownKey => Self::UnknownKey,
            Refusal::WrongKeyEpoch | Refusal::WrongShareEpoch => Self::WrongEpoch,
            Refusal::QuotaExhausted => Self::QuotaExhausted,
            Refusal::Malformed | Refusal::Busy => Self::Busy,
        }
    }
}
