//! Cost of the protocol's operations on one core, as in `docs/skb1.md` section 10.
//!
//! `cargo bench -p symbolon-proto` also prints how much of a remote's batch is arithmetic that no
//! implementation can avoid.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{Capsule, EncapsulationKey, Kek, encapsulate};
use symbolon_proto::context::{CapsuleContext, RecordContext, RecordKind, Scope};
use symbolon_proto::evaluate::{self, Answer, RemoteKey, VerifiedEvaluation};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, Target};
use symbolon_proto::hierarchy::{Fragment, PurposeKeys};
use symbolon_proto::id::{BrokerId, CapsuleId, DeploymentId, KeyId, MountId, NodeId, SecretId, TenantId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::secret::{self, Secret};
use symbolon_proto::signing::SigningSeed;
use symbolon_proto::{record, sealedbox};

const RNG: UnwrapErr<SysRng> = UnwrapErr(SysRng);

struct Setup {
    keys: PurposeKeys,
    remote: RemoteKey,
    seed: SigningSeed,
    holder: LeaseHolder,
    context: CapsuleContext,
    capsule: Capsule,
}

fn encapsulation_key(remote: &RemoteKey) -> EncapsulationKey {
    EncapsulationKey { key_epoch: 1, public: *remote.public_key() }
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
    let remote = RemoteKey::generate(rng);
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
    let capsule = encapsulate(&context, &encapsulation_key(&remote), &keys, &Kek::random(rng), rng).unwrap();
    Setup { keys, remote, seed: SigningSeed::random(rng), holder, context, capsule }
}

impl Setup {
    fn blind(&self, count: usize) -> Blinded {
        let target = Target { key: self.holder.key, key_epoch: 1, share_epoch: 1 };
        Blinded::blind(&vec![&self.capsule; count], target, &mut RNG.clone()).unwrap()
    }

    fn node(&self) -> ManifestNode {
        ManifestNode {
            index: 1,
            node: NodeId::from_bytes([0; 16]),
            public: *self.remote.public_key(),
            signing: self.seed.public_key(),
            spki_sha256: [0; 32],
        }
    }

    fn lease(&self) -> Lease {
        let terms = LeaseTerms {
            deployment: self.holder.deployment,
            broker: self.holder.broker,
            key: self.holder.key,
            generation: 1,
            seq: 1,
            issued_secs: 0,
            ttl_secs: 3600,
            status: KeyState::Active,
            node: 1,
        };
        Lease::sign(terms, &self.seed)
    }

    /// What a remote does with a frame, without the lease.
    fn remote(&self, frame: &[u8]) -> evaluate::Evaluation {
        let request = EvaluateRequest::parse(frame).unwrap();
        self.remote.evaluate(&request, &mut RNG.clone())
    }

    fn answer(&self, request: &EvaluateRequest) -> Vec<u8> {
        let evaluation = self.remote.evaluate(request, &mut RNG.clone());
        let outcome =
            EvaluateOutcome::Done { points: evaluation.points, proof: evaluation.proof, lease: self.lease() };
        let response = EvaluateResponse {
            target: *request.target(),
            node_index: 1,
            request_hash: *request.hash(),
            quota_left: 0,
            time_secs: 0,
            outcome,
        };
        response.to_bytes()
    }

    fn verify(&self, request: &EvaluateRequest, frame: &[u8]) -> VerifiedEvaluation {
        match evaluate::verify(request, frame, &self.holder, &self.node()).unwrap() {
            Answer::Evaluated(evaluation, _) => evaluation,
            Answer::Refused(refusal) => panic!("{refusal}"),
        }
    }
}

fn remote(c: &mut Criterion) {
    let setup = setup();
    for count in [1, 8, 64] {
        let frame = setup.blind(count).request().to_bytes();
        c.bench_function(&format!("remote: evaluate + proof, batch {count}"), |b| {
            b.iter(|| setup.remote(black_box(&frame)));
        });
    }
    c.bench_function("remote: sign a lease", |b| b.iter(|| setup.lease()));
}

fn broker(c: &mut Criterion) {
    let setup = setup();
    for count in [1, 64] {
        let blinded = setup.blind(count);
        let frame = setup.answer(blinded.request());
        c.bench_function(&format!("broker: decode + verify (with lease), batch {count}"), |b| {
            b.iter(|| setup.verify(blinded.request(), black_box(&frame)));
        });
        c.bench_function(&format!("broker: blind, batch {count}"), |b| b.iter(|| setup.blind(count)));
        c.bench_function(&format!("broker: finalize + open, batch {count}"), |b| {
            let prepare = || {
                let blinded = setup.blind(count);
                let evaluation = setup.verify(blinded.request(), &setup.answer(blinded.request()));
                (blinded, evaluation)
            };
            let open = |(blinded, evaluation): (Blinded, VerifiedEvaluation)| {
                for shared in blinded.finalize(evaluation).unwrap() {
                    black_box(setup.capsule.open(&setup.context, &setup.keys.capsule, shared).unwrap());
                }
            };
            b.iter_batched(prepare, open, BatchSize::SmallInput);
        });
    }
    let (remote, kek) = (encapsulation_key(&setup.remote), Kek::random(&mut RNG.clone()));
    c.bench_function("broker: encapsulate", |b| {
        b.iter(|| encapsulate(&setup.context, &remote, &setup.keys, &kek, &mut RNG.clone()).unwrap());
    });
}

fn symmetric(c: &mut Criterion) {
    let rng = &mut RNG.clone();
    let setup = setup();
    let record = RecordContext {
        kind: RecordKind::Value,
        deployment: setup.holder.deployment,
        tenant: setup.context.tenant,
        mount: setup.context.mount,
        secret: SecretId::random(rng),
        version: 1,
    };
    let (key, kek, value) = (Secret::random(rng), Kek::random(rng), vec![7; 1024]);
    let context = record.encode();
    let boxed = sealedbox::seal(&key, &context, &value, rng).unwrap();
    let sealed = record::seal(&kek, &record, &setup.context.capsule, &value, rng).unwrap();
    c.bench_function("SealedBox: seal 1 KiB", |b| {
        b.iter(|| sealedbox::seal(&key, &context, black_box(&value), &mut RNG.clone()).unwrap());
    });
    c.bench_function("SealedBox: open 1 KiB", |b| {
        b.iter(|| sealedbox::open(&key, &context, black_box(&boxed)).unwrap());
    });
    c.bench_function("record: open 1 KiB", |b| {
        b.iter(|| record::open(&kek, &record, &setup.context.capsule, black_box(&sealed)).unwrap());
    });
    c.bench_function("wiping", |b| b.iter(|| secret::wiping(|| ())));
    c.bench_function("wiping_deep", |b| b.iter(|| secret::wiping_deep(|| ())));
}

/// Median time of one run of each piece of work. They take turns, so that a busy moment meets all of them.
fn medians<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times = [(); N].map(|()| Vec::new());
    for _ in 0..201 {
        for (work, times) in works.iter_mut().zip(&mut times) {
            let start = Instant::now();
            work();
            times.push(start.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

/// A remote's batch of 64 against the arithmetic that it consists of: 64 points decoded, multiplied and
/// encoded, and the proof's one 64-fold and three single multiplications with four encodings. What is left is
/// hashing, framing, randomness, memory and the wiping of it.
fn share_of_arithmetic(_: &mut Criterion) {
    let setup = setup();
    let frame = setup.blind(64).request().to_bytes();
    let rng = &mut RNG.clone();
    let key = Scalar::random(rng);
    let weights: Vec<_> = (0..64).map(|_| Scalar::random(rng)).collect();
    let encoded: Vec<_> = (0..64).map(|_| RistrettoPoint::random(rng).compress()).collect();
    let decode = || encoded.iter().map(|bytes| bytes.decompress().unwrap());
    let prove = |points: &[RistrettoPoint]| {
        let m = RistrettoPoint::vartime_multiscalar_mul(&weights, points);
        black_box([m, m * key, RistrettoPoint::mul_base(&key), m * key].map(|point| point.compress()));
    };
    let mut remote = || {
        black_box(setup.remote(&frame));
    };
    let mut one_by_one = || {
        let points: Vec<_> = decode().collect();
        points.iter().for_each(|point| {
            black_box((point * key).compress());
        });
        prove(&points);
    };
    let mut encoded_together = || {
        let points: Vec<_> = decode().collect();
        let products: Vec<_> = points.iter().map(|point| point * key).collect();
        black_box(RistrettoPoint::double_and_compress_batch(&products));
        prove(&points);
    };
    let [whole, together, one_by_one] = medians([&mut remote, &mut encoded_together, &mut one_by_one]);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / 64.0;
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / whole.as_secs_f64();
    println!("remote, batch 64: {:.1} us per item, {:.0} per second", micros(whole), 1e6 / micros(whole));
    println!(
        "  {:.0} % of the speed of its bare arithmetic ({:.1} us per item, encodings sharing one inversion)",
        percent(together),
        micros(together)
    );
    println!(
        "  {:.0} % of the speed of the same arithmetic point by point ({:.1} us per item)",
        percent(one_by_one),
        micros(one_by_one)
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = share_of_arithmetic, remote, broker, symmetric
}
criterion_main!(benches);
