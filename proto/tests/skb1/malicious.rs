//! The malicious remote (section 15.3): every lie names the node, changes nothing, and the honest answer to
//! the same request still works afterwards.

use symbolon_proto::blind::{BlindError, Blinded, FinalizeError};
use symbolon_proto::codec::DecodeError;
use symbolon_proto::evaluate::{Answer, EvaluateError, Fault, Refusal, RemoteKey};
use symbolon_proto::frame::{
    EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameError, FrameType, Heartbeat, Hello, Presence,
    PresenceAnswer, Status, Target, request_hash,
};
use symbolon_proto::group::{PointError, ScalarError};
use symbolon_proto::lease::{KeyState, Lease, LeaseError, LeaseTerms, Standing};
use symbolon_proto::signing::SigningSeed;

use crate::world::World;

const POINTS_AT: usize = 80;

/// Lets `lie` spoil the honest answer to a batch of `count` and expects `fault`.
fn check(
    count: usize,
    fault: Fault,
    lie: impl FnOnce(&mut World, &EvaluateRequest, EvaluateResponse) -> Vec<u8>,
) {
    let mut world = World::new(1);
    let (capsules, blinded) = world.blinded(count);
    let honest = world.honest(blinded.request());
    let frame = lie(&mut world, blinded.request(), honest);
    let error = world.verify(blinded.request(), &frame).unwrap_err();
    assert_eq!(error, EvaluateError { node: 1, fault });

    let frame = world.honest(blinded.request()).to_bytes();
    let Answer::Evaluated(evaluation, lease) = world.verify(blinded.request(), &frame).unwrap() else {
        panic!("the honest answer was refused");
    };
    assert_eq!(lease.standing(), Standing::Active);
    assert_eq!(blinded.finalize(evaluation).unwrap().len(), capsules.len());
}

fn with_points(
    honest: EvaluateResponse,
    change: impl FnOnce(&mut Vec<symbolon_proto::group::Point>),
) -> Vec<u8> {
    let EvaluateOutcome::Done { mut points, proof, lease } = honest.outcome else {
        panic!("not an evaluation")
    };
    change(&mut points);
    EvaluateResponse { outcome: EvaluateOutcome::Done { points, proof, lease }, ..honest }.to_bytes()
}

#[test]
fn evaluates_with_another_key() {
    for count in [1, 2, 64] {
        check(count, Fault::Proof, |world, request, _| {
            let other = RemoteKey::generate(world.rng()).evaluate(request, world.rng());
            world.response(request, other).to_bytes()
        });
    }
}

#[test]
fn swaps_items() {
    check(2, Fault::Proof, |_, _, honest| with_points(honest, |points| points.swap(0, 1)));
    check(64, Fault::Proof, |_, _, honest| with_points(honest, |points| points.swap(62, 63)));
}

#[test]
fn spoils_one_item() {
    check(8, Fault::Proof, |world, _, honest| {
        let other = *RemoteKey::generate(world.rng()).public_key().point();
        with_points(honest, |points| points[5] = other)
    });
}

#[test]
fn sends_the_identity() {
    let fault = Fault::Frame(FrameError::Point { index: 3, error: PointError::Identity });
    check(8, fault, |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame[POINTS_AT + 3 * 32..][..32].fill(0);
        frame
    });
}

#[test]
fn sends_a_strange_encoding() {
    let fault = Fault::Frame(FrameError::Point { index: 0, error: PointError::NotCanonical });
    check(1, fault, |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame[POINTS_AT..][..32].fill(0xff);
        frame
    });
}

#[test]
fn sends_strange_proof_scalars() {
    let proof_at = POINTS_AT + 32;
    check(1, Fault::Frame(FrameError::Scalar(ScalarError::NotCanonical)), |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame[proof_at + 31] |= 0xf0;
        frame
    });
    check(1, Fault::Frame(FrameError::Scalar(ScalarError::Zero)), |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame[proof_at..][..32].fill(0);
        frame
    });
    check(1, Fault::NoProof, |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame[proof_at..][..64].fill(0);
        frame
    });
}

#[test]
fn answers_for_another_epoch_key_or_node() {
    let target = World::new(1).target();
    let stale = [
        Target { share_epoch: target.share_epoch - 1, ..target },
        Target { key_epoch: target.key_epoch - 1, ..target },
        Target { key: symbolon_proto::id::KeyId::from_bytes([0; 16]), ..target },
    ];
    for found in stale {
        check(1, Fault::OtherTarget { found }, |_, _, honest| {
            EvaluateResponse { target: found, ..honest }.to_bytes()
        });
    }
    check(1, Fault::OtherNode { found: 2 }, |_, _, honest| {
        EvaluateResponse { node_index: 2, ..honest }.to_bytes()
    });
}

#[test]
fn replays_an_answer() {
    check(1, Fault::OtherRequest, |world, _, _| {
        let (_, earlier) = world.blinded(1);
        world.honest(earlier.request()).to_bytes()
    });
    // The same with the hash of the new request written over the old one.
    check(1, Fault::Proof, |world, request, _| {
        let (_, earlier) = world.blinded(1);
        let replayed = world.honest(earlier.request());
        EvaluateResponse { request_hash: *request.hash(), ..replayed }.to_bytes()
    });
    // The same points under a new request id: the challenge binds the whole request.
    check(1, Fault::Proof, |world, request, _| {
        let id = symbolon_proto::id::RequestId::from_bytes([9; 16]);
        let other = EvaluateRequest::new(*request.target(), id, request.points().to_vec()).unwrap();
        let replayed = world.honest(&other);
        EvaluateResponse { request_hash: *request.hash(), ..replayed }.to_bytes()
    });
}

#[test]
fn truncates_the_batch() {
    check(8, Fault::Count { found: 7, asked: 8 }, |world, request, _| {
        let shorter = request.points()[..7].to_vec();
        let shorter = EvaluateRequest::new(*request.target(), request.id(), shorter).unwrap();
        let evaluation = world.remote.evaluate(&shorter, &mut world.rng);
        world.response(request, evaluation).to_bytes()
    });
    let cut = Fault::Frame(FrameError::Layout(DecodeError::Truncated { missing: 1 }));
    check(1, cut, |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame.pop();
        frame
    });
    let longer = Fault::Frame(FrameError::Layout(DecodeError::Trailing { extra: 1 }));
    check(1, longer, |_, _, honest| {
        let mut frame = honest.to_bytes();
        frame.push(0);
        frame
    });
}

#[test]
fn forges_a_lease() {
    check(1, Fault::Lease(LeaseError::Signature), |world, _, honest| {
        let forged = Lease::sign(world.terms(), &SigningSeed::random(world.rng()));
        with_lease(honest, forged)
    });
    check(1, Fault::Lease(LeaseError::OtherHolder), |world, _, honest| {
        let broker = symbolon_proto::id::BrokerId::from_bytes([1; 16]);
        with_lease(honest, Lease::sign(LeaseTerms { broker, ..world.terms() }, &world.node_seed))
    });
    check(1, Fault::Lease(LeaseError::OlderGeneration { found: 2, ours: 3 }), |world, _, honest| {
        with_lease(honest, Lease::sign(LeaseTerms { generation: 2, ..world.terms() }, &world.node_seed))
    });
}

fn with_lease(honest: EvaluateResponse, lease: Lease) -> Vec<u8> {
    let EvaluateOutcome::Done { points, proof, .. } = honest.outcome else { panic!("not an evaluation") };
    EvaluateResponse { outcome: EvaluateOutcome::Done { points, proof, lease }, ..honest }.to_bytes()
}

/// A manifest with y' of another key: what was closed for it never opens, and the canary's evaluation shows
/// it.
#[test]
fn publishes_a_public_key_it_does_not_hold() {
    let mut world = World::new(2);
    let (_, blinded) = world.blinded(1);
    let frame = world.honest(blinded.request()).to_bytes();
    world.remote = RemoteKey::generate(world.rng());
    let error = world.verify(blinded.request(), &frame).unwrap_err();
    assert_eq!(error, EvaluateError { node: 1, fault: Fault::Proof });
}

#[test]
fn unsigned_bad_news_counts_as_busy() {
    let mut world = World::new(3);
    let (_, blinded) = world.blinded(1);
    let refusal = |status, lease| {
        let frame = world.outcome(blinded.request(), EvaluateOutcome::Refused { status, lease }).to_bytes();
        match world.verify(blinded.request(), &frame) {
            Ok(Answer::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let signed = |terms| Some(Lease::sign(terms, &world.node_seed));
    let forged = Some(Lease::sign(
        LeaseTerms { status: KeyState::Suspended, ..world.terms() },
        &SigningSeed::random(&mut crate::world::TestRng::new(9)),
    ));
    for status in [Status::Suspended, Status::Destroyed, Status::StaleGeneration] {
        assert_eq!(refusal(status, None), Refusal::Busy);
        assert_eq!(refusal(status, forged.clone()), Refusal::Busy);
        // A true lease that says something else than the status.
        assert_eq!(refusal(status, signed(world.terms())), Refusal::Busy);
    }
    let suspended = signed(LeaseTerms { status: KeyState::Suspended, ..world.terms() });
    assert!(matches!(refusal(Status::Suspended, suspended.clone()), Refusal::Suspended(_)));
    assert_eq!(refusal(Status::Destroyed, suspended), Refusal::Busy);
    let destroyed = signed(LeaseTerms { status: KeyState::Destroyed, ..world.terms() });
    assert!(matches!(refusal(Status::Destroyed, destroyed), Refusal::Destroyed(_)));
    let newer = signed(LeaseTerms { generation: 4, ..world.terms() });
    assert!(matches!(refusal(Status::StaleGeneration, newer), Refusal::StaleGeneration(_)));
    for (status, expected) in [
        (Status::UnknownKey, Refusal::UnknownKey),
        (Status::WrongKeyEpoch, Refusal::WrongKeyEpoch),
        (Status::WrongShareEpoch, Refusal::WrongShareEpoch),
        (Status::QuotaExhausted, Refusal::QuotaExhausted),
        (Status::Malformed, Refusal::Malformed),
        (Status::Busy, Refusal::Busy),
    ] {
        assert_eq!(refusal(status, None), expected);
    }
}

/// A refusal must answer this request too: an old "suspended" cannot be replayed.
#[test]
fn replays_a_suspension() {
    let mut world = World::new(4);
    let ((_, earlier), (_, blinded)) = (world.blinded(1), world.blinded(1));
    let lease = Lease::sign(LeaseTerms { status: KeyState::Suspended, ..world.terms() }, &world.node_seed);
    let outcome = EvaluateOutcome::Refused { status: Status::Suspended, lease: Some(lease) };
    let frame = world.outcome(earlier.request(), outcome).to_bytes();
    let error = world.verify(blinded.request(), &frame).unwrap_err();
    assert_eq!(error.fault, Fault::OtherRequest);
}

#[test]
fn evaluations_belong_to_their_request() {
    let mut world = World::new(5);
    let ((_, first), (_, second)) = (world.blinded(1), world.blinded(1));
    let frame = world.honest(first.request()).to_bytes();
    let Ok(Answer::Evaluated(evaluation, _)) = world.verify(first.request(), &frame) else { panic!() };
    assert_eq!(second.finalize(evaluation).err(), Some(FinalizeError::OtherRequest { node: 1 }));
}

#[test]
fn batches_are_padded_and_bounded() {
    let mut world = World::new(6);
    for (count, padded) in [(1, 1), (2, 8), (8, 8), (9, 64), (64, 64)] {
        assert_eq!(world.blinded(count).1.request().points().len(), padded);
    }
    let (capsules, _) = world.blinded(1);
    let target = world.target();
    let many = vec![&capsules[0]; 65];
    assert_eq!(Blinded::blind(&[], target, world.rng()).err(), Some(BlindError::Count { found: 0 }));
    assert_eq!(Blinded::blind(&many, target, world.rng()).err(), Some(BlindError::Count { found: 65 }));
    let other = Target { key_epoch: 1, ..target };
    let error = Blinded::blind(&[&capsules[0]], other, world.rng()).err();
    assert_eq!(error, Some(BlindError::OtherTarget { index: 0 }));
}

/// Hello and heartbeat: the lease is verified, the answer is to this request, and bad news needs a signature.
#[test]
fn lies_to_a_heartbeat() {
    let mut world = World::new(7);
    let nonce = symbolon_proto::id::RequestId::random(world.rng());
    let (hello, heartbeat) = (Hello::new(world.holder, nonce), Heartbeat::new(world.holder, nonce));
    let answer = |status, lease| PresenceAnswer {
        frame_type: FrameType::Heartbeat,
        status,
        node_index: 1,
        request_hash: request_hash(&heartbeat.to_bytes()),
        time_secs: 0,
        lease,
    };
    let honest = answer(Status::Ok, Some(world.lease()));
    let verify = |answer: &PresenceAnswer| heartbeat.verify(&answer.to_bytes(), &world.node());
    let Ok(Presence::Lease(lease)) = verify(&honest) else { panic!("the honest answer was refused") };
    assert_eq!(lease.standing(), Standing::Active);

    let forged = Lease::sign(world.terms(), &SigningSeed::random(&mut crate::world::TestRng::new(8)));
    let fault = |fault| Err(EvaluateError { node: 1, fault });
    let signature = fault(Fault::Lease(LeaseError::Signature));
    assert_eq!(verify(&answer(Status::Ok, Some(forged))), signature);
    assert_eq!(
        verify(&PresenceAnswer { node_index: 2, ..honest.clone() }),
        fault(Fault::OtherNode { found: 2 })
    );
    assert_eq!(
        verify(&PresenceAnswer { request_hash: [0; 32], ..honest.clone() }),
        fault(Fault::OtherRequest)
    );
    let other_type = fault(Fault::Frame(FrameError::Type { found: 0x83 }));
    assert_eq!(hello.verify(&honest.to_bytes(), &world.node()), other_type);
    assert_eq!(verify(&answer(Status::Suspended, None)), Ok(Presence::Refused(Refusal::Busy)));
    let suspended =
        Lease::sign(LeaseTerms { status: KeyState::Suspended, ..world.terms() }, &world.node_seed);
    let believed = verify(&answer(Status::Suspended, Some(suspended)));
    assert!(matches!(believed, Ok(Presence::Refused(Refusal::Suspended(_)))));
}
