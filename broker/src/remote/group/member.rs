//! One node as the ceremony sees it. It may hold no key of ours yet, so there is no manifest to go by: its
//! card is, and the fingerprint of the root that signed the card.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use symbolon_proto::card::VerifiedCard;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{
    Approval, GroupAnswer, GroupOp, GroupRefusal, GroupReply, GroupRequest, Hello, PresenceAnswer, Status,
    request_hash,
};
use symbolon_proto::id::RequestId;
use symbolon_proto::lease::LeaseHolder;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{GroupError, NodeProblem, RootMismatch};
use crate::config::RemoteNode;
use crate::random::os_rng;
use crate::remote::tls::{ClientKey, Pin, Pinned};
use crate::remote::wire::{Sender, Wire, WireError};

/// A node whose card was checked.
pub(crate) struct GroupMember {
    url: String,
    card: VerifiedCard,
    wire: Wire,
    link: Mutex<Option<Sender>>,
    /// Whether the connection is bound to our generation.
    bound: AtomicBool,
    holder: Option<LeaseHolder>,
    deadline: Duration,
}

impl GroupMember {
    /// Fetches the card of a configured node. It is believed if its root has the configured fingerprint and
    /// the connection was made with the TLS key in it. `holder` is said hello for where the node knows us
    /// already.
    pub(crate) async fn meet(
        node: &RemoteNode,
        client: &ClientKey,
        holder: Option<LeaseHolder>,
        deadline: Duration,
    ) -> Result<Self, GroupError> {
        let met = async {
            let root: Fingerprint = node.fingerprint.parse()?;
            let seen = Arc::default();
            let wire = Wire::new(&node.url, client, Pin::Noted(Arc::clone(&seen)))?;
            let sender = within(deadline, wire.connect()).await?;
            let frame =
                GroupRequest { nonce: RequestId::random(&mut os_rng()), op: GroupOp::Card }.to_bytes();
            let answer = within(deadline, wire.exchange(&sender, frame.clone())).await?;
            let GroupReply::Card(card) = outcome(&frame, &GroupOp::Card, &answer)? else {
                return Err(NodeProblem::OtherAnswer);
            };
            let card = VerifiedCard::parse(&card)?;
            let found = card.card().fingerprint();
            if found != root {
                return Err(NodeProblem::OtherRoot(Box::new(RootMismatch { found, configured: root })));
            }
            let spki = card.card().spki_sha256;
            if *SyncMutex::lock(&seen).unwrap_or_else(PoisonError::into_inner) != Some(spki) {
                return Err(NodeProblem::Impostor);
            }
            let wire = Wire::new(&node.url, client, Pin::Exactly(Pinned::new(spki)))?;
            let (link, bound) = Default::default();
            Ok(Self { url: node.url.clone(), card, wire, link, bound, holder, deadline })
        };
        met.await.map_err(|problem| GroupError::Node { url: node.url.clone(), problem })
    }

    pub(crate) fn card(&self) -> &VerifiedCard {
        &self.card
    }

    /// Asks for a step and gives what the node did.
    pub(crate) async fn ask(&self, op: GroupOp) -> Result<GroupReply, GroupError> {
        let frame = GroupRequest { nonce: RequestId::random(&mut os_rng()), op: op.clone() }.to_bytes();
        let asked = async {
            let answer = self.exchange(frame.clone()).await?;
            outcome(&frame, &op, &answer)
        };
        asked.await.map_err(|problem| self.problem(problem))
    }

    /// The same for steps that are only done or not.
    pub(crate) async fn ask_done(&self, op: GroupOp) -> Result<(), GroupError> {
        match self.ask(op).await? {
            GroupReply::Done => Ok(()),
            _ => Err(self.problem(NodeProblem::OtherAnswer)),
        }
    }

    /// Whether the node's operator has approved this proposal.
    pub(crate) async fn approves(&self, proposal: &[u8]) -> Result<bool, GroupError> {
        match self.ask(GroupOp::Propose { proposal: proposal.to_vec() }).await? {
            GroupReply::Approval(Approval::Approved) => Ok(true),
            GroupReply::Approval(Approval::Pending) => Ok(false),
            GroupReply::Approval(Approval::Refused) => Err(self.problem(NodeProblem::Declined)),
            _ => Err(self.problem(NodeProblem::OtherAnswer)),
        }
    }

    pub(crate) fn problem(&self, problem: NodeProblem) -> GroupError {
        GroupError::Node { url: self.url.clone(), problem }
    }

    async fn exchange(&self, frame: Vec<u8>) -> Result<Bytes, NodeProblem> {
        let (sender, fresh) = self.link().await?;
        self.bind(&sender).await?;
        match within(self.deadline, self.wire.exchange(&sender, frame.clone())).await {
            Err(NodeProblem::Unreachable) if !fresh => {
                *self.link.lock().await = None;
                let (sender, _) = self.link().await?;
                self.bind(&sender).await?;
                within(self.deadline, self.wire.exchange(&sender, frame)).await
            }
            answered => answered,
        }
    }

    async fn link(&self) -> Result<(Sender, bool), NodeProblem> {
        let mut link = self.link.lock().await;
        if let Some(sender) = link.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), false));
        }
        let sender = within(self.deadline, self.wire.connect()).await?;
        self.bound.store(false, Ordering::Release);
        *link = Some(sender.clone());
        Ok((sender, true))
    }

    /// Says hello where there is something to be said: a node serves only connections of the newest
    /// generation. One that has no key of ours yet refuses, and is asked again at the next step. Nothing that
    /// it answers is believed.
    async fn bind(&self, sender: &Sender) -> Result<(), NodeProblem> {
        let Some(holder) = self.holder.filter(|_| !self.bound.load(Ordering::Acquire)) else { return Ok(()) };
        let hello = Hello::new(holder, RequestId::random(&mut os_rng()));
        let answer = match within(self.deadline, self.wire.exchange(sender, hello.to_bytes())).await {
            Err(NodeProblem::NotEnrolled) => return Ok(()),
            answered => answered?,
        };
        let answer = PresenceAnswer::parse(&answer, symbolon_proto::frame::FrameType::Hello);
        let bound = answer.is_ok_and(|answer| answer.status == Status::Ok);
        self.bound.store(bound, Ordering::Release);
        Ok(())
    }
}

/// What an answer frame says, if it answers this question.
fn outcome(frame: &[u8], op: &GroupOp, answer: &[u8]) -> Result<GroupReply, NodeProblem> {
    let answer = GroupAnswer::parse(answer).map_err(|_| NodeProblem::NotAService)?;
    if answer.request_hash != request_hash(frame) || answer.op != op.code() {
        return Err(NodeProblem::OtherAnswer);
    }
    answer.outcome.map_err(|refusal| match refusal {
        GroupRefusal { blame: Some(blame), .. } => {
            NodeProblem::Blames { participant: blame.participant, fault: blame.fault }
        }
        GroupRefusal { status: Status::NotApproved, .. } => NodeProblem::NotApproved,
        GroupRefusal { status: Status::Busy, .. } => NodeProblem::Busy,
        GroupRefusal { status: Status::OtherRun, .. } => NodeProblem::OtherChange,
        GroupRefusal { status, .. } => NodeProblem::Refused(status),
    })
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, WireError>>,
) -> Result<T, NodeProblem> {
    match timeout(deadline, work).await {
        Err(_) => Err(NodeProblem::Silent),
        Ok(done) => done.map_err(|error| match error {
            WireError::Unreachable => NodeProblem::Unreachable,
            WireError::Impostor => NodeProblem::Impostor,
            WireError::NotEnrolled => NodeProblem::NotEnrolled,
            WireError::Busy => NodeProblem::Busy,
            WireError::NoFrame => NodeProblem::NotAService,
        }),
    }
}
