//! One node of the remote, as the broker asks it.
//!
//! ```text
//! question ─ connection (hello first on a new one) ─ frame ─ answer
//!            └─────────────────── one deadline ───────────────────┘
//!          ─ verified against its manifest ─ lease accepted
//! ```
//!
//! Every answer is proven or signed before it has an effect; whoever lies is named. A connection that breaks
//! under a question is replaced once; a node that says nothing costs the deadline and no more.

mod anchor;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use symbolon_core::clock::Now;
use symbolon_proto::evaluate::{
    self, Answer, EvaluateError as Misbehaviour, Fault, Refusal, VerifiedEvaluation,
};
use symbolon_proto::frame::{EvaluateRequest, Heartbeat, Hello, Presence};
use symbolon_proto::id::{NodeId, RequestId};
use symbolon_proto::lease::{LeaseHolder, VerifiedLease};
use symbolon_proto::manifest::ManifestNode;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::error;

use super::EvaluateError;
use super::evaluations::Evaluations;
use super::latency::Latency;
use super::leases::LeaseState;
use super::quota::Said;
use super::shared::Common;
use super::tls::{ClientKey, Pin, Pinned, SpkiHash};
use super::wire::{RemoteConfigError, Sender, Wire, WireError};
use crate::random::os_rng;

/// A node, its connection and its record.
pub(crate) struct Node {
    id: NodeId,
    url: String,
    wire: Wire,
    pin: Pinned,
    /// The open connection, and the TLS key it was made with.
    link: Mutex<Option<(Sender, SpkiHash)>>,
    latency: Latency,
    evaluations: Arc<Evaluations>,
    incidents: AtomicU64,
    /// What it has said of the quota.
    quota: Said,
    /// Counter of the newest anchor that it is known to hold.
    anchored: AtomicU64,
    common: Arc<Common>,
}

/// What a checked answer to an evaluation comes to.
pub(crate) enum Judged {
    Evaluated(VerifiedEvaluation, VerifiedLease),
    Refused(Refusal),
}

/// A question for points and by what its answer is judged, all taken before it is asked: an answer is judged
/// by what was asked, not by what we have become meanwhile.
pub(crate) struct Question {
    pub(crate) holder: LeaseHolder,
    pub(crate) seat: ManifestNode,
    pub(crate) asked: Now,
}

impl Question {
    /// Checks the answer. Takes milliseconds for a full batch.
    pub(crate) fn judge(&self, request: &EvaluateRequest, frame: &[u8]) -> Result<Judged, EvaluateError> {
        match evaluate::verify(request, frame, &self.holder, &self.seat).map_err(EvaluateError::Lied)? {
            Answer::Refused(refusal) => Ok(Judged::Refused(refusal)),
            Answer::Evaluated(evaluation, lease) => Ok(Judged::Evaluated(evaluation, lease)),
        }
    }
}

impl Node {
    pub(crate) fn new(
        url: &str,
        id: NodeId,
        spki: SpkiHash,
        client: &ClientKey,
        common: Arc<Common>,
        place: usize,
    ) -> Result<Arc<Self>, RemoteConfigError> {
        let pin = Pinned::new(spki);
        let wire = Wire::new(url, client, Pin::Exactly(pin.clone()))?;
        let (link, latency, incidents, quota, anchored) = Default::default();
        let (url, evaluations) = (url.to_owned(), Arc::new(Evaluations::of(place)));
        Ok(Arc::new(Self {
            id,
            url,
            wire,
            pin,
            link,
            latency,
            evaluations,
            incidents,
            quota,
            anchored,
            common,
        }))
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }

    pub(crate) fn evaluations(&self) -> &Arc<Evaluations> {
        &self.evaluations
    }

    /// Lies told since this session began.
    pub(crate) fn incidents(&self) -> u64 {
        self.incidents.load(Ordering::Relaxed)
    }

    /// What it has left of a quota that its manifest states.
    pub(crate) fn quota_left(&self, burst: u32, per_hour: u32) -> u32 {
        self.quota.left(burst, per_hour, self.common.now().boot_ms)
    }

    /// Trusts another TLS key from now on, as a newer manifest says. A connection made with the old one is
    /// not used again.
    pub(crate) fn repin(&self, spki: SpkiHash) {
        self.pin.set(spki);
    }

    /// Whether its last word was that keys may not be used.
    pub(crate) fn is_cut_off(&self) -> bool {
        current(self.common.leases.state_of(self.index(), self.common.now())).is_err()
    }

    /// The node's place in the newest manifest.
    pub(crate) fn seat(&self) -> Result<ManifestNode, EvaluateError> {
        self.common.seat_in(&self.common.manifest(), self.id)
    }

    /// Opens a new connection and registers our generation on it. Any signed word is an answer.
    pub(crate) async fn hello(&self) -> Result<LeaseState, EvaluateError> {
        let greeted = async {
            let mut link = self.link.lock().await;
            *link = None;
            let spki = self.pin.get();
            let (sender, state) = self.greet().await?;
            *link = Some((sender, spki));
            Ok(state)
        };
        timeout(self.common.deadline, greeted).await.map_err(|_| self.silent())?
    }

    /// Renews the lease. Any signed word is an answer.
    pub(crate) async fn heartbeat(&self) -> Result<LeaseState, EvaluateError> {
        let (asked, seat) = (self.common.now(), self.seat()?);
        let heartbeat = Heartbeat::new(self.common.holder(), RequestId::random(&mut os_rng()));
        let answer = self.ask(heartbeat.to_bytes()).await?;
        let presence = heartbeat.verify(&answer, &seat).map_err(|lie| self.caught(lie))?;
        self.accept(presence, asked)
    }

    /// Sends one frame within the deadline and gives the bytes of the answer, which nobody has checked.
    pub(crate) async fn ask(&self, frame: Vec<u8>) -> Result<Bytes, EvaluateError> {
        let measured = self.latency.measure();
        let answered = match timeout(self.common.deadline, self.ask_patiently(frame)).await {
            Ok(answered) => answered,
            Err(_) => {
                // Perhaps the connection is dead and nobody told us: the next question opens another.
                if let Ok(mut link) = self.link.try_lock() {
                    *link = None;
                }
                Err(self.silent())
            }
        };
        if answered.is_ok() {
            measured.answered()
        } else {
            measured.failed()
        }
        answered
    }

    /// The same, before our first hello on a connection of its own that says none.
    pub(crate) async fn ask_or_whisper(&self, frame: Vec<u8>) -> Result<Bytes, EvaluateError> {
        if self.common.holder().generation == 0 { self.whisper(frame).await } else { self.ask(frame).await }
    }

    /// Asks on a connection of its own that says no hello: a store that turns out to be old must not have
    /// fenced the broker that runs on the newest one.
    async fn whisper(&self, frame: Vec<u8>) -> Result<Bytes, EvaluateError> {
        let asking = async {
            let sender = self.wire.connect().await?;
            self.wire.exchange(&sender, frame).await
        };
        let answer = timeout(self.common.deadline, asking).await.map_err(|_| self.silent())?;
        answer.map_err(|error| self.failed(error))
    }

    /// What is to be known before this node is asked for an evaluation.
    pub(crate) fn question(&self, key_epoch: u32) -> Result<Question, EvaluateError> {
        let manifest = self.common.manifest_of(key_epoch)?;
        let seat = self.common.seat_in(&manifest, self.id)?;
        Ok(Question { holder: self.common.holder(), seat, asked: self.common.now() })
    }

    /// What a judged answer means: its lease counts from now on, and its points only if the lease is active.
    pub(crate) fn settle(
        &self,
        question: &Question,
        judged: Result<Judged, EvaluateError>,
    ) -> Result<VerifiedEvaluation, EvaluateError> {
        match judged {
            Ok(Judged::Evaluated(evaluation, lease)) => {
                self.quota.hear(evaluation.quota_left(), self.common.now().boot_ms);
                current(self.accept_lease(&lease, question.asked))?;
                Ok(evaluation)
            }
            Ok(Judged::Refused(refusal)) => {
                if matches!(refusal, Refusal::QuotaExhausted) {
                    self.quota.hear(0, self.common.now().boot_ms);
                }
                signed(&refusal).into_iter().for_each(|lease| {
                    self.accept_lease(lease, question.asked);
                });
                Err(refusal.into())
            }
            Err(EvaluateError::Lied(lie)) => Err(self.caught(lie)),
            Err(error) => Err(error),
        }
    }

    /// Notes a lie down.
    pub(crate) fn caught(&self, lie: Misbehaviour) -> EvaluateError {
        self.incidents.fetch_add(1, Ordering::Relaxed);
        self.latency.measure().failed();
        error!(url = %self.url, %lie, "a fragment service node lied; its answer is not used");
        EvaluateError::Lied(lie)
    }

    /// The same for an answer that is not what was asked for.
    pub(crate) fn lied(&self, fault: Fault) -> EvaluateError {
        self.caught(Misbehaviour { node: self.index(), fault })
    }

    /// The node's index in the newest manifest, 0 if it is not in it.
    pub(crate) fn index(&self) -> u16 {
        self.seat().map_or(0, |seat| seat.index)
    }

    async fn ask_patiently(&self, frame: Vec<u8>) -> Result<Bytes, EvaluateError> {
        let (sender, fresh) = self.link().await?;
        match self.wire.exchange(&sender, frame.clone()).await {
            Err(WireError::Unreachable) if !fresh => {
                *self.link.lock().await = None;
                let (sender, _) = self.link().await?;
                self.wire.exchange(&sender, frame).await.map_err(|error| self.failed(error))
            }
            answered => answered.map_err(|error| self.failed(error)),
        }
    }

    /// The open connection, or a new one that knows our generation; and whether it is new.
    async fn link(&self) -> Result<(Sender, bool), EvaluateError> {
        if self.common.holder().generation == 0 {
            // nothing is asked before the anchor was compared and a hello said
            return Err(EvaluateError::NotRegistered);
        }
        let mut link = self.link.lock().await;
        let spki = self.pin.get();
        if let Some((sender, _)) = link.as_ref().filter(|(sender, made)| !sender.is_closed() && *made == spki)
        {
            return Ok((sender.clone(), false));
        }
        let (sender, _) = self.greet().await?;
        *link = Some((sender.clone(), spki));
        Ok((sender, true))
    }

    /// Opens a connection and says hello on it. A signed refusal is an answer too: the connection is good.
    async fn greet(&self) -> Result<(Sender, LeaseState), EvaluateError> {
        let seat = self.seat()?;
        let sender = self.wire.connect().await.map_err(|error| self.failed(error))?;
        let asked = self.common.now();
        let hello = Hello::new(self.common.holder(), RequestId::random(&mut os_rng()));
        let answer =
            self.wire.exchange(&sender, hello.to_bytes()).await.map_err(|error| self.failed(error))?;
        let presence = hello.verify(&answer, &seat).map_err(|lie| self.caught(lie))?;
        Ok((sender, self.accept(presence, asked)?))
    }

    /// Takes over what a checked answer to a hello or heartbeat says. A signed refusal is an answer too.
    fn accept(&self, presence: Presence, asked: Now) -> Result<LeaseState, EvaluateError> {
        match presence {
            Presence::Lease(lease) => Ok(self.accept_lease(&lease, asked)),
            Presence::Refused(refusal) => match signed(&refusal) {
                Some(lease) => Ok(self.accept_lease(lease, asked)),
                None => Err(refusal.into()),
            },
        }
    }

    fn accept_lease(&self, lease: &VerifiedLease, asked: Now) -> LeaseState {
        let received = self.common.now();
        self.common.leases.accept(lease, asked, received);
        self.common.leases.state_of(lease.terms().node, received)
    }

    pub(crate) fn silent(&self) -> EvaluateError {
        let deadline_ms = u64::try_from(self.common.deadline.as_millis()).unwrap_or(u64::MAX);
        EvaluateError::Silent { node: self.index(), deadline_ms }
    }

    fn failed(&self, error: WireError) -> EvaluateError {
        let node = self.index();
        match error {
            WireError::Unreachable => EvaluateError::Unreachable { node },
            WireError::Impostor => EvaluateError::Impostor { node },
            WireError::NotEnrolled => EvaluateError::NotEnrolled,
            WireError::Busy => EvaluateError::Busy,
            WireError::NoFrame => EvaluateError::NoFrame { node },
        }
    }
}

/// The lease that a refusal carries, if it carries one: refusals without cannot change anything.
fn signed(refusal: &Refusal) -> Option<&VerifiedLease> {
    match refusal {
        Refusal::Suspended(lease) | Refusal::Destroyed(lease) | Refusal::StaleGeneration(lease) => {
            Some(lease)
        }
        _ => None,
    }
}

/// A lease as an answer to a caller who wanted to use keys.
pub(crate) fn current(state: LeaseState) -> Result<LeaseState, EvaluateError> {
    match state {
        LeaseState::Active | LeaseState::Unknown | LeaseState::Grace | LeaseState::Expired => Ok(state),
        LeaseState::Suspended => Err(EvaluateError::Suspended),
        LeaseState::Destroyed => Err(EvaluateError::Destroyed),
        LeaseState::Fenced => Err(EvaluateError::StaleGeneration),
        LeaseState::Clock => Err(EvaluateError::Clock),
    }
}
