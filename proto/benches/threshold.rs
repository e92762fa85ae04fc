//! What 3 of 5 nodes cost on one core: a cold read at the broker, and a key made and refreshed (`docs/skb1.md` 6.7).

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{Capsule, EncapsulationKey, Kek, encapsulate};
use symbolon_proto::card::NodeCard;
use symbolon_proto::context::{CapsuleContext, Scope};
use symbolon_proto::dkg::{
    Before, CertifiedShare, Dealers, GroupKey, OFFER_BYTES, ReceiveKey, Roster, Run, RunKind, StaticKey,
};
use symbolon_proto::evaluate::{self, Answer, RemoteKey, VerifiedEvaluation};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, Target};
use symbolon_proto::hierarchy::{Fragment, PurposeKeys};
use symbolon_proto::id::{BrokerId, CapsuleId, DeploymentId, KeyId, MountId, NodeId, SessionId, TenantId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use symbolon_proto::signing::SigningSeed;

const RNG: UnwrapErr<SysRng> = UnwrapErr(SysRng);
const NODES: u16 = 5;
const THRESHOLD: u16 = 3;

/// Five nodes that hold a key, and a broker with a capsule.
struct Setup {
    holder: LeaseHolder,
    keys: PurposeKeys,
    static_keys: Vec<StaticKey>,
    seeds: Vec<SigningSeed>,
    group: Proposal,
    shares: Vec<CertifiedShare>,
    key: GroupKey,
    context: CapsuleContext,
    capsule: Capsule,
}

fn run(kind: RunKind, group: &Proposal, key: KeyId, before: Option<&GroupKey>) -> Run {
    Run {
        kind,
        session: SessionId::random(&mut RNG.clone()),
        key,
        key_epoch: 1,
        share_epoch: if before.is_some() { 2 } else { 1 },
        group: group.id(),
        previous: before.map_or([0; 32], |_| group.id()),
        base: before.map_or([0; 32], GroupKey::hash),
        dealers: Dealers::all(NODES).unwrap(),
    }
}

/// A fresh receive key of each node, and what it shows of it.
fn offers(roster: &Roster, keys: &[StaticKey]) -> (Vec<ReceiveKey>, Vec<[u8; OFFER_BYTES]>) {
    let offer = |key: &StaticKey| {
        let receive = ReceiveKey::generate(&mut RNG.clone());
        let offer = roster.offer(key, &receive).unwrap();
        (receive, offer)
    };
    keys.iter().map(offer).unzip()
}

/// All rounds at all nodes.
fn ceremony(roster: &Roster, keys: &[StaticKey], before: Option<&[CertifiedShare]>) -> Vec<CertifiedShare> {
    let share = |at: usize| before.map(|shares| &shares[at].share);
    let nodes = || keys.iter().enumerate();
    let (receive, offers) = offers(roster, keys);
    let session = roster.session(&offers).unwrap();
    let dealings: Vec<_> =
        nodes().map(|(at, key)| session.deal(key, share(at), &mut RNG.clone()).unwrap()).collect();
    let pending: Vec<_> =
        nodes().map(|(at, key)| session.receive(key, &receive[at], share(at), &dealings).unwrap()).collect();
    let signatures: Vec<_> = pending.iter().map(|pending| *pending.signature()).collect();
    pending.iter().map(|pending| pending.finish(&signatures).unwrap()).collect()
}

fn setup() -> Setup {
    let rng = &mut RNG.clone();
    let holder = LeaseHolder {
        deployment: DeploymentId::random(rng),
        broker: BrokerId::random(rng),
        key: KeyId::random(rng),
        generation: 1,
    };
    let keys = Fragment::random(rng).root(&holder.deployment).purposes(1);
    let static_keys: Vec<_> = (0..NODES).map(|_| StaticKey::generate(rng)).collect();
    let seeds: Vec<_> = (0..NODES).map(|_| SigningSeed::random(rng)).collect();
    let group = group(&holder, &static_keys, &seeds);
    let roster = Roster::new(&run(RunKind::Generate, &group, holder.key, None), &group, None).unwrap();
    let shares = ceremony(&roster, &static_keys, None);
    let key = shares[0].key.clone();
    let context = CapsuleContext {
        deployment: holder.deployment,
        tenant: TenantId::random(rng),
        mount: MountId::random(rng),
        bucket: 0,
        kek_epoch: 1,
        capsule: CapsuleId::random(rng),
        key: holder.key,
        fragment_epoch: 1,
        scope: Scope::Bucket,
    };
    let remote = EncapsulationKey { key_epoch: 1, public: key.public() };
    let capsule = encapsulate(&context, &remote, &keys, &Kek::random(rng), rng).unwrap();
    Setup { holder, keys, static_keys, seeds, group, shares, key, context, capsule }
}

fn group(holder: &LeaseHolder, static_keys: &[StaticKey], seeds: &[SigningSeed]) -> Proposal {
    let card = |(number, (key, seed)): (u8, (&StaticKey, &SigningSeed))| {
        let root = SigningSeed::random(&mut RNG.clone());
        let card = NodeCard {
            node: NodeId::from_bytes([number; 16]),
            signing: seed.public_key(),
            spki_sha256: [number; 32],
            dkg: *key.public(),
            root: root.public_key(),
        };
        card.sign(&root)
    };
    let terms = ProposalTerms {
        deployment: holder.deployment,
        key: holder.key,
        broker: holder.broker,
        broker_spki_sha256: [0; 32],
        broker_signing: seeds[0].public_key(),
        number: 1,
        previous: [0; 32],
        threshold: THRESHOLD,
    };
    Proposal::new(terms, (1..).zip(static_keys.iter().zip(seeds)).map(card).collect()).unwrap()
}

impl Setup {
    fn blind(&self) -> Blinded {
        let target = Target { key: self.holder.key, key_epoch: 1, share_epoch: 1 };
        Blinded::blind(&[&self.capsule], target, &mut RNG.clone()).unwrap()
    }

    /// What node `at` answers.
    fn answer(&self, at: usize, request: &EvaluateRequest) -> Vec<u8> {
        let CertifiedShare { index, share, .. } = &self.shares[at];
        let terms = LeaseTerms {
            deployment: self.holder.deployment,
            broker: self.holder.broker,
            key: self.holder.key,
            generation: 1,
            seq: 1,
            issued_secs: 0,
            ttl_secs: 3600,
            status: KeyState::Active,
            node: *index,
        };
        let evaluation = RemoteKey::evaluate(share, request, &mut RNG.clone());
        let lease = Lease::sign(terms, &self.seeds[at]);
        let response = EvaluateResponse {
            target: *request.target(),
            node_index: *index,
            request_hash: *request.hash(),
            quota_left: 0,
            time_secs: 0,
            outcome: EvaluateOutcome::Done { points: evaluation.points, proof: evaluation.proof, lease },
        };
        response.to_bytes()
    }

    fn verify(&self, at: usize, request: &EvaluateRequest, frame: &[u8]) -> VerifiedEvaluation {
        let card = self.group.member(self.shares[at].index).unwrap();
        let node = ManifestNode {
            index: self.shares[at].index,
            node: card.node,
            public: self.key.share(self.shares[at].index).unwrap(),
            signing: card.signing,
            spki_sha256: card.spki_sha256,
        };
        match evaluate::verify(request, frame, &self.holder, &node).unwrap() {
            Answer::Evaluated(evaluation, _) => evaluation,
            Answer::Refused(refusal) => panic!("{refusal}"),
        }
    }

    /// Everything that the broker does after the answers have come.
    fn open(&self, blinded: Blinded, frames: &[Vec<u8>]) -> Kek {
        let verified: Vec<_> =
            frames.iter().enumerate().map(|(at, frame)| self.verify(at, blinded.request(), frame)).collect();
        let shared = blinded.finalize_threshold(&verified, THRESHOLD).unwrap().pop().unwrap();
        self.capsule.open(&self.context, &self.keys.capsule, shared).unwrap()
    }
}

/// Blind, five verified answers, Lagrange over three, unblind, open. What the nodes do is timed apart.
fn cold_read(c: &mut Criterion) {
    let setup = setup();
    let asked = || {
        let blinded = setup.blind();
        let frames: Vec<_> = (0..5).map(|at| setup.answer(at, blinded.request())).collect();
        (blinded, frames)
    };
    c.bench_function("3 of 5: broker, blind", |b| b.iter(|| setup.blind()));
    c.bench_function("3 of 5: broker, five verifies, Lagrange, unblind, open", |b| {
        let open = |(blinded, frames): (Blinded, Vec<Vec<u8>>)| setup.open(blinded, black_box(&frames));
        b.iter_batched(asked, open, BatchSize::SmallInput);
    });
    c.bench_function("3 of 5: broker, the same with only three answers", |b| {
        let open = |(blinded, frames): (Blinded, Vec<Vec<u8>>)| setup.open(blinded, black_box(&frames[..3]));
        b.iter_batched(asked, open, BatchSize::SmallInput);
    });
    c.bench_function("3 of 5: one node, evaluate + proof + lease", |b| {
        let blinded = setup.blind();
        b.iter(|| setup.answer(0, black_box(blinded.request())));
    });
}

fn ceremonies(c: &mut Criterion) {
    let setup = setup();
    let generate =
        Roster::new(&run(RunKind::Generate, &setup.group, setup.holder.key, None), &setup.group, None);
    let generate = generate.unwrap();
    let refresh = run(RunKind::Refresh, &setup.group, setup.holder.key, Some(&setup.key));
    let before = Before { group: &setup.group, key: &setup.key };
    let refresh = Roster::new(&refresh, &setup.group, Some(before)).unwrap();
    c.bench_function("3 of 5: generate, all rounds of all nodes", |b| {
        b.iter(|| ceremony(&generate, &setup.static_keys, None));
    });
    c.bench_function("3 of 5: refresh, all rounds of all nodes", |b| {
        b.iter(|| ceremony(&refresh, &setup.static_keys, Some(&setup.shares)));
    });
    c.bench_function("3 of 5: refresh, the broker's check of all dealings", |b| {
        let share = |at: usize| Some(&setup.shares[at].share);
        let session = refresh.session(&offers(&refresh, &setup.static_keys).1).unwrap();
        let dealings: Vec<_> = (0..5)
            .map(|at| session.deal(&setup.static_keys[at], share(at), &mut RNG.clone()).unwrap())
            .collect();
        b.iter(|| session.outcome(black_box(&dealings)).unwrap());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = cold_read, ceremonies
}
criterion_main!(benches);
