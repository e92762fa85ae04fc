//! The other half of every key: asking it, believing it, and how long.
//!
//! ```text
//! enrol.rs   once: two operators compare fingerprints, a verified manifest comes back
//! nodes.rs   all nodes together: the manifest chain and a hello at unseal, heartbeats
//! quorum.rs  an evaluation by t of n nodes: the quickest first, the others soon after
//! node.rs    one node: mutual TLS, deadline, proof
//! shared.rs  what the nodes have in common: who asks, under which manifests
//! chain.rs   the manifests still needed: the newest, and the last of each older key epoch
//! group/     making, refreshing and passing on a key among nodes that do not talk to each other
//! quota.rs   what is left of the evaluations that they allow
//! evaluations.rs what a node's answers came to, for monitoring
//! leases.rs  until when cached keys may be used, and the signal to wipe them
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{EncapsulationKey, SharedSecret};
use symbolon_proto::frame::Target;
use symbolon_proto::id::KeyId;

mod chain;
pub mod enrol;
pub(crate) mod enrolled;
mod error;
mod evaluations;
pub mod group;
pub mod identity;
mod latency;
pub mod leases;
mod node;
pub(crate) mod nodes;
mod problem;
mod progress;
mod quorum;
mod quota;
mod shared;
pub(crate) mod tls;
mod told;
pub(crate) mod wire;

pub use enrol::{EnrolError, EnrolOutcome, Enroller};
pub use enrolled::{Enrolled, Member};
pub use error::{EvaluateError, NodeFailure};
pub use evaluations::Evaluations;
pub use identity::{BrokerIdentity, IdentityError};
pub use leases::{LeaseState, Leases, NodeLease};
pub use nodes::{NodeReport, Remote};
pub use problem::FragmentProblem;
pub use progress::Progress;
pub use quota::Quota;
pub use tls::SpkiHash;
pub use wire::RemoteConfigError;
pub use wire::check_url;

/// What an evaluation gives: one secret per capsule, in the order they were blinded.
pub type Evaluated<'a> = Pin<Box<dyn Future<Output = Result<Vec<SharedSecret>, EvaluateError>> + Send + 'a>>;

/// The remote half of a key: one service, or t of n of them.
pub trait Evaluator: Send + Sync + 'static {
    /// The key.
    fn key_id(&self) -> KeyId;

    /// Key epochs that can be evaluated, oldest first; the last is the one that new capsules are made for.
    fn key_epochs(&self) -> Vec<u32>;

    /// Whether the last of these is known to be the newest there is: asked of the services since the unseal.
    /// Until then no new capsule is closed, and one of an unknown epoch is no damage.
    fn knows_newest(&self) -> Result<(), EvaluateError> {
        Ok(())
    }

    /// What to blind for, for capsules of `key_epoch`.
    fn target(&self, key_epoch: u32) -> Result<Target, EvaluateError>;

    /// What new capsules are made for: the newest epoch, only while its manifest is valid and active. Works
    /// offline.
    fn encapsulation_key(&self) -> Result<EncapsulationKey, EvaluateError>;

    /// Has blinded capsules of one key epoch evaluated, proven and unblinded. Ends within the deadline,
    /// whatever the remote does.
    fn evaluate(&self, blinded: Blinded) -> Evaluated<'_>;

    /// What may be evaluated, and what is left of it; `None` where nobody counts.
    fn quota(&self) -> Option<Quota> {
        None
    }

    /// What the evaluations of each node came to.
    fn evaluations(&self) -> Vec<Arc<Evaluations>> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
