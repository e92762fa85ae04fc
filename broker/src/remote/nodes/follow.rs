//! Whether our newest manifest is the newest, which the nodes are asked before the first hello of an unseal.
//!
//! What the store says of the remote is only where the chain is taken up. Two rows that somebody put back to
//! older values of their own, which the anchor does not notice, would otherwise bring an old key epoch into
//! use for new capsules.
//!
//! ```text
//! every node: what follows ours? ─┬─ t say nothing ──────────────▶ newest: capsules are opened and closed
//!                                 ├─ a manifest that continues ──▶ accepted, and all are asked again
//!                                 ├─ t answer, but not that ─────▶ overtaken: opened, none is closed
//!                                 └─ fewer answer ───────────────▶ no hello: neither
//! ```
//!
//! Fewer than t hostile nodes can hold nothing back: one of t is honest. Overtaken is a broker whose chain
//! ends too long ago for the services to remember what follows, or that stopped in the middle of a change of
//! the group, which the heartbeats then finish. It reads what it has, as long as the services answer for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use symbolon_proto::evaluate::Fault;
use symbolon_proto::frame::{ManifestAnswer, ManifestRequest, Status, request_hash};
use symbolon_proto::id::RequestId;
use symbolon_proto::manifest::{Manifest, ManifestError};
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::{EvaluateError, Node, NodeFailure, Remote};
use crate::random::os_rng;

/// Requests for the chain in one go; services keep fewer manifests than the answers can carry.
const CHAIN_REQUESTS_MAX: usize = 16;

const OVERTAKEN: u8 = 1;
const NEWEST: u8 = 2;

/// What is known of our newest manifest, 0 for nothing yet. It only rises: a node that contradicts later
/// changes nothing.
#[derive(Debug, Default)]
pub(super) struct Standing(AtomicU8);

impl Standing {
    fn rise(&self, to: u8) {
        self.0.fetch_max(to, Ordering::AcqRel);
    }

    fn is(&self, what: u8) -> bool {
        self.0.load(Ordering::Acquire) == what
    }
}

/// What a round of questions came to.
enum Round {
    Newest,
    Continued,
}

impl Remote {
    /// Whether t nodes have said since the unseal that no manifest follows ours.
    pub(crate) fn is_newest(&self) -> bool {
        self.standing.is(NEWEST)
    }

    /// Fetches manifests that follow ours, and accepts each that continues the chain, until t nodes know
    /// none.
    pub async fn refresh_manifest(&self) -> Result<(), EvaluateError> {
        for _ in 0..CHAIN_REQUESTS_MAX {
            if let Round::Newest = self.ask_for_newer().await? {
                self.standing.rise(NEWEST);
                return Ok(());
            }
        }
        Err(EvaluateError::Overtaken)
    }

    /// The same, unless it has succeeded since the unseal. A broker that was overtaken may register.
    pub(super) async fn follow_once(&self) -> Result<(), EvaluateError> {
        if self.is_newest() {
            return Ok(());
        }
        let stored = self.manifest().manifest().key_epoch;
        let followed = self.refresh_manifest().await;
        tell_of_rotation(stored, self.manifest().manifest().key_epoch);
        match followed {
            Err(reason) if self.standing.is(OVERTAKEN) => {
                error!(%reason, "the manifests of this store cannot be followed to the newest one; what is stored can be read, new keys are refused");
                Ok(())
            }
            followed => followed,
        }
    }

    /// Asks every node once, and waits no longer than for t of them.
    async fn ask_for_newer(&self) -> Result<Round, EvaluateError> {
        let (manifest, mut asking) = (self.manifest(), JoinSet::new());
        let (key, after_seq) = (manifest.manifest().key, manifest.manifest().seq);
        for node in self.nodes().iter() {
            let node = Arc::clone(node);
            asking.spawn(async move {
                let request = ManifestRequest { key, after_seq, nonce: RequestId::random(&mut os_rng()) };
                (node.index(), node.manifests(request).await)
            });
        }
        let threshold = manifest.manifest().threshold();
        let (mut newest, mut failures) = (0, Vec::new());
        while let Some(answer) = asking.join_next().await {
            let Ok((node, answer)) = answer else { continue };
            match answer.and_then(|newer| self.accept_all(node, &newer)) {
                Ok(Round::Continued) => return Ok(Round::Continued),
                Ok(Round::Newest) => newest += 1,
                Err(error) => failures.push(NodeFailure { node, error }),
            }
            if newest >= usize::from(threshold) {
                return Ok(Round::Newest);
            }
        }
        let differ = failures.iter().filter(|failure| is_another_chain(&failure.error)).count();
        if newest + differ >= usize::from(threshold) {
            self.standing.rise(OVERTAKEN);
        }
        Err(too_few(threshold, newest, failures))
    }

    fn accept_all(&self, node: u16, newer: &[Vec<u8>]) -> Result<Round, EvaluateError> {
        newer.iter().try_for_each(|bytes| self.accept_manifest(node, bytes))?;
        Ok(if newer.is_empty() { Round::Newest } else { Round::Continued })
    }

    /// Takes the next manifest of the chain into use: new capsules, leases and pins follow it.
    fn accept_manifest(&self, node: u16, bytes: &[u8]) -> Result<(), EvaluateError> {
        let nodes = self.nodes();
        let mut chain = self.common.chain_mut();
        let mut next = chain.clone();
        next.accept(bytes).map_err(|error| EvaluateError::Manifest { node, error })?;
        let manifest = Arc::clone(next.newest());
        let named = &manifest.manifest().nodes;
        if named.iter().any(|seat| nodes.iter().all(|node| node.id() != seat.node)) {
            return Err(EvaluateError::Nodes { nodes: named.len() });
        }
        if !same_group(chain.newest().manifest(), manifest.manifest()) {
            return Err(EvaluateError::Manifest { node, error: ManifestError::NodesChanged });
        }
        *chain = next;
        drop(chain);
        self.common.leases.govern(manifest.manifest());
        for node in nodes.iter() {
            named.iter().filter(|seat| seat.node == node.id()).for_each(|seat| node.repin(seat.spki_sha256));
        }
        Ok(())
    }
}

impl Node {
    /// The manifests that follow one, oldest first; nobody has checked them.
    async fn manifests(&self, request: ManifestRequest) -> Result<Vec<Vec<u8>>, EvaluateError> {
        let frame = request.to_bytes();
        let answer = self.ask_or_whisper(frame.clone()).await?;
        let answer = ManifestAnswer::parse(&answer).map_err(|error| self.lied(Fault::Frame(error)))?;
        if answer.request_hash != request_hash(&frame) {
            return Err(self.lied(Fault::OtherRequest));
        }
        match answer.status {
            Status::Ok => Ok(answer.manifests),
            _ => Err(EvaluateError::UnknownKey),
        }
    }
}

/// What a node hands out may continue the chain, not change who holds the key: a manifest's signatures are
/// those of the nodes that it names itself, so the lead alone could make one that names nobody else. A group
/// changes only through a ceremony that this broker relayed.
fn same_group(held: &Manifest, next: &Manifest) -> bool {
    let members = |manifest: &Manifest| -> Vec<_> {
        manifest.nodes.iter().map(|seat| (seat.index, seat.node, seat.signing)).collect()
    };
    held.threshold() == next.threshold() && members(held) == members(next)
}

/// An answer with manifests that do not continue ours.
const fn is_another_chain(error: &EvaluateError) -> bool {
    matches!(error, EvaluateError::Manifest { .. } | EvaluateError::Nodes { .. })
}

fn too_few(threshold: u16, answered: usize, mut failures: Vec<NodeFailure>) -> EvaluateError {
    match (threshold, failures.len(), failures.pop()) {
        (1, 1, Some(only)) if answered == 0 => only.error,
        (.., last) => {
            failures.extend(last);
            EvaluateError::TooFew { threshold, answered, failures }
        }
    }
}

/// Key epochs are made by this broker and stored when they are made.
fn tell_of_rotation(known: u32, found: u32) {
    if found > known {
        warn!(
            known,
            found,
            "the key was rotated to an epoch that the store does not know: this broker stopped in the middle of it, or somebody put rows of the store back; if nobody rotated, look at who writes to its disk"
        );
    }
}
