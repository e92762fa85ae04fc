//! Enrolment, the broker's side: ask, wait until two operators have compared fingerprints, believe what is
//! proven.
//!
//! ```text
//! broker's operator  ── reads out the broker's fingerprint ──▶ service's operator, who approves it
//! broker's operator ◀── reads out the root's fingerprint ───── service's operator;
//!                       it stands in the configuration
//! ```
//!
//! Its fingerprint is compared before anybody is asked to approve anything: the service shows its card to
//! strangers, and a broker that was told of another root leaves no trace there.
//!
//! The answer is believed if the root key has the expected fingerprint, root and node signed the manifest,
//! the service proves that it holds the key in it, and the connection was made with the TLS key that the
//! manifest names.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_core::Rng;
use symbolon_proto::fingerprint::{Fingerprint, FingerprintError};
use symbolon_proto::frame::{EnrolAnswer, EnrolRequest, Enrolment, FrameError, request_hash};
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::manifest::{ManifestError, ManifestNode, VerifiedManifest};
use symbolon_proto::possession::{Possession, PossessionClaim};
use symbolon_proto::signing::SigningPublicKey;
use tokio::time::timeout;
use tracing::warn;

use super::enrolled::Enrolled;
use super::group::member::GroupMember;
use super::group::{GroupError, NodeProblem, RootMismatch};
use super::identity::BrokerIdentity;
use super::tls::{ClientKey, Pin, SpkiHash};
use super::wire::{RemoteConfigError, Wire, WireError};
use crate::config;
use crate::error::{OpError, Text};
use crate::random::os_rng;

/// The node of a manifest that has one. With several, one node's answer would not be the key's.
pub(crate) fn only_node(manifest: &VerifiedManifest) -> Result<ManifestNode, EnrolError> {
    match manifest.manifest().nodes.as_slice() {
        [node] => Ok(*node),
        nodes => Err(EnrolError::Nodes { nodes: nodes.len() }),
    }
}

/// How an enrolment stands.
#[derive(Clone, Debug)]
pub enum EnrolOutcome {
    /// The service's operator has not approved yet.
    Pending,
    /// Approved and verified.
    Enrolled(Box<Enrolled>),
}

/// Why an enrolment failed.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The configured fingerprint is none.
    #[error("`remote.fingerprint` must be the twelve groups that the service's operator read out: {0}")]
    Fingerprint(#[from] FingerprintError),
    /// The ceremony of several services.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The address or the identity.
    #[error(transparent)]
    Config(#[from] RemoteConfigError),
    /// No connection, or it broke.
    #[error(
        "the fragment service cannot be reached; check that it runs, and the address and firewall between"
    )]
    Unreachable,
    /// No answer in time.
    #[error("the fragment service gave no answer within {deadline_ms} ms")]
    Silent {
        /// How long was waited.
        deadline_ms: u64,
    },
    /// Too many strangers at once, or too much work.
    #[error("the fragment service is busy; retry in a minute")]
    Busy,
    /// Not an answer of this protocol.
    #[error("whatever answers at this address is no fragment service of this version")]
    NotAService,
    /// An answer that cannot be read.
    #[error("the answer to the enrolment cannot be read: {0}")]
    Frame(FrameError),
    /// An answer to somebody else's question.
    #[error("the answer belongs to another question; suspect the network")]
    OtherRequest,
    /// The service said no.
    #[error("the fragment service knows this broker's key under another name, and refuses; ask its operator")]
    Refused,
    /// Not the root that the operators agreed on.
    #[error(
        "the service's {0}; nobody there was asked to approve anything. Ask its operator for `symbolon fragment fingerprint`, over a channel you trust: a mistyped one is put right in the configuration, anything else is an attack until its operator explains"
    )]
    OtherRoot(Box<RootMismatch>),
    /// The manifest is not to be believed.
    #[error("the manifest of the fragment service is refused: {0}")]
    Manifest(ManifestError),
    /// Several nodes: a later version.
    #[error("this version works with one fragment service node, the manifest has {nodes}")]
    Nodes {
        /// Nodes in the manifest.
        nodes: usize,
    },
    /// The service does not hold the key it shows.
    #[error("the fragment service does not prove that it holds the key in its manifest")]
    NoPossession,
    /// Manifest and connection disagree.
    #[error("the manifest names another TLS key than the connection has; somebody stands in between")]
    OtherConnection,
}

/// Asks a service for enrolment.
pub struct Enroller {
    node: config::RemoteNode,
    client: ClientKey,
    /// Whether the root was compared; once is enough, because the manifest's is compared as well.
    is_compared: AtomicBool,
    wire: Wire,
    deadline: Duration,
    seen: Arc<Mutex<Option<SpkiHash>>>,
    root: Fingerprint,
    signing_key: SigningPublicKey,
    deployment: DeploymentId,
    broker: BrokerId,
}

impl Enroller {
    /// `node.fingerprint` is what the service's operator read out.
    pub fn new(
        node: &config::RemoteNode,
        deadline_ms: u64,
        identity: &BrokerIdentity,
        deployment: DeploymentId,
        broker: BrokerId,
    ) -> Result<Self, EnrolError> {
        let seen = Arc::default();
        let client = ClientKey::new(identity).map_err(|_| RemoteConfigError::Tls)?;
        Ok(Self {
            node: node.clone(),
            wire: Wire::new(&node.url, &client, Pin::Noted(Arc::clone(&seen)))?,
            client,
            is_compared: AtomicBool::new(false),
            deadline: Duration::from_millis(deadline_ms),
            seen,
            root: node.fingerprint.parse()?,
            signing_key: identity.sign_key(),
            deployment,
            broker,
        })
    }

    /// Asks once. Ask again while it is pending; the service forgets who does not ask for a day.
    pub async fn enrol(&self) -> Result<EnrolOutcome, EnrolError> {
        self.compare().await?;
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        let asked = timeout(self.deadline, self.exchange()).await;
        match asked.map_err(|_| EnrolError::Silent { deadline_ms })?? {
            Enrolment::Pending => Ok(EnrolOutcome::Pending),
            Enrolment::Refused => Err(EnrolError::Refused),
            Enrolment::Enrolled { root_key, possession, manifest } => {
                let enrolled = self.verify(root_key, &possession, &manifest)?;
                Ok(EnrolOutcome::Enrolled(Box::new(enrolled)))
            }
        }
    }

    /// Compares the root with the one that was read out. Only that is decided here: what else is wrong shows
    /// when the service is asked, and one that has no card to show is of an earlier version.
    async fn compare(&self) -> Result<(), EnrolError> {
        if self.is_compared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let met = GroupMember::meet(&self.node, &self.client, None, self.deadline).await;
        match met {
            Err(GroupError::Node { problem: NodeProblem::OtherRoot(roots), .. }) => {
                return Err(EnrolError::OtherRoot(roots));
            }
            Err(error) => warn!(%error, "the fragment service's root could not be compared before asking it"),
            Ok(_) => {}
        }
        self.is_compared.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn exchange(&self) -> Result<Enrolment, EnrolError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut nonce = [0; 32];
        os_rng().fill_bytes(&mut nonce);
        let (deployment, broker, signing_key) = (self.deployment, self.broker, self.signing_key);
        let frame = EnrolRequest { deployment, broker, signing_key, nonce }.to_bytes();
        let sender = self.wire.connect().await.map_err(failed)?;
        let answer = self.wire.exchange(&sender, frame.clone()).await.map_err(failed)?;
        let answer = EnrolAnswer::parse(&answer).map_err(EnrolError::Frame)?;
        if answer.request_hash == request_hash(&frame) {
            Ok(answer.enrolment)
        } else {
            Err(EnrolError::OtherRequest)
        }
    }

    fn verify(
        &self,
        root: SigningPublicKey,
        possession: &Possession,
        manifest: &[u8],
    ) -> Result<Enrolled, EnrolError> {
        let found = Fingerprint::of(root.as_bytes());
        if found != self.root {
            return Err(EnrolError::OtherRoot(Box::new(RootMismatch { found, configured: self.root })));
        }
        // Whether its time has come is asked at each use, by whoever has a clock.
        let manifest =
            VerifiedManifest::first(manifest, &root, &self.deployment).map_err(EnrolError::Manifest)?;
        let node = only_node(&manifest)?;
        let fields = manifest.manifest();
        let claim =
            PossessionClaim { deployment: self.deployment, key: fields.key, key_epoch: fields.key_epoch };
        if !possession.verifies(&claim, &fields.public) {
            return Err(EnrolError::NoPossession);
        }
        if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != Some(node.spki_sha256) {
            return Err(EnrolError::OtherConnection);
        }
        Ok(Enrolled::alone(root, manifest))
    }
}

fn failed(error: WireError) -> EnrolError {
    match error {
        WireError::Unreachable | WireError::Impostor => EnrolError::Unreachable,
        WireError::Busy => EnrolError::Busy,
        WireError::NotEnrolled | WireError::NoFrame => EnrolError::NotAService,
    }
}

impl From<EnrolError> for OpError {
    fn from(error: EnrolError) -> Self {
        Self::Unavailable(Text::of(&error))
    }
}
