//! Answers to brokers: read the frame whole, decide, evaluate, log, sign a lease.
//!
//! ```text
//! evaluate: parse all ─ whose key? ─ epochs ─ generation ─ state ─ quota ─ k·u ─ record on disk ─ lease
//! ```
//!
//! Nothing is computed before everything is parsed and allowed. State and generation are looked at again when
//! the lease is signed, so a suspension that arrives during a batch already holds for its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use symbolon_proto::evaluate::{Evaluation, RemoteKey};
use symbolon_proto::frame::{
    AnchorAnswer, AnchorRequest, AnchorValue, EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameType,
    GroupAnswer, GroupOp, GroupRequest, Heartbeat, Hello, ManifestAnswer, ManifestRequest, PresenceAnswer,
    Request, RequestHash, Target, request_hash, request_type,
};
use symbolon_proto::frame::{MANIFESTS_MAX, Status};
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId};
use symbolon_proto::lease::{FIRST_GENERATION, Lease, LeaseHolder, LeaseTerms};

use crate::epochs;
use crate::evaluation_log::Record;
use crate::identity::NODE_INDEX;
use crate::peer::Peer;
use crate::rng::os_rng;
use crate::state::{Live, Service};
use crate::tables::{Key, KeyState};

/// Bits of a lease's sequence number that count within one start.
const LEASE_COUNTER_BITS: u32 = 40;

/// What to send back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An answer frame.
    Frame(Vec<u8>),
    /// A stranger asked for something else than enrolment.
    NotEnrolled,
    /// Not a frame that could be answered with one.
    NotAFrame,
    /// Too much under way, and not an evaluation, whose answer could say so.
    Busy,
}

/// Why an evaluation is refused.
struct Refusal {
    status: Status,
    lease: Option<Box<Lease>>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { status, lease: None }
    }
}

/// An evaluation that may go ahead; its quota is taken.
struct Granted {
    key: Arc<RemoteKey>,
    broker: BrokerId,
    count: u16,
}

impl Service {
    /// Answers one frame, off the runtime's threads: a batch costs milliseconds of arithmetic and one disk
    /// sync.
    pub(crate) async fn answer(self: &Arc<Self>, peer: &Arc<Peer>, frame: Bytes) -> Answer {
        let is_known = self.knows(&peer.spki);
        if !is_known && !may_strangers_ask(&frame) {
            return Answer::NotEnrolled;
        }
        // What strangers ask for is written to the disk, one after the other; brokers do not wait for it.
        let permits = if is_known { &self.permits } else { &self.stranger_permits };
        let Ok(_permit) = permits.try_acquire() else {
            return match request_type(&frame) {
                Ok(FrameType::Evaluate) => Answer::Frame(self.unread(&frame, Status::Busy)),
                _ => Answer::Busy,
            };
        };
        let (service, peer) = (Arc::clone(self), Arc::clone(peer));
        let answered = tokio::task::spawn_blocking(move || service.answer_now(&peer, &frame)).await;
        answered.unwrap_or(Answer::Busy)
    }

    fn answer_now(&self, peer: &Peer, frame: &[u8]) -> Answer {
        let frame_type = request_type(frame);
        let bytes = match Request::parse(frame) {
            Ok(Request::Evaluate(request)) => self.answer_evaluate(peer, &request),
            Ok(Request::Hello(request)) => self.answer_hello(peer, &request, frame),
            Ok(Request::Heartbeat(request)) => self.answer_heartbeat(peer, &request, frame),
            Ok(Request::Manifest(request)) => self.answer_manifest(peer, &request, frame),
            Ok(Request::Anchor(request)) => self.answer_anchor(peer, &request, frame),
            Ok(Request::Enrol(request)) => self.answer_enrol(peer.spki, &request, frame).to_bytes(),
            Ok(Request::Group(request)) => {
                let outcome = self.step(peer, &request.op);
                let (request_hash, op) = (request_hash(frame), request.op.code());
                GroupAnswer { request_hash, op, outcome }.to_bytes()
            }
            Err(_) if frame_type == Ok(FrameType::Evaluate) => self.unread(frame, Status::Malformed),
            Err(_) => return Answer::NotAFrame,
        };
        Answer::Frame(bytes)
    }

    fn answer_evaluate(&self, peer: &Peer, request: &EvaluateRequest) -> Vec<u8> {
        let outcome = match self.evaluate(peer, request) {
            Ok((Evaluation { points, proof }, lease)) => EvaluateOutcome::Done { points, proof, lease },
            Err(Refusal { status, lease }) => {
                EvaluateOutcome::Refused { status, lease: lease.map(|lease| *lease) }
            }
        };
        self.response(*request.target(), *request.hash(), outcome).to_bytes()
    }

    fn evaluate(&self, peer: &Peer, request: &EvaluateRequest) -> Result<(Evaluation, Lease), Refusal> {
        let granted = self.admit(peer, request)?;
        let evaluation = granted.key.evaluate(request, &mut os_rng());
        let key_id = request.target().key;
        let now = self.now();
        let (lease, quota_left) = {
            let mut live = self.live();
            let quota_left = live.buckets.get_mut(&key_id).map_or(0, |bucket| bucket.left(now.boot_ms));
            (self.lease(&mut live, peer, key_id, Some(request.target())), quota_left)
        };
        let (status, count) = match &lease {
            Ok(_) => (Status::Ok, granted.count),
            Err(refusal) => (refusal.status, 0),
        };
        let broker_id = granted.broker;
        let record =
            Record { time: now.unix_secs, key_id, broker_id, count, status: status.code(), quota_left };
        let logged = self.log.append(&record);
        if lease.is_err() || logged.is_err() {
            self.live()
                .buckets
                .get_mut(&key_id)
                .into_iter()
                .for_each(|bucket| bucket.give_back(granted.count.into()));
        }
        if let Err(error) = logged {
            tracing::error!(%error, "an evaluation was refused because it could not be logged");
            return Err(Status::Busy.into());
        }
        Ok((evaluation, lease?))
    }

    /// Whether the evaluation may go ahead. Takes its quota; logs a refusal.
    fn admit(&self, peer: &Peer, request: &EvaluateRequest) -> Result<Granted, Refusal> {
        let now = self.now();
        let mut live = self.live();
        let (broker, _) = live.tables.broker_by_spki(&peer.spki).ok_or(Status::UnknownKey)?;
        let Target { key: key_id, .. } = *request.target();
        let count = u16::try_from(request.points().len()).unwrap_or(u16::MAX);
        let refusal = match self.check(&mut live, peer, request, broker) {
            Err(refusal) if refusal.status == Status::UnknownKey => return Err(refusal),
            Err(refusal) => refusal,
            Ok(key) => {
                let bucket = live.buckets.get_mut(&key_id);
                if bucket.is_some_and(|bucket| bucket.take(count.into(), now.boot_ms)) {
                    return Ok(Granted { key, broker, count });
                }
                Status::QuotaExhausted.into()
            }
        };
        let quota_left = live.buckets.get_mut(&key_id).map_or(0, |bucket| bucket.left(now.boot_ms));
        drop(live);
        let status = refusal.status.code();
        let record = Record { time: now.unix_secs, key_id, broker_id: broker, count: 0, status, quota_left };
        if let Err(error) = self.log.append(&record) {
            tracing::error!(%error, "a refusal could not be logged");
        }
        Err(refusal)
    }

    /// The scalar that may answer.
    fn check(
        &self,
        live: &mut Live,
        peer: &Peer,
        request: &EvaluateRequest,
        broker: BrokerId,
    ) -> Result<Arc<RemoteKey>, Refusal> {
        let target = request.target();
        let deployment = live.tables.brokers[&broker].deployment;
        let row = live.tables.keys.get(&target.key).filter(|row| row.deployment == deployment);
        let row = row.ok_or(Status::UnknownKey)?;
        let share = epochs::select(row, target, request.is_restore(), self.now().unix_secs)?;
        self.standing(live, peer, target.key, broker, Some(target))?;
        live.keys.get(&share).map(Arc::clone).ok_or_else(|| Status::WrongShareEpoch.into())
    }

    /// Refuses an old generation and a key that is not active, each with a signed lease that says so.
    fn standing(
        &self,
        live: &mut Live,
        peer: &Peer,
        key: KeyId,
        broker: BrokerId,
        target: Option<&Target>,
    ) -> Result<(), Refusal> {
        let row = &live.tables.brokers[&broker];
        let bound = peer.generation.load(Ordering::Acquire);
        let (registered, is_barred) = (row.generation, row.bars(bound));
        if bound == 0 {
            // Without a hello nobody knows which generation speaks. Unsigned, so it harms nobody.
            return Err(Status::Busy.into());
        }
        // Suspension first: the lease then says so, and a status must say the same as its lease.
        let key_row = live.tables.keys.get(&key).ok_or(Status::UnknownKey)?; // an orphan may go meanwhile
        let status = match key_row.state {
            KeyState::Destroyed => Status::Destroyed,
            KeyState::Suspended | KeyState::PendingDestroy => Status::Suspended,
            // Its lease cannot say so: what is registered now is older. Without one the broker takes it for
            // "busy".
            KeyState::Active if is_barred => return Err(Status::StaleGeneration.into()),
            KeyState::Active if bound < registered => Status::StaleGeneration,
            KeyState::Active => return Ok(()),
        };
        Err(Refusal { status, lease: Some(Box::new(self.sign_lease(live, broker, key, target))) })
    }

    /// A lease for an answer that goes well, unless the wind has turned meanwhile.
    fn lease(
        &self,
        live: &mut Live,
        peer: &Peer,
        key: KeyId,
        target: Option<&Target>,
    ) -> Result<Lease, Refusal> {
        let (broker, _) = live.tables.broker_by_spki(&peer.spki).ok_or(Status::UnknownKey)?;
        self.standing(live, peer, key, broker, target)?;
        Ok(self.sign_lease(live, broker, key, target))
    }

    fn sign_lease(&self, live: &mut Live, broker: BrokerId, key: KeyId, target: Option<&Target>) -> Lease {
        live.leases += 1;
        let row = &live.tables.brokers[&broker];
        let terms = LeaseTerms {
            deployment: row.deployment,
            broker,
            key,
            generation: row.generation,
            seq: (u64::from(live.tables.starts) << LEASE_COUNTER_BITS) | live.leases,
            issued_secs: self.now().unix_secs,
            ttl_secs: self.options.grants_of(row.deployment).lease_ttl_secs,
            status: live.tables.keys[&key].state.into(),
            node: node_index(live.tables.keys.get(&key), target),
        };
        Lease::sign(terms, &self.identity.node)
    }

    fn answer_hello(&self, peer: &Peer, request: &Hello, frame: &[u8]) -> Vec<u8> {
        let holder = request.holder();
        let outcome = {
            let mut live = self.live();
            self.claimed_broker(&live, peer, holder)
                .and_then(|broker| self.register(&mut live, broker, holder.generation))
                .and_then(|()| {
                    peer.generation.store(holder.generation, Ordering::Release);
                    self.lease(&mut live, peer, holder.key, None)
                })
        };
        self.presence(FrameType::Hello, frame, holder.key, outcome)
    }

    /// Remembers a new generation, on disk before anyone is told.
    fn register(&self, live: &mut Live, broker: BrokerId, generation: u64) -> Result<(), Refusal> {
        let row = &live.tables.brokers[&broker];
        let registered = row.generation;
        if generation == 0 {
            return Err(Status::Malformed.into());
        }
        if row.bars(generation) {
            return Err(Status::StaleGeneration.into());
        }
        if generation <= registered {
            return Ok(()); // the same, or an older one that `standing` will refuse with a signature
        }
        let mut tables = live.tables.clone();
        if let Some(row) = tables.brokers.get_mut(&broker) {
            row.generation = generation;
            if generation > FIRST_GENERATION {
                let deployment = row.deployment;
                tables.opened(deployment);
            }
        }
        self.write_tables(&tables).map_err(|error| {
            tracing::error!(%error, "a generation could not be registered");
            Status::Busy
        })?;
        live.tables = tables;
        tracing::info!(%broker, generation, "a broker has unsealed");
        Ok(())
    }

    fn answer_heartbeat(&self, peer: &Peer, request: &Heartbeat, frame: &[u8]) -> Vec<u8> {
        let outcome = {
            let mut live = self.live();
            self.claimed_broker(&live, peer, request.holder())
                .and_then(|_| self.lease(&mut live, peer, request.holder().key, None))
        };
        self.presence(FrameType::Heartbeat, frame, request.holder().key, outcome)
    }

    /// The broker behind the connection, if it is who it says and the key is its deployment's.
    fn claimed_broker(&self, live: &Live, peer: &Peer, holder: &LeaseHolder) -> Result<BrokerId, Refusal> {
        self.owner(live, peer, holder.deployment, holder.broker, holder.key).map_err(Refusal::from)
    }

    fn owner(
        &self,
        live: &Live,
        peer: &Peer,
        deployment: DeploymentId,
        broker: BrokerId,
        key: KeyId,
    ) -> Result<BrokerId, Status> {
        let (id, row) = live.tables.broker_by_spki(&peer.spki).ok_or(Status::UnknownKey)?;
        let holds = live.tables.keys.get(&key).is_some_and(|key| key.deployment == row.deployment);
        if holds && (id, row.deployment) == (broker, deployment) { Ok(id) } else { Err(Status::UnknownKey) }
    }

    fn answer_manifest(&self, peer: &Peer, request: &ManifestRequest, frame: &[u8]) -> Vec<u8> {
        let live = self.live();
        let broker = live.tables.broker_by_spki(&peer.spki).map(|(_, broker)| broker.deployment);
        let row = live.tables.keys.get(&request.key).filter(|row| Some(row.deployment) == broker);
        let newer = |row: &Key| {
            let newer = row.manifests.iter().filter(|(seq, _)| *seq > request.after_seq);
            newer.take(MANIFESTS_MAX).map(|(_, bytes)| bytes.clone()).collect()
        };
        let status = if row.is_some() { Status::Ok } else { Status::UnknownKey };
        let manifests = row.map(newer).unwrap_or_default();
        ManifestAnswer { status, request_hash: request_hash(frame), manifests }.to_bytes()
    }

    fn answer_anchor(&self, peer: &Peer, request: &AnchorRequest, frame: &[u8]) -> Vec<u8> {
        let request_hash = request_hash(frame);
        let mut live = self.live();
        let owner = self.owner(&live, peer, request.deployment, request.broker, request.key);
        let stored = |live: &Live, broker: BrokerId| live.tables.brokers[&broker].anchor;
        let (status, stored) = match (owner, request.put) {
            (Err(status), _) => (status, None),
            (Ok(broker), None) => (Status::Ok, stored(&live, broker)),
            (Ok(broker), Some(put)) => {
                let status = self.put_anchor(&mut live, peer, broker, put);
                (status, stored(&live, broker))
            }
        };
        AnchorAnswer { status, request_hash, stored }.to_bytes()
    }

    /// Only the newest generation may move the anchor: a clone or restored snapshot would overwrite what
    /// convicts it.
    fn put_anchor(&self, live: &mut Live, peer: &Peer, broker: BrokerId, put: AnchorValue) -> Status {
        match peer.generation.load(Ordering::Acquire) {
            0 => return Status::Busy,
            bound if bound != live.tables.brokers[&broker].generation => return Status::StaleGeneration,
            _ => {}
        }
        let mut tables = live.tables.clone();
        let Some(row) = tables.brokers.get_mut(&broker) else { return Status::UnknownKey };
        if row.anchor.is_some_and(|stored| put.counter <= stored.counter) {
            return Status::StaleAnchor;
        }
        row.anchor = Some(put);
        if self.write_tables(&tables).is_err() {
            return Status::Busy;
        }
        live.tables = tables;
        Status::Ok
    }

    fn presence(
        &self,
        frame_type: FrameType,
        frame: &[u8],
        key: KeyId,
        outcome: Result<Lease, Refusal>,
    ) -> Vec<u8> {
        let node_index = node_index(self.live().tables.keys.get(&key), None);
        let (status, lease) = match outcome {
            Ok(lease) => (Status::Ok, Some(lease)),
            Err(refusal) => (refusal.status, refusal.lease.map(|lease| *lease)),
        };
        let (request_hash, time_secs) = (request_hash(frame), self.now().unix_secs);
        PresenceAnswer { frame_type, status, node_index, request_hash, time_secs, lease }.to_bytes()
    }

    /// Answer to an evaluation that was not read: nothing in it is known but its hash.
    fn unread(&self, frame: &[u8], status: Status) -> Vec<u8> {
        let target = Target { key: KeyId::from_bytes([0; 16]), key_epoch: 0, share_epoch: 0 };
        let outcome = EvaluateOutcome::Refused { status, lease: None };
        self.response(target, request_hash(frame), outcome).to_bytes()
    }

    fn response(
        &self,
        target: Target,
        request_hash: RequestHash,
        outcome: EvaluateOutcome,
    ) -> EvaluateResponse {
        let now = self.now();
        let mut live = self.live();
        let quota_left = live.buckets.get_mut(&target.key).map_or(0, |bucket| bucket.left(now.boot_ms));
        EvaluateResponse {
            target,
            node_index: node_index(live.tables.keys.get(&target.key), Some(&target)),
            request_hash,
            quota_left,
            time_secs: now.unix_secs,
            outcome,
        }
    }
}

/// Steps that lead to enrolment are answered for everybody.
fn may_strangers_ask(frame: &[u8]) -> bool {
    match request_type(frame) {
        Ok(FrameType::Enrol) => true,
        Ok(FrameType::Group) => matches!(
            Request::parse(frame),
            Ok(Request::Group(GroupRequest { op: GroupOp::Card | GroupOp::Propose { .. }, .. }))
        ),
        _ => false,
    }
}

/// Our index in the sharing that is asked for, or else in the one that the newest manifest of the group
/// names: a broker that has not seen a new manifest yet knows us by that one.
fn node_index(row: Option<&Key>, target: Option<&Target>) -> u16 {
    let asked =
        |row: &Key| target.and_then(|target| row.sharing(target.key_epoch, target.share_epoch)).cloned();
    let sharing = row.and_then(|row| asked(row).or_else(|| row.announced_sharing().cloned()));
    sharing.map_or(NODE_INDEX, |sharing| sharing.index)
}
