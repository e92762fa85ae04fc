//! t of n: every subset opens, liars are named and tolerated, absence costs little, and leases are counted.

use std::time::Duration;

use symbolon_core::clock::Clock;
use symbolon_proto::evaluate::{EvaluateError as Misbehaviour, Fault, RemoteKey};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameType, Status};
use symbolon_proto::lease::{KeyState, Lease};
use symbolon_proto::signing::SigningSeed;
use tokio::time::Instant;

use super::fake::Node;
use super::ring::Ring;
use crate::random::os_rng;
use crate::remote::group::canary::canary;
use crate::remote::quorum::HEDGE_AFTER;
use crate::remote::{EvaluateError, FragmentProblem, LeaseState, NodeFailure};

type Lie = Box<dyn Fn(&Node, &EvaluateRequest, EvaluateResponse) -> EvaluateResponse + Send + Sync>;

/// Changes what was done, in an answer that says that it was.
fn done(
    change: impl Fn(&mut Vec<symbolon_proto::group::Point>, &mut Option<symbolon_proto::dleq::Proof>, &mut Lease)
    + Send
    + Sync
    + 'static,
) -> Lie {
    Box::new(move |_, _, mut response| {
        if let EvaluateOutcome::Done { points, proof, lease } = &mut response.outcome {
            change(points, proof, lease);
        }
        response
    })
}

fn every_lie() -> Vec<(&'static str, Lie)> {
    let other = RemoteKey::generate(&mut os_rng());
    let stranger = SigningSeed::random(&mut os_rng());
    let wrong_key: Lie = Box::new(move |_, request, mut response| {
        let made = other.evaluate(request, &mut os_rng());
        if let EvaluateOutcome::Done { points, proof, .. } = &mut response.outcome {
            (*points, *proof) = (made.points, made.proof);
        }
        response
    });
    let forged: Lie = Box::new(move |node, _, mut response| {
        let mut terms = None;
        node.lease(1, |honest| terms = Some(*honest));
        if let EvaluateOutcome::Done { lease, .. } = &mut response.outcome {
            *lease = Lease::sign(terms.unwrap(), &stranger);
        }
        response
    });
    let replayed: Lie = Box::new(|_, _, response| EvaluateResponse { request_hash: [7; 32], ..response });
    vec![
        ("a wrong key", wrong_key),
        ("exchanged points", done(|points, _, _| points.swap(0, 1))),
        ("missing points", done(|points, _, _| points.truncate(1))),
        ("no proof", done(|_, proof, _| *proof = None)),
        ("a forged lease", forged),
        ("a replay", replayed),
        (
            "another node's name",
            Box::new(|_, _, mut response| {
                response.node_index += 1;
                response
            }),
        ),
        (
            "another share epoch",
            Box::new(|_, _, mut response| {
                response.target.share_epoch += 1;
                response
            }),
        ),
    ]
}

#[tokio::test]
async fn every_three_of_five_open() {
    let ring = Ring::set(3, 5).await;
    let silent = [(1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 5)];
    for (a, b) in silent {
        ring.goes_silent(a);
        ring.goes_silent(b);
        ring.half.round_trip(&ring.remote, 3).await.unwrap();
        ring.is_honest(a);
        ring.is_honest(b);
    }
}

#[tokio::test]
async fn one_liar_of_five_is_named_and_tolerated_whatever_the_lie() {
    for (what, lie) in every_lie() {
        let ring = Ring::set(3, 5).await;
        let manifest = ring.remote.manifest();
        let until = ring.leases.usable_until(ring.node(1).clock.now());
        ring.now_lies(1, lie);
        ring.half.round_trip(&ring.remote, 3).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(ring.remote.report()[1..].iter().all(|node| node.incidents == 0), "{what}");
        assert_eq!(ring.remote.manifest(), manifest);
        assert!(ring.leases.usable_until(ring.node(1).clock.now()) >= until, "{what}");
        // With two others away the liar is needed, so its lie must be seen.
        (2..=3).for_each(|index| ring.goes_away(index));
        let error = ring.half.round_trip(&ring.remote, 3).await.unwrap_err();
        assert!(error.to_string().contains("fragment service node 1: "), "{what}: {error}");
        assert!(ring.remote.report()[0].incidents > 0, "{what}");
    }
}

#[tokio::test]
async fn too_many_liars_are_all_named() {
    let ring = Ring::set(3, 5).await;
    for index in [2, 4, 5] {
        ring.now_lies(index, done(|_, proof, _| *proof = None));
    }
    let error = ring.half.round_trip(&ring.remote, 1).await.unwrap_err();
    assert_eq!(error.problem(), FragmentProblem::Lied);
    let text = error.to_string();
    let EvaluateError::TooFew { threshold: 3, failures, .. } = error else { panic!("{text}") };
    let mut named: Vec<_> = failures.iter().map(|failure| failure.node).collect();
    named.sort_unstable();
    assert_eq!(named, [2, 4, 5]);
    for NodeFailure { node, error } in failures {
        assert_eq!(error, EvaluateError::Lied(Misbehaviour { node, fault: Fault::NoProof }));
        assert!(text.contains(&format!("node {node}: ")), "{text}");
    }
}

#[tokio::test]
async fn two_of_five_offline_cost_one_hedging_delay_once() {
    let ring = Ring::set(3, 5).await;
    ring.half.round_trip(&ring.remote, 1).await.unwrap();
    let quickest = {
        let mut nodes = ring.remote.report();
        nodes.sort_by_key(|node| node.latency_micros);
        [nodes[0].index, nodes[1].index]
    };
    quickest.iter().for_each(|index| ring.goes_silent(*index));
    ring.half.round_trip(&ring.remote, 1).await.unwrap();
    // They were waited for until the others were asked, and that counts in full: from now on they stand
    // behind.
    let hedge_micros = u64::try_from(HEDGE_AFTER.as_micros()).unwrap();
    let behind = || {
        let report = ring.remote.report();
        let mut silent = report.iter().filter(|node| quickest.contains(&node.index));
        silent.all(|node| node.latency_micros >= hedge_micros)
    };
    while !behind() {
        tokio::task::yield_now().await; // questions that were given up end when the runtime gets to them
    }
    ring.half.round_trip(&ring.remote, 8).await.unwrap();
}

#[tokio::test]
async fn silence_of_too_many_costs_the_deadline_and_names_them() {
    let ring = Ring::build(2, 3, 2_000).await;
    ring.remote.hello(1).await.unwrap();
    ring.goes_silent(1);
    ring.goes_silent(3);
    let since = Instant::now();
    let error = ring.half.round_trip(&ring.remote, 1).await.unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(10), "the deadline covers the whole");
    assert_eq!(error.problem(), FragmentProblem::Silent);
    let EvaluateError::TooFew { threshold: 2, answered: 1, failures } = error else { panic!("{error}") };
    let mut named: Vec<_> = failures.into_iter().map(|failure| failure.node).collect();
    named.sort_unstable();
    assert_eq!(named, [1, 3]);
}

#[tokio::test]
async fn shares_of_different_epochs_are_not_mixed() {
    let ring = Ring::set(2, 3).await;
    let refused = |_: &Node, _: &EvaluateRequest, response: EvaluateResponse| EvaluateResponse {
        outcome: EvaluateOutcome::Refused { status: Status::WrongShareEpoch, lease: None },
        ..response
    };
    ring.now_lies(1, refused);
    ring.half.round_trip(&ring.remote, 1).await.unwrap();
    ring.now_lies(2, refused);
    let error = ring.half.round_trip(&ring.remote, 1).await.unwrap_err();
    let EvaluateError::TooFew { failures, .. } = error else { panic!("{error}") };
    assert!(failures.iter().all(|failure| failure.error == EvaluateError::WrongEpoch), "{failures:?}");
}

#[tokio::test]
async fn one_node_can_neither_suspend_nor_fence_alone() {
    let ring = Ring::set(2, 3).await;
    let flushes = ring.leases.flushes();
    let now = || ring.node(1).clock.now();
    let suspended = |node: &Node, frame: &[u8]| {
        let lease = node.lease(1, |terms| terms.status = KeyState::Suspended);
        let Ok(request) = EvaluateRequest::parse(frame) else {
            let mut answer = node.presence(FrameType::Heartbeat, frame);
            answer.lease = Some(lease);
            return Some(answer.to_bytes());
        };
        let outcome = EvaluateOutcome::Refused { status: Status::Suspended, lease: Some(lease) };
        Some(EvaluateResponse { outcome, ..node.evaluated(&request) }.to_bytes())
    };
    ring.now_behaves(3, suspended);
    assert_eq!(ring.remote.heartbeat().await, Ok(LeaseState::Active));
    ring.half.round_trip(&ring.remote, 2).await.unwrap();
    assert!(!flushes.has_changed().unwrap());
    ring.now_behaves(2, suspended);
    let error = ring.remote.heartbeat().await.unwrap_err();
    assert_eq!(error.problem(), FragmentProblem::Suspended);
    assert!(flushes.has_changed().unwrap(), "two of three can cut off");
    assert_eq!(ring.leases.usable_until(now()), 0);
    assert_eq!(ring.leases.summary(now()), "suspended 1/3");
    assert!(ring.half.round_trip(&ring.remote, 1).await.is_err());
    ring.is_honest(2);
    assert_eq!(ring.remote.heartbeat().await, Ok(LeaseState::Active), "and give back");
    ring.half.round_trip(&ring.remote, 1).await.unwrap();
}

#[tokio::test]
async fn a_hello_does_not_wait_for_the_absent() {
    let ring = Ring::build(2, 3, 20_000).await;
    ring.goes_silent(2);
    let since = Instant::now();
    assert_eq!(ring.remote.hello(1).await, Ok(LeaseState::Active));
    assert!(since.elapsed() < Duration::from_secs(10));
    ring.half.round_trip(&ring.remote, 64).await.unwrap();
}

#[tokio::test]
async fn pins_follow_the_manifest() {
    let ring = Ring::set(2, 3).await;
    let hash = ring.remote.manifest().hash();
    let next = ring.signed(|manifest| {
        (manifest.seq, manifest.prev_hash) = (2, hash);
        manifest.share_epoch = 2; // nodes change with their shares only
        manifest.nodes[2].spki_sha256 = [8; 32];
    });
    for index in 1..=3 {
        let next = next.clone();
        ring.now_behaves(index, move |node, frame| {
            match symbolon_proto::frame::ManifestRequest::parse(frame) {
                Ok(asked) if asked.after_seq == 1 => Some(node.chain(frame, vec![next.clone()])),
                _ => Some(node.honest(frame)),
            }
        });
    }
    ring.remote.refresh_manifest().await.unwrap();
    ring.now_lies(1, |_, _, response| EvaluateResponse {
        outcome: EvaluateOutcome::Refused { status: Status::Busy, lease: None },
        ..response
    });
    let error = ring.half.round_trip(&ring.remote, 1).await.unwrap_err();
    let EvaluateError::TooFew { failures, .. } = error else { panic!("{error}") };
    assert!(failures.contains(&NodeFailure { node: 3, error: EvaluateError::Impostor { node: 3 } }));
}

/// The drill of a refresh: the word of every node counts.
#[tokio::test]
async fn a_canary_needs_every_node() {
    let ring = Ring::set(3, 5).await;
    let unsealed = crate::testing::unsealed();
    let mut steps = Vec::new();
    canary(&ring.remote, &unsealed, |done, total| steps.push((done, total))).await.unwrap();
    assert_eq!(steps, [(1, 3), (2, 3), (3, 3)]);
    for index in 1..=5 {
        ring.goes_away(index);
        canary(&ring.remote, &unsealed, |_, _| ()).await.unwrap_err();
        ring.is_honest(index);
    }
}
