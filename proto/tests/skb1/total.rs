//! Decoders are total (section 15.11): any bytes give a value or an error, never a panic; what was encoded
//! comes back; and what was decoded encodes to the same bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use symbolon_proto::capsule::Capsule;
use symbolon_proto::card::VerifiedCard;
use symbolon_proto::context::Scope;
use symbolon_proto::dkg::DkgFault;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{
    AnchorAnswer, AnchorRequest, AnchorValue, EnrolAnswer, EnrolRequest, Enrolment, EvaluateOutcome,
    EvaluateRequest, EvaluateResponse, FrameType, GroupAnswer, GroupOp, GroupReply, GroupRequest, Heartbeat,
    Hello, ManifestAnswer, ManifestRequest, PresenceAnswer, Request, Status, request_hash,
};
use symbolon_proto::id::{BrokerId, KeyId, RequestId};
use symbolon_proto::lease::Lease;
use symbolon_proto::manifest::VerifiedManifest;
use symbolon_proto::possession::Possession;
use symbolon_proto::proposal::Proposal;
use symbolon_proto::record;
use symbolon_proto::sealedbox;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use crate::world::{TestRng, World};

/// Every decoder of the crate on one input. Where it reads something, writing gives the same bytes.
fn decode_all(bytes: &[u8]) {
    let again = |encoded: Vec<u8>| assert_eq!(encoded, bytes, "decoded, then encoded differently");
    match Request::parse(bytes) {
        Ok(Request::Evaluate(request)) => again(request.to_bytes()),
        Ok(Request::Hello(request)) => again(request.to_bytes()),
        Ok(Request::Heartbeat(request)) => again(request.to_bytes()),
        Ok(Request::Manifest(request)) => again(request.to_bytes()),
        Ok(Request::Anchor(request)) => again(request.to_bytes()),
        Ok(Request::Enrol(request)) => again(request.to_bytes()),
        Ok(Request::Group(request)) => again(request.to_bytes()),
        Err(_) => {}
    }
    let _ = EvaluateResponse::parse(bytes).map(|answer| again(answer.to_bytes()));
    let _ = PresenceAnswer::parse(bytes, FrameType::Hello).map(|answer| again(answer.to_bytes()));
    let _ = PresenceAnswer::parse(bytes, FrameType::Heartbeat).map(|answer| again(answer.to_bytes()));
    let _ = ManifestAnswer::parse(bytes).map(|answer| again(answer.to_bytes()));
    let _ = AnchorAnswer::parse(bytes).map(|answer| again(answer.to_bytes()));
    let _ = EnrolAnswer::parse(bytes).map(|answer| again(answer.to_bytes()));
    let _ = GroupAnswer::parse(bytes).map(|answer| again(answer.to_bytes()));
    let _ = VerifiedCard::parse(bytes).map(|card| again(card.as_bytes().to_vec()));
    let _ = Proposal::parse(bytes).map(|proposal| again(proposal.to_bytes()));
    let _ = Lease::parse(bytes).map(|lease| again(lease.as_bytes().to_vec()));
    let _ = Capsule::parse(bytes).map(|capsule| again(capsule.to_bytes()));
    let _ = record::capsule_of(bytes);
    let root = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(1))).public_key();
    let _ = VerifiedManifest::first(bytes, &root, &World::new(0).holder.deployment);
    let key = Secret::filled_by(|out| out.fill(2));
    assert!(sealedbox::open(&key, b"context", bytes).is_err());
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<Fingerprint>();
    let _ = text.parse::<KeyId>();
}

/// One valid message of every kind.
fn messages(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut world = World::new(seed);
    let points = (0..count).map(|_| *RemoteKey::generate(world.rng()).public_key().point()).collect();
    let id = RequestId::random(world.rng());
    let evaluate = EvaluateRequest::new(world.target(), id, points).unwrap();
    let hash = *evaluate.hash();
    let (holder, key, lease) = (world.holder, world.holder.key, Some(world.lease()));
    let refused = EvaluateOutcome::Refused { status: Status::Suspended, lease: lease.clone() };
    let context = world.capsule_context(Scope::Bucket);
    let presence = |frame_type, lease| PresenceAnswer {
        frame_type,
        status: if lease { Status::Ok } else { Status::Busy },
        node_index: 1,
        request_hash: hash,
        time_secs: seed,
        lease: lease.then(|| world.lease()),
    };
    let value = AnchorValue { counter: seed, value: [3; 32] };
    let anchor =
        |put| AnchorRequest { deployment: holder.deployment, broker: holder.broker, key, put, nonce: id };
    let enrolled = Enrolment::Enrolled {
        root_key: world.node_seed.public_key(),
        possession: Possession::from_bytes([4; 64]),
        manifest: vec![5; 300],
    };
    let group = |op| GroupRequest { nonce: id, op }.to_bytes();
    let did = |op, outcome| GroupAnswer { request_hash: hash, op, outcome }.to_bytes();
    let signing_key = world.node_seed.public_key();
    let enrol =
        EnrolRequest { deployment: holder.deployment, broker: holder.broker, signing_key, nonce: [6; 32] };
    vec![
        evaluate.to_bytes(),
        evaluate.clone().for_restore().to_bytes(),
        Hello::new(holder, id).to_bytes(),
        Heartbeat::new(holder, id).to_bytes(),
        ManifestRequest { key, after_seq: seed, nonce: id }.to_bytes(),
        anchor(Some(value)).to_bytes(),
        anchor(None).to_bytes(),
        enrol.to_bytes(),
        presence(FrameType::Hello, true).to_bytes(),
        presence(FrameType::Heartbeat, false).to_bytes(),
        ManifestAnswer { status: Status::Ok, request_hash: hash, manifests: vec![vec![7; 794]; 8] }
            .to_bytes(),
        AnchorAnswer { status: Status::StaleAnchor, request_hash: hash, stored: Some(value) }.to_bytes(),
        EnrolAnswer { request_hash: hash, enrolment: enrolled }.to_bytes(),
        EnrolAnswer { request_hash: hash, enrolment: Enrolment::Pending }.to_bytes(),
        EnrolAnswer { request_hash: hash, enrolment: Enrolment::Refused }.to_bytes(),
        world.lease().as_bytes().to_vec(),
        world.outcome(&evaluate, refused).to_bytes(),
        world.honest(&evaluate).to_bytes(),
        world.close(&context).0.to_bytes(),
        group(GroupOp::Card),
        group(GroupOp::Propose { proposal: vec![8; 400] }),
        group(GroupOp::Acknowledge { key, key_epoch: 1, share_epoch: 2 }),
        group(GroupOp::StoreManifest { manifest: vec![9; 794] }),
        did(4, Ok(GroupReply::Certified([1; 64]))),
        did(4, Err(DkgFault::Share.by(2).into())),
        did(6, Ok(GroupReply::ManifestSigned { node: [1; 64], root: Some([2; 64]) })),
    ]
}

/// How many decoders read `bytes`.
fn readers(bytes: &[u8]) -> usize {
    [
        Request::parse(bytes).is_ok(),
        EvaluateResponse::parse(bytes).is_ok(),
        PresenceAnswer::parse(bytes, FrameType::Hello).is_ok(),
        PresenceAnswer::parse(bytes, FrameType::Heartbeat).is_ok(),
        ManifestAnswer::parse(bytes).is_ok(),
        AnchorAnswer::parse(bytes).is_ok(),
        EnrolAnswer::parse(bytes).is_ok(),
        GroupAnswer::parse(bytes).is_ok(),
        Lease::parse(bytes).is_ok(),
        Capsule::parse(bytes).is_ok(),
    ]
    .into_iter()
    .filter(|read| *read)
    .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..4096)) {
        decode_all(&bytes);
    }

    /// Random bytes behind a true header get deeper.
    #[test]
    fn random_bodies_never_panic(
        kind in 0_u8..8,
        op in 0_u8..14,
        answer in any::<bool>(),
        body in vec(any::<u8>(), 0..2200),
    ) {
        let type_byte = kind | if answer { 0x80 } else { 0 };
        decode_all(&[b"SKB1", &[type_byte, 1][..], &body].concat());
        decode_all(&[b"SKB1", &[7 | type_byte & 0x80, 1, 1, op][..], &body].concat());
        decode_all(&[b"SKB1/card\x01\x01", &body[..]].concat());
        decode_all(&[b"SKB1/proposal\x01\x01", &body[..]].concat());
        decode_all(&[b"SKB1/lease", &body[..]].concat());
        decode_all(&[b"SKB1/manifest\x01", &body[..]].concat());
    }

    #[test]
    fn valid_messages_come_back(seed in any::<u64>(), count in 1_usize..=64) {
        for message in messages(seed, count) {
            prop_assert_eq!(readers(&message), 1);
            decode_all(&message);
        }
    }

    /// A changed byte, a cut and an appended byte: no panic, and no second spelling of a message.
    #[test]
    fn damaged_messages_never_panic(seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        for message in messages(seed, 2) {
            let position = at.index(message.len());
            let mut damaged = message.clone();
            damaged[position] ^= flip;
            decode_all(&damaged);
            decode_all(&message[..position]);
            prop_assert_eq!(readers(&message[..position]), 0);
            prop_assert_eq!(readers(&[&message[..], &[0]].concat()), 0);
        }
    }

    #[test]
    fn records_come_back(seed in any::<u64>(), value in vec(any::<u8>(), 0..2000)) {
        let mut world = World::new(seed);
        let kek = symbolon_proto::capsule::Kek::random(world.rng());
        let (context, capsule) = (world.record_context(), symbolon_proto::id::CapsuleId::random(world.rng()));
        let sealed = record::seal(&kek, &context, &capsule, &value, world.rng()).unwrap();
        prop_assert_eq!(sealed.len(), value.len() + record::RECORD_OVERHEAD_BYTES);
        prop_assert_eq!(&*record::open(&kek, &context, &capsule, &sealed).unwrap(), &value);
    }

    #[test]
    fn ids_and_fingerprints_come_back(seed in any::<u64>()) {
        let id = BrokerId::random(&mut TestRng::new(seed));
        prop_assert_eq!(id.to_string().parse::<BrokerId>(), Ok(id));
        let fingerprint = Fingerprint::of(id.as_bytes());
        prop_assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
    }
}

/// Counts that lie about what follows are refused before anything is allocated for them.
#[test]
fn claimed_counts_are_bounded() {
    for count in [0_u16, 65, u16::MAX] {
        let mut frame = messages(1, 1).remove(0);
        frame[48..50].copy_from_slice(&count.to_be_bytes());
        assert!(EvaluateRequest::parse(&frame).is_err());
    }
    let manifests = ManifestAnswer {
        status: Status::Ok,
        request_hash: request_hash(b"request"),
        manifests: vec![Vec::new(); 20],
    };
    assert_eq!(ManifestAnswer::parse(&manifests.to_bytes()).unwrap().manifests.len(), 8);
}
