//! A node: what its disk holds, what a crash takes, and how it answers. It keeps to the rules that a node
//! must keep to on its own, because the broker that carries everything is not trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use symbolon_proto::card::{NodeCard, VerifiedCard};
use symbolon_proto::dkg::{
    Before, GroupKey, OFFER_BYTES, PendingShare, ReceiveKey, Roster, Run, RunKind, SCHNORR_BYTES, Session,
    StaticKey,
};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, Status};
use symbolon_proto::id::NodeId;
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::proposal::Proposal;
use symbolon_proto::signing::SigningSeed;

use super::Bug;

/// The receive keys of all receivers, as they showed them.
pub type Offers = Vec<[u8; OFFER_BYTES]>;

/// A run with what its session is made of.
#[derive(Clone)]
pub struct Setup {
    pub run: Run,
    pub group: Arc<Proposal>,
    pub before: Option<(Arc<Proposal>, GroupKey)>,
}

impl Setup {
    pub fn roster(&self) -> Roster {
        let before = self.before.as_ref().map(|(group, key)| Before { group, key });
        Roster::new(&self.run, &self.group, before).unwrap()
    }

    pub fn session(&self, offers: &Offers) -> Session {
        self.roster().session(offers).unwrap()
    }
}

/// What a broker may ask.
#[derive(Clone)]
pub enum Ask {
    /// Register a generation, renew the lease.
    Hello(LeaseHolder),
    Offer(Setup),
    Deal(Setup, Offers),
    Receive(Setup, Offers, Vec<Vec<u8>>),
    Commit(Run, Vec<[u8; SCHNORR_BYTES]>),
    /// The new shares of this group are in use: forget older ones.
    Acknowledge(u32, u32, Arc<Proposal>),
    Retire(u32),
    Evaluate(LeaseHolder, Vec<u8>),
}

/// What a node answers.
#[derive(Clone)]
pub enum Reply {
    Lease(Lease),
    Offer([u8; OFFER_BYTES]),
    Dealing(Vec<u8>),
    Signature([u8; SCHNORR_BYTES]),
    Done,
    Evaluated(Vec<u8>),
}

/// One share, in use or about to be.
pub struct Share {
    pub index: u16,
    pub scalar: RemoteKey,
    run: [u8; 32],
}

/// What a power cut leaves.
pub struct Disk {
    static_key: StaticKey,
    signing: SigningSeed,
    pub suspended: bool,
    /// By key epoch and share epoch.
    pub shares: BTreeMap<(u32, u32), Share>,
    tombstones: BTreeSet<u32>,
    /// Dealings are stored before they are sent, and a run is dealt in once.
    dealt: BTreeMap<[u8; 32], (Run, Vec<u8>)>,
    pending: Option<(Run, Vec<u8>)>,
    /// The receive key of the newest run; only its offer when the dealings were opened.
    receive: Option<(Run, [u8; OFFER_BYTES], Option<ReceiveKey>)>,
}

impl Disk {
    /// Everything that counts, for "nothing has changed".
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix([u8::from(self.suspended)]);
        for ((key_epoch, share_epoch), share) in &self.shares {
            hash.update(key_epoch.to_be_bytes());
            hash.update(share_epoch.to_be_bytes());
            hash.update(share.scalar.secret().expose());
        }
        self.tombstones.iter().for_each(|epoch| hash.update(epoch.to_be_bytes()));
        self.dealt.values().for_each(|(_, dealing)| hash.update(dealing));
        self.pending.iter().for_each(|(_, pending)| hash.update(pending));
        if let Some((_, offer, key)) = &self.receive {
            hash.update(offer);
            hash.update([u8::from(key.is_some())]);
        }
        hash.finalize().into()
    }
}

pub struct Node {
    pub card: VerifiedCard,
    pub disk: Disk,
    /// `false` between a crash and the restart.
    pub up: bool,
    /// The generation that said hello since the start; lost in a crash.
    generation: Option<u64>,
    lease_seq: u64,
}

impl Node {
    pub fn new(number: u8, rng: &mut dyn CryptoRng) -> Self {
        let (root, signing) = (SigningSeed::random(rng), SigningSeed::random(rng));
        let static_key = StaticKey::generate(rng);
        let card = NodeCard {
            node: NodeId::from_bytes([number; 16]),
            signing: signing.public_key(),
            spki_sha256: [number; 32],
            dkg: *static_key.public(),
            root: root.public_key(),
        };
        let disk = Disk {
            static_key,
            signing,
            suspended: false,
            shares: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            dealt: BTreeMap::new(),
            pending: None,
            receive: None,
        };
        Self { card: card.sign(&root), disk, up: true, generation: None, lease_seq: 0 }
    }

    pub fn crash(&mut self) {
        self.up = false;
        self.generation = None;
    }

    /// Answers, or says why not; refused questions change nothing.
    pub fn handle(
        &mut self,
        ask: Ask,
        bug: Option<Bug>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Reply, &'static str> {
        if let Ask::Hello(holder) = ask {
            self.generation = self.generation.max(Some(holder.generation));
            return Ok(Reply::Lease(self.lease(&holder, 0)));
        }
        if let Ask::Evaluate(holder, frame) = ask {
            return self.evaluate(&holder, &frame, rng).map(Reply::Evaluated);
        }
        if self.disk.suspended {
            return Err("suspended");
        }
        match ask {
            Ask::Offer(setup) => self.offer(&setup, rng).map(Reply::Offer),
            Ask::Deal(setup, offers) => self.deal(&setup, &offers, rng).map(Reply::Dealing),
            Ask::Receive(setup, offers, dealings) => {
                self.receive(&setup, &offers, &dealings).map(Reply::Signature)
            }
            Ask::Commit(run, signatures) => self.commit(&run, &signatures, bug).map(|()| Reply::Done),
            Ask::Acknowledge(key_epoch, share_epoch, group) => {
                self.acknowledge(key_epoch, share_epoch, &group).map(|()| Reply::Done)
            }
            Ask::Retire(key_epoch) => self.retire(key_epoch).map(|()| Reply::Done),
            Ask::Hello(_) | Ask::Evaluate(..) => unreachable!("answered above"),
        }
    }

    fn offer(&mut self, setup: &Setup, rng: &mut dyn CryptoRng) -> Result<[u8; OFFER_BYTES], &'static str> {
        if let Some((_, offer, _)) = self.disk.receive.as_ref().filter(|(run, ..)| *run == setup.run) {
            return Ok(*offer);
        }
        self.may_begin(&setup.run)?;
        let receive = ReceiveKey::generate(rng);
        let offer = setup.roster().offer(&self.disk.static_key, &receive).map_err(|_| "no share for me")?;
        self.disk.receive = Some((setup.run, offer, Some(receive)));
        Ok(offer)
    }

    fn deal(
        &mut self,
        setup: &Setup,
        offers: &Offers,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, &'static str> {
        let run = &setup.run;
        if let Some((_, dealing)) = self.disk.dealt.get(&run.id()) {
            return Ok(dealing.clone());
        }
        self.may_begin(run)?;
        let share = self.share_before(run);
        let dealing =
            setup.session(offers).deal(&self.disk.static_key, share, rng).map_err(|_| "not mine to deal")?;
        self.disk.dealt.insert(run.id(), (*run, dealing.clone()));
        Ok(dealing)
    }

    fn may_begin(&self, run: &Run) -> Result<(), &'static str> {
        let living: BTreeSet<u32> = self.disk.shares.keys().map(|(key_epoch, _)| *key_epoch).collect();
        if self.disk.tombstones.contains(&run.key_epoch) {
            return Err("retired");
        }
        let newer = |(of, share_epoch): &(u32, u32)| *of == run.key_epoch && *share_epoch >= run.share_epoch;
        if self.disk.shares.keys().any(newer) {
            return Err("that share epoch is there already, or a newer one");
        }
        match run.kind {
            RunKind::Generate if living.contains(&run.key_epoch) || living.len() >= 2 => Err("living epochs"),
            _ => Ok(()),
        }
    }

    fn share_before(&self, run: &Run) -> Option<&RemoteKey> {
        let before = (run.key_epoch, run.share_epoch.checked_sub(1)?);
        self.disk.shares.get(&before).map(|share| &share.scalar)
    }

    fn receive(
        &mut self,
        setup: &Setup,
        offers: &Offers,
        dealings: &[Vec<u8>],
    ) -> Result<[u8; SCHNORR_BYTES], &'static str> {
        if let Some((_, pending)) = self.disk.pending.as_ref().filter(|(run, _)| *run == setup.run) {
            return Ok(*PendingShare::from_secret_bytes(pending).unwrap().signature());
        }
        self.may_begin(&setup.run)?;
        let shown = self.disk.receive.as_ref().filter(|(run, ..)| *run == setup.run);
        let receive = shown.and_then(|(.., key)| key.as_ref()).ok_or("no receive key for this run")?;
        let share = self.share_before(&setup.run);
        let pending = setup.session(offers).receive(&self.disk.static_key, receive, share, dealings);
        let pending = pending.map_err(|_| "a dealing is wrong")?;
        self.disk.pending = Some((setup.run, pending.to_secret_bytes().to_vec()));
        self.disk.receive.iter_mut().for_each(|(.., key)| *key = None);
        Ok(*pending.signature())
    }

    fn commit(
        &mut self,
        run: &Run,
        signatures: &[[u8; SCHNORR_BYTES]],
        bug: Option<Bug>,
    ) -> Result<(), &'static str> {
        let epochs = (run.key_epoch, run.share_epoch);
        if self.disk.shares.get(&epochs).is_some_and(|share| share.run == run.id()) {
            return Ok(());
        }
        self.may_begin(run)?;
        let pending = self.disk.pending.as_ref().filter(|(of, _)| of == run).ok_or("nothing is pending")?;
        let pending = PendingShare::from_secret_bytes(&pending.1).unwrap();
        let certified = pending.finish(signatures).map_err(|_| "not certified by all")?;
        let (index, scalar) = (certified.index, certified.share);
        self.disk.shares.insert(epochs, Share { index, scalar, run: run.id() });
        self.disk.pending = None;
        if bug == Some(Bug::OldShareErasedAtCommit) {
            self.disk
                .shares
                .retain(|(key_epoch, share_epoch), _| *key_epoch != epochs.0 || *share_epoch >= epochs.1);
        }
        Ok(())
    }

    fn acknowledge(
        &mut self,
        key_epoch: u32,
        share_epoch: u32,
        group: &Proposal,
    ) -> Result<(), &'static str> {
        let leaves = group.index_of(self.card.card()).is_none();
        if !leaves && !self.disk.shares.contains_key(&(key_epoch, share_epoch)) {
            return Err("that share is not here");
        }
        self.disk.shares.retain(|(of, epoch), _| *of != key_epoch || *epoch >= share_epoch);
        self.disk.dealt.retain(|_, (run, _)| run.key_epoch != key_epoch || run.share_epoch > share_epoch);
        Ok(())
    }

    fn retire(&mut self, key_epoch: u32) -> Result<(), &'static str> {
        let newer = self.disk.shares.keys().any(|(epoch, _)| *epoch > key_epoch);
        let there = self.disk.shares.keys().any(|(epoch, _)| *epoch == key_epoch);
        if there && !newer {
            return Err("there is no newer key");
        }
        self.disk.shares.retain(|(epoch, _), _| *epoch != key_epoch);
        self.disk.tombstones.insert(key_epoch);
        Ok(())
    }

    fn lease(&mut self, holder: &LeaseHolder, index: u16) -> Lease {
        self.lease_seq += 1;
        let status = if self.disk.suspended { KeyState::Suspended } else { KeyState::Active };
        let terms = LeaseTerms {
            deployment: holder.deployment,
            broker: holder.broker,
            key: holder.key,
            generation: self.generation.unwrap_or(holder.generation),
            seq: self.lease_seq,
            issued_secs: 0,
            ttl_secs: 60,
            status,
            node: index,
        };
        Lease::sign(terms, &self.disk.signing)
    }

    fn evaluate(
        &mut self,
        holder: &LeaseHolder,
        frame: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, &'static str> {
        if self.generation != Some(holder.generation) {
            return Err("no hello of this generation");
        }
        let request = EvaluateRequest::parse(frame).map_err(|_| "malformed")?;
        let target = *request.target();
        let share = self.disk.shares.get(&(target.key_epoch, target.share_epoch));
        let index = share.map_or(1, |share| share.index);
        let lease = self.lease(holder, index);
        let share = self.disk.shares.get(&(target.key_epoch, target.share_epoch));
        let outcome = match share {
            _ if self.disk.suspended => {
                EvaluateOutcome::Refused { status: Status::Suspended, lease: Some(lease) }
            }
            None => EvaluateOutcome::Refused { status: Status::WrongShareEpoch, lease: None },
            Some(share) => {
                let evaluation = share.scalar.evaluate(&request, rng);
                EvaluateOutcome::Done { points: evaluation.points, proof: evaluation.proof, lease }
            }
        };
        let response = EvaluateResponse {
            target,
            node_index: index,
            request_hash: *request.hash(),
            quota_left: 1,
            time_secs: 0,
            outcome,
        };
        Ok(response.to_bytes())
    }
}
