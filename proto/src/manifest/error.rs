//! What can be wrong with a manifest.

use thiserror::Error;

use crate::codec::DecodeError;
use crate::group::PointError;
use crate::key_state::KeyState;
use crate::signing::PublicKeyError;

/// Why a manifest is none, or is not accepted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ManifestError {
    /// Too short, too long.
    #[error("not a manifest: {0}")]
    Layout(#[from] DecodeError),
    /// It does not begin with its label.
    #[error("not a manifest")]
    Label,
    /// A format byte that this version does not know.
    #[error("manifest format {found}, this version reads 1")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// A suite that this version does not know.
    #[error("manifest suite {found}, this version knows 1")]
    Suite {
        /// The suite byte.
        found: u8,
    },
    /// A key state that this version does not know.
    #[error("unknown key state {found}")]
    State {
        /// The state byte.
        found: u8,
    },
    /// Not 1 ≤ t ≤ n ≤ 16.
    #[error("threshold {threshold} of {nodes} nodes")]
    Threshold {
        /// t.
        threshold: u16,
        /// n.
        nodes: u16,
    },
    /// y, a commitment or a y_i is not a usable point.
    #[error("a public key of the manifest is {0}")]
    Point(#[from] PointError),
    /// A node's signing key is not an Ed25519 public key.
    #[error(transparent)]
    SigningKey(#[from] PublicKeyError),
    /// Node indices are not 1 … 65535, ascending.
    #[error("node index {found} is zero, repeated or out of order")]
    NodeIndex {
        /// The index.
        found: u16,
    },
    /// A node's y_i does not lie on the committed polynomial.
    #[error("the public key of node {node} does not fit the commitments")]
    Share {
        /// The node.
        node: u16,
    },
    /// For another deployment.
    #[error("a manifest of another deployment")]
    OtherDeployment,
    /// For another key.
    #[error("a manifest of another key")]
    OtherKey,
    /// The service root did not sign it.
    #[error("the service root's signature does not verify")]
    RootSignature,
    /// A node did not sign it.
    #[error("the signature of node {node} does not verify")]
    NodeSignature {
        /// The node.
        node: u16,
    },
    /// Valid for no time, or for more than 30 days.
    #[error("the manifest's validity is empty or longer than 30 days")]
    Validity,
    /// Leases or grace longer than 24 hours.
    #[error("leases or grace longer than 24 hours")]
    Lease,
    /// Not valid yet.
    #[error("the manifest is not valid yet")]
    NotYet,
    /// Not valid any more.
    #[error("the manifest has expired")]
    Expired,
    /// Older than the accepted one: a rollback.
    #[error("manifest {found} is older than the accepted one, {accepted}")]
    Older {
        /// Its number.
        found: u64,
        /// The number of the accepted one.
        accepted: u64,
    },
    /// Manifests in between are missing; fetch the chain.
    #[error("manifest {found} does not follow the accepted one, {accepted}")]
    Gap {
        /// Its number.
        found: u64,
        /// The number of the accepted one.
        accepted: u64,
    },
    /// It has the right number but another history: two chains exist.
    #[error("the manifest continues another chain")]
    Fork,
    /// The public key changed without a new key epoch, or the epoch went back.
    #[error("the public key changed without a new key epoch")]
    KeyChanged,
    /// The shares are of an earlier epoch than the accepted ones.
    #[error("share epoch {found} is older than the accepted one, {accepted}")]
    OlderShares {
        /// Its share epoch.
        found: u32,
        /// The accepted one.
        accepted: u32,
    },
    /// The nodes or their shares changed without a new share epoch.
    #[error("the nodes or their shares changed without a new share epoch")]
    NodesChanged,
    /// The key's state forbids new capsules.
    #[error("the remote key is {0:?}")]
    NotActive(KeyState),
}
