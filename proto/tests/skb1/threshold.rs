//! Threshold-ready formats (sections 6.7 and 15.9): every t of n shares give the same secret, and a manifest
//! whose shares do not fit its commitments is refused.

use curve25519_dalek::scalar::Scalar;
use symbolon_proto::blind::{Blinded, FinalizeError};
use symbolon_proto::context::Scope;
use symbolon_proto::evaluate::{self, Answer, RemoteKey, VerifiedEvaluation};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateResponse};
use symbolon_proto::id::NodeId;
use symbolon_proto::lease::{KeyState, Lease, LeaseTerms};
use symbolon_proto::manifest::{Manifest, ManifestError, ManifestNode, VerifiedManifest};
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use crate::world::World;

fn remote(scalar: Scalar) -> RemoteKey {
    RemoteKey::from_secret(Secret::filled_by(|out| *out = scalar.to_bytes())).unwrap()
}

struct Service {
    world: World,
    shares: Vec<RemoteKey>,
    seeds: Vec<SigningSeed>,
    root: SigningSeed,
    manifest: Manifest,
}

/// A 2-of-3 service dealt from `k + a·x`.
fn service() -> Service {
    let mut world = World::new(20);
    let (k, a) = (Scalar::random(&mut world.rng), Scalar::random(&mut world.rng));
    let shares: Vec<_> = (1_u16..=3).map(|x| remote(k + a * Scalar::from(x))).collect();
    let seeds: Vec<_> = (0..3).map(|_| SigningSeed::random(world.rng())).collect();
    world.remote = remote(k);
    let node = |(index, (share, seed)): (u16, (&RemoteKey, &SigningSeed))| ManifestNode {
        index,
        node: NodeId::from_bytes([u8::try_from(index).unwrap(); 16]),
        public: *share.public_key(),
        signing: seed.public_key(),
        spki_sha256: [0; 32],
    };
    let manifest = Manifest {
        deployment: world.holder.deployment,
        key: world.holder.key,
        state: KeyState::Active,
        key_epoch: 2,
        share_epoch: 4,
        public: *world.remote.public_key(),
        commitments: vec![*remote(a).public_key().point()],
        nodes: (1..).zip(shares.iter().zip(&seeds)).map(node).collect(),
        lease_ttl_secs: 3600,
        quota_burst: 1000,
        quota_per_hour: 10_000,
        grace_secs: 0,
        not_before_secs: 1000,
        not_after_secs: 2000,
        seq: 1,
        prev_hash: [0; 32],
    };
    let root = SigningSeed::random(world.rng());
    Service { world, shares, seeds, root, manifest }
}

impl Service {
    fn signed(&self) -> Vec<u8> {
        self.manifest.sign(&self.root, &self.seeds.iter().collect::<Vec<_>>())
    }

    fn verified(&self) -> Result<VerifiedManifest, ManifestError> {
        VerifiedManifest::first(&self.signed(), &self.root.public_key(), &self.world.holder.deployment)
    }

    fn answer(&mut self, blinded: &Blinded, index: u16) -> VerifiedEvaluation {
        let position = usize::from(index - 1);
        let request = blinded.request();
        let evaluation = self.shares[position].evaluate(request, &mut self.world.rng);
        let lease = Lease::sign(LeaseTerms { node: index, ..self.world.terms() }, &self.seeds[position]);
        let outcome = EvaluateOutcome::Done { points: evaluation.points, proof: evaluation.proof, lease };
        let frame = EvaluateResponse { node_index: index, ..self.world.outcome(request, outcome) }.to_bytes();
        let node = self.manifest.nodes[position];
        match evaluate::verify(request, &frame, &self.world.holder, &node).unwrap() {
            Answer::Evaluated(evaluation, _) => evaluation,
            Answer::Refused(refusal) => panic!("{refusal}"),
        }
    }
}

#[test]
fn a_two_of_three_manifest_has_794_bytes_and_verifies() {
    let service = service();
    assert_eq!(service.signed().len(), 794);
    let verified = service.verified().unwrap();
    assert_eq!(verified.manifest(), &service.manifest);
    assert_eq!(verified.manifest().threshold(), 2);
}

#[test]
fn every_pair_of_nodes_opens_the_capsule() {
    let mut service = service();
    let context = service.world.capsule_context(Scope::Bucket);
    let (capsule, kek) = service.world.close(&context);
    for nodes in [[1, 2], [1, 3], [2, 3], [3, 1]] {
        let target = service.world.target();
        let blinded = Blinded::blind(&[&capsule], target, service.world.rng()).unwrap();
        let shares = nodes.map(|index| service.answer(&blinded, index));
        let shared = blinded.finalize_threshold(&shares, 2).unwrap().pop().unwrap();
        assert!(capsule.open(&context, &service.world.keys.capsule, shared).unwrap().same_as(&kek));
    }
}

#[test]
fn one_node_is_not_enough() {
    let mut service = service();
    let context = service.world.capsule_context(Scope::Bucket);
    let (capsule, _) = service.world.close(&context);
    let target = service.world.target();
    let mut blinded = || Blinded::blind(&[&capsule], target, service.world.rng()).unwrap();
    let (first, second, third) = (blinded(), blinded(), blinded());
    let share = service.answer(&first, 1);
    let missing = FinalizeError::Threshold { found: 1, threshold: 2 };
    assert_eq!(first.finalize_threshold(&[share], 2).err(), Some(missing));
    let twice = [service.answer(&second, 1), service.answer(&second, 1)];
    assert_eq!(second.finalize_threshold(&twice, 2).err(), Some(FinalizeError::Duplicate { node: 1 }));
    // Taken for the whole answer, a share opens nothing.
    let share = service.answer(&third, 1);
    let shared = third.finalize(share).unwrap().pop().unwrap();
    assert!(capsule.open(&context, &service.world.keys.capsule, shared).is_err());
}

#[test]
fn shares_must_fit_the_commitments() {
    let mut service = service();
    service.manifest.nodes[1].public = *RemoteKey::generate(service.world.rng()).public_key();
    assert_eq!(service.verified().unwrap_err(), ManifestError::Share { node: 2 });
}
