//! The group ceremony, the broker's side: it relays between nodes that do not talk to each other, and is
//! trusted with nothing (`docs/skb1.md` 6.7 and 16.14).
//!
//! ```text
//! member.rs    one node as the ceremony sees it: its card, checked against the fingerprint in the
//!              configuration
//! meeting.rs   who takes part in a change, each met at its address
//! relay.rs     deal, verify, commit: a run carried from node to node; every dealing and signature is
//!              checked here, too
//! cosign.rs    one manifest, signed by every node with its own key
//! enrolment.rs the first group of a deployment
//! escrow.rs    shares sealed to the customer's escrow key
//! canary.rs    proof that new shares work, before old ones are given up
//! ```
//!
//! What happens to a group later, and is resumed after a crash, is stored state: `upkeep/group/`.

use symbolon_proto::card::CardError;
use symbolon_proto::dkg::{DkgError, DkgFault};
use symbolon_proto::fingerprint::{Fingerprint, FingerprintError};
use symbolon_proto::frame::Status;
use symbolon_proto::manifest::ManifestError;
use symbolon_proto::proposal::ProposalError;

use super::EvaluateError;
use super::wire::RemoteConfigError;

pub(crate) mod canary;

pub(crate) mod cosign;
mod enrolment;
pub(crate) mod escrow;
pub(crate) mod meeting;
pub(crate) mod member;

pub(crate) mod relay;

pub use enrolment::GroupEnroller;
pub(crate) use relay::Certified;

/// A root that is not the one that its operator read out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("root has the fingerprint {found}, and the configuration names {configured}")]
pub struct RootMismatch {
    /// The fingerprint of the root that answered.
    pub found: Fingerprint,
    /// The one that stands in the configuration.
    pub configured: Fingerprint,
}

/// Why a ceremony stopped. Nothing is lost: repeat it when who is named has acted.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// One node.
    #[error("fragment service {url}: {problem}")]
    Node {
        /// Which, by its address.
        url: String,
        /// What.
        problem: NodeProblem,
    },
    /// The configured nodes do not make a group.
    #[error("the [[remote.node]] tables do not make a group: {0}")]
    Proposal(#[from] ProposalError),
    /// A participant broke the protocol, as this broker saw it itself.
    #[error("{0}; treat that node as compromised until its operator explains")]
    Run(#[from] DkgError),
    /// The manifest that all signed is not one.
    #[error("the manifest that the nodes signed is not usable: {0}")]
    Manifest(#[from] ManifestError),
    /// New shares do not work together. The old ones still do.
    #[error("the canary under the new shares failed, the old shares stay in use: {0}")]
    Canary(EvaluateError),
    /// The key of one service has no shares.
    #[error(
        "this key is held by one service alone and has no shares that could be renewed; `operator rotate remote` makes a fresh key"
    )]
    NotAGroup,
    /// A service that makes keys alone cannot pass them on.
    #[error(
        "this key was made by one service alone and cannot be spread over several; make a deployment with [[remote.node]] tables and move the secrets"
    )]
    MadeAlone,
    /// Two epochs of the key are alive.
    #[error(
        "a rotation of the remote key is under way; finish it with `operator rotate remote` and retire the old epoch"
    )]
    Rotating,
    /// A change that was begun must be finished first.
    #[error("a {under_way} was begun and not finished; run it again before a {wanted}")]
    UnderWay {
        /// The change that was begun.
        under_way: &'static str,
        /// The change that was asked for.
        wanted: &'static str,
    },
    /// Those who leave could use the key.
    #[error(
        "{leaving} nodes would leave at once and could still use the key together, as {threshold} can; reshare in smaller steps, and have each node that left erase its share before the next"
    )]
    TooManyLeave {
        /// How many.
        leaving: usize,
        /// t of the old group.
        threshold: u16,
    },
    /// Not enough nodes of the old group can be reached.
    #[error("{found} of the old nodes can be reached, {threshold} are needed to pass the key on")]
    TooFewDealers {
        /// How many.
        found: usize,
        /// t.
        threshold: u16,
    },
    /// The store failed.
    #[error("the broker's store failed; the ceremony can be repeated")]
    Store,
}

/// What one node did or is.
#[derive(Debug, thiserror::Error)]
pub enum NodeProblem {
    /// The configured fingerprint is none.
    #[error("`fingerprint` must be the twelve groups that its operator read out: {0}")]
    Fingerprint(#[from] FingerprintError),
    /// The address or our identity.
    #[error(transparent)]
    Config(#[from] RemoteConfigError),
    /// No connection, or it broke.
    #[error("it cannot be reached; check that it runs, and the address and firewall between")]
    Unreachable,
    /// No answer in time.
    #[error("it gave no answer within the deadline; its operator should check it and the network between")]
    Silent,
    /// Somebody else answers.
    #[error("whoever answers does not hold the key of its card; check the address, or suspect the network")]
    Impostor,
    /// Too much to do.
    #[error("it is busy; retry in a minute")]
    Busy,
    /// It does not know this broker.
    #[error("it does not know this broker; its operator must approve the group")]
    NotEnrolled,
    /// No answer of this protocol.
    #[error("whatever answers is no fragment service of this version")]
    NotAService,
    /// Its card is none.
    #[error("{0}; treat it as compromised until its operator explains")]
    Card(#[from] CardError),
    /// Its root is another than was read out.
    #[error("its {0}; ask its operator, suspect the network")]
    OtherRoot(Box<RootMismatch>),
    /// Its card is not the one in the group.
    #[error(
        "its card is not the one that the group was made with; its operator must restore the node, or reshare without it"
    )]
    OtherCard,
    /// Its operator said no.
    #[error("its operator has declined this group")]
    Declined,
    /// Its operator has not said anything yet.
    #[error("its operator has not approved the group; run `symbolon fragment pending` and `approve` there")]
    NotApproved,
    /// It left, and its operator has not approved the group that followed.
    #[error(
        "it keeps its old share until its operator approves the group that followed; run `symbolon fragment pending` and `approve` there"
    )]
    KeepsShare,
    /// It left, and nobody knows where it is.
    #[error("its address is not known any more; its operator must destroy the key there")]
    NoAddress,
    /// A change before this one has not ended there.
    #[error(
        "an earlier change of this key has not ended there; if an older key epoch waits to be retired, two officers of that service must order it (`symbolon fragment status` there)"
    )]
    OtherChange,
    /// It does not do what was asked.
    #[error("it refuses with `{0:?}`; its operator's log says why")]
    Refused(Status),
    /// It says that somebody else broke the protocol.
    #[error(
        "it reports that participant {participant} of the ceremony broke the protocol ({fault}); ask both operators"
    )]
    Blames {
        /// Whom.
        participant: u16,
        /// Of what.
        fault: DkgFault,
    },
    /// An answer that does not fit the question.
    #[error("its answer does not fit the question; treat it as compromised until its operator explains")]
    OtherAnswer,
    /// It does not prove that it holds its share.
    #[error("it does not prove that it holds its share; treat it as compromised until its operator explains")]
    NoPossession,
}
