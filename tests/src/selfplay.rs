//! Both ends of an opening in one place: whoever has k and K_capsule needs nobody else.

use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{Capsule, CapsuleError, Kek};
use symbolon_proto::context::CapsuleContext;
use symbolon_proto::evaluate::{self, Answer, RemoteKey};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, Target};
use symbolon_proto::hierarchy::CapsuleKey;
use symbolon_proto::id::{BrokerId, NodeId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::signing::SigningSeed;

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Blinds, evaluates with k, verifies, unblinds and opens.
pub fn open(
    capsule: &Capsule,
    context: &CapsuleContext,
    key: &CapsuleKey,
    k: &RemoteKey,
) -> Result<Kek, CapsuleError> {
    open_with_shares(capsule, context, key, &[(1, k)])
}

/// The same with shares of k and the numbers of their nodes, as many as are needed.
pub fn open_with_shares(
    capsule: &Capsule,
    context: &CapsuleContext,
    key: &CapsuleKey,
    shares: &[(u16, &RemoteKey)],
) -> Result<Kek, CapsuleError> {
    let target = Target { key: capsule.key(), key_epoch: capsule.key_epoch(), share_epoch: 1 };
    let blinded = Blinded::blind(&[capsule], target, &mut rng()).unwrap();
    let holder = LeaseHolder {
        deployment: context.deployment,
        broker: BrokerId::from_bytes([1; 16]),
        key: capsule.key(),
        generation: 1,
    };
    let evaluation = |(index, share): &(u16, &RemoteKey)| {
        let (node, frame) = answer_as(*index, blinded.request(), &holder, share);
        match evaluate::verify(blinded.request(), &frame, &holder, &node) {
            Ok(Answer::Evaluated(evaluation, _)) => evaluation,
            _ => panic!("his own answer was refused"),
        }
    };
    let evaluations: Vec<_> = shares.iter().map(evaluation).collect();
    let threshold = shares.len().try_into().unwrap();
    let shared = blinded.finalize_threshold(&evaluations, threshold).unwrap().pop().unwrap();
    capsule.open(context, key, shared)
}

/// What an honest service with this key would answer, and how a manifest would describe it.
pub fn answer(request: &EvaluateRequest, holder: &LeaseHolder, k: &RemoteKey) -> (ManifestNode, Vec<u8>) {
    answer_as(1, request, holder, k)
}

fn answer_as(
    index: u16,
    request: &EvaluateRequest,
    holder: &LeaseHolder,
    k: &RemoteKey,
) -> (ManifestNode, Vec<u8>) {
    let seed = SigningSeed::random(&mut rng());
    let terms = LeaseTerms {
        deployment: holder.deployment,
        broker: holder.broker,
        key: holder.key,
        generation: holder.generation,
        seq: 1,
        issued_secs: 0,
        ttl_secs: 60,
        status: KeyState::Active,
        node: index,
    };
    let evaluation = k.evaluate(request, &mut rng());
    let lease = Lease::sign(terms, &seed);
    let response = EvaluateResponse {
        target: *request.target(),
        node_index: index,
        request_hash: *request.hash(),
        quota_left: 0,
        time_secs: 0,
        outcome: EvaluateOutcome::Done { points: evaluation.points, proof: evaluation.proof, lease },
    };
    let node = ManifestNode {
        index,
        node: NodeId::from_bytes([0; 16]),
        public: *k.public_key(),
        signing: seed.public_key(),
        spki_sha256: [0; 32],
    };
    (node, response.to_bytes())
}
