//! What 3 of 5 nodes cost on one core: a cold read at the broker, and a key made and refreshed
//! (`docs/skb1.md` 6.7).
//!
//! Each work is timed by itself, hundreds of times. All of it is arithmetic that takes the same time each
//! time, so the fastest is what it costs, and by how much the median is above it is what others took of the
//! machine meanwhile.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
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
    /// As the broker has them from the manifest.
    nodes: Vec<ManifestNode>,
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
    // Each node checks the offers of all for itself.
    let sessions: Vec<_> = keys.iter().map(|_| roster.session(&offers).unwrap()).collect();
    let dealings: Vec<_> =
        nodes().map(|(at, key)| sessions[at].deal(key, share(at), &mut RNG.clone()).unwrap()).collect();
    let receive = |(at, key): (usize, &StaticKey)| {
        sessions[at].receive(key, &receive[at], share(at), &dealings).unwrap()
    };
    let pending: Vec<_> = nodes().map(receive).collect();
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
    let nodes = (1..=NODES).map(|index| manifest_node(index, &group, &key)).collect();
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
    Setup { holder, keys, static_keys, seeds, group, shares, key, nodes, context, capsule }
}

fn manifest_node(index: u16, group: &Proposal, key: &GroupKey) -> ManifestNode {
    let card = group.member(index).unwrap();
    ManifestNode {
        index,
        node: card.node,
        public: key.share(index).unwrap(),
        signing: card.signing,
        spki_sha256: card.spki_sha256,
    }
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
        match evaluate::verify(request, frame, &self.holder, &self.nodes[at]).unwrap() {
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

/// Times `work` on what `prepare` makes for it, for three seconds and at least thirty times.
fn time<I, O>(name: &str, mut prepare: impl FnMut() -> I, mut work: impl FnMut(I) -> O) {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.len() < 30 || begun.elapsed() < Duration::from_secs(3) {
        let input = black_box(prepare());
        let started = Instant::now();
        let output = work(input);
        times.push(started.elapsed());
        drop(black_box(output));
    }
    times.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{name:<58} {:>9.1} {:>9.1} {:>8}", us(times[0]), us(times[times.len() / 2]), times.len());
}

/// The same for what needs nothing prepared, and is so short that the clock would show: a hundred at once.
fn time_short<O>(name: &str, mut work: impl FnMut() -> O) {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(1) {
        let started = Instant::now();
        (0..100).for_each(|_| drop(black_box(work())));
        times.push(started.elapsed() / 100);
    }
    times.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{name:<58} {:>9.1} {:>9.1} {:>8}", us(times[0]), us(times[times.len() / 2]), times.len());
}

/// What section 10 counts with, on this machine.
fn units() {
    let (point, scalar) = (RistrettoPoint::random(&mut RNG.clone()), Scalar::random(&mut RNG.clone()));
    let encoded = point.compress();
    let points = [point; THRESHOLD as usize];
    let weights = [scalar; THRESHOLD as usize];
    time_short("variable-base multiplication", || black_box(point) * black_box(scalar));
    time_short("fixed-base multiplication", || RISTRETTO_BASEPOINT_TABLE * &black_box(scalar));
    time_short("decode a point", || black_box(encoded).decompress().unwrap());
    time_short("encode a point", || black_box(point).compress());
    time_short("c·P + s·G, variable time (verifies a signature)", || {
        RistrettoPoint::vartime_double_scalar_mul_basepoint(&scalar, &black_box(point), &scalar)
    });
    time_short("sum of three products, variable time (Lagrange)", || {
        RistrettoPoint::vartime_multiscalar_mul(&black_box(weights), &points)
    });
}

/// Blind, five verified answers, Lagrange over three, unblind, open. What the nodes do is timed apart.
fn cold_read(setup: &Setup) {
    let answers = |count: usize| {
        move || {
            let blinded = setup.blind();
            let frames: Vec<_> = (0..count).map(|at| setup.answer(at, blinded.request())).collect();
            (blinded, frames)
        }
    };
    let open = |(blinded, frames): (Blinded, Vec<Vec<u8>>)| setup.open(blinded, &frames);
    time("broker: blind", || (), |()| setup.blind());
    time("broker: one verify, with its lease", answers(1), |(blinded, frames)| {
        setup.verify(0, blinded.request(), &frames[0])
    });
    time("broker: five verifies, Lagrange, unblind, open", answers(5), open);
    time("broker: three verifies, Lagrange, unblind, open", answers(3), open);
    time("node: evaluate, prove, sign the lease", || setup.blind(), |b| setup.answer(0, b.request()));
}

fn ceremonies(setup: &Setup) {
    let generate = run(RunKind::Generate, &setup.group, setup.holder.key, None);
    let generate = Roster::new(&generate, &setup.group, None).unwrap();
    let refresh = run(RunKind::Refresh, &setup.group, setup.holder.key, Some(&setup.key));
    let before = Before { group: &setup.group, key: &setup.key };
    let refresh = Roster::new(&refresh, &setup.group, Some(before)).unwrap();
    let (keys, shares) = (&setup.static_keys, &setup.shares);
    let share = |at: usize| Some(&shares[at].share);
    let (receive_keys, offers) = offers(&refresh, keys);
    let session = refresh.session(&offers).unwrap();
    let deal = |at: usize| session.deal(&keys[at], share(at), &mut RNG.clone()).unwrap();
    let dealings: Vec<_> = (0..usize::from(NODES)).map(deal).collect();

    time("generate: all rounds of all five nodes", || (), |()| ceremony(&generate, keys, None));
    time("refresh: all rounds of all five nodes", || (), |()| ceremony(&refresh, keys, Some(shares)));
    time("refresh: one node checks all offers", || (), |()| refresh.session(&offers).unwrap());
    time("refresh: one node deals", || (), |()| deal(0));
    time(
        "refresh: one node receives",
        || (),
        |()| session.receive(&keys[0], &receive_keys[0], share(0), &dealings).unwrap(),
    );
    time("refresh: the broker checks all dealings", || (), |()| session.outcome(&dealings).unwrap());
}

fn main() {
    println!("{:<58} {:>9} {:>9} {:>8}", "3 of 5", "fastest", "median us", "times");
    units();
    let setup = setup();
    cold_read(&setup);
    ceremonies(&setup);
}
