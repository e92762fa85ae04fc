use std::sync::Mutex;
use std::time::Duration;

use symbolon_proto::evaluate::{EvaluateError as Misbehaviour, Fault, RemoteKey};
use symbolon_proto::frame::{
    EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameError, FrameType, Status,
};
use symbolon_proto::lease::{KeyState, Lease, LeaseError};
use symbolon_proto::manifest::ManifestError;
use symbolon_proto::signing::SigningSeed;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::fake::{Node, Stage};
use crate::random::os_rng;
use crate::remote::{EvaluateError, LeaseState};
use symbolon_core::clock::Clock;

/// The fault that node 1 is blamed for, when it changes its answers like this. The broker's state must not
/// change.
async fn blamed(
    lie: impl Fn(&Node, &EvaluateRequest, EvaluateResponse) -> EvaluateResponse + Send + Sync + 'static,
) -> Fault {
    let stage = Stage::set().await;
    stage.half.round_trip(&stage.remote, 3).await.unwrap();
    let (until, manifest) = (stage.leases.usable_until(stage.node.clock.now()), stage.remote.manifest());
    let flushes = stage.leases.flushes();
    stage.now_lies(lie);
    let error = stage.half.round_trip(&stage.remote, 3).await.unwrap_err();
    let EvaluateError::Lied(Misbehaviour { node: 1, fault }) = error else { panic!("{error}") };
    assert!(error.to_string().contains("node 1"), "{error}");
    assert_eq!(stage.leases.usable_until(stage.node.clock.now()), until, "a liar changes no lease");
    assert!(!flushes.has_changed().unwrap());
    assert_eq!(stage.remote.manifest(), manifest);
    fault
}

fn done(response: EvaluateResponse, change: impl FnOnce(&mut EvaluateOutcome)) -> EvaluateResponse {
    let mut response = response;
    change(&mut response.outcome);
    response
}

#[tokio::test]
async fn a_wrong_key_is_proven_wrong() {
    let other = RemoteKey::generate(&mut os_rng());
    let fault = blamed(move |_, request, response| {
        let evaluation = other.evaluate(request, &mut os_rng());
        done(response, |outcome| {
            if let EvaluateOutcome::Done { points, proof, .. } = outcome {
                (*points, *proof) = (evaluation.points, evaluation.proof);
            }
        })
    });
    assert_eq!(fault.await, Fault::Proof);
}

#[tokio::test]
async fn exchanged_and_missing_points_are_noticed() {
    let swapped = blamed(|_, _, response| {
        done(response, |outcome| {
            if let EvaluateOutcome::Done { points, .. } = outcome {
                points.swap(0, 1);
            }
        })
    });
    assert_eq!(swapped.await, Fault::Proof);
    let truncated = blamed(|_, _, response| {
        done(response, |outcome| {
            if let EvaluateOutcome::Done { points, .. } = outcome {
                points.truncate(1);
            }
        })
    });
    assert_eq!(truncated.await, Fault::Count { found: 1, asked: 8 });
    let unproven = blamed(|_, _, response| {
        done(response, |outcome| {
            if let EvaluateOutcome::Done { proof, .. } = outcome {
                *proof = None;
            }
        })
    });
    assert_eq!(unproven.await, Fault::NoProof);
}

#[tokio::test]
async fn replays_other_nodes_and_other_epochs_are_noticed() {
    let first: Mutex<Option<EvaluateResponse>> = Mutex::new(None);
    let stage = Stage::set().await;
    stage.now_lies(move |_, _, response| first.lock().unwrap().get_or_insert(response).clone());
    stage.half.round_trip(&stage.remote, 1).await.unwrap();
    let replayed = stage.half.round_trip(&stage.remote, 1).await.unwrap_err();
    assert_eq!(replayed, EvaluateError::Lied(Misbehaviour { node: 1, fault: Fault::OtherRequest }));
    let fault = blamed(|_, _, mut response| {
        response.node_index = 2;
        response
    });
    assert_eq!(fault.await, Fault::OtherNode { found: 2 });
    let fault = blamed(|_, _, mut response| {
        response.target.share_epoch = 2;
        response
    });
    assert!(matches!(fault.await, Fault::OtherTarget { .. }));
}

#[tokio::test]
async fn forged_leases_are_noticed() {
    let stranger = SigningSeed::random(&mut os_rng());
    let fault = blamed(move |node, _, response| {
        let forged = Lease::sign(lease_terms(node), &stranger);
        done(response, |outcome| {
            if let EvaluateOutcome::Done { lease, .. } = outcome {
                *lease = forged;
            }
        })
    });
    assert_eq!(fault.await, Fault::Lease(LeaseError::Signature));
}

fn lease_terms(node: &Node) -> symbolon_proto::lease::LeaseTerms {
    let mut copy = None;
    node.lease(1, |terms| copy = Some(*terms));
    copy.unwrap()
}

#[tokio::test]
async fn unusable_points_are_noticed() {
    for bad in [[0; 32], [0xff; 32]] {
        let stage = Stage::set().await;
        stage.now_behaves(move |node, frame| {
            let mut answer = node.honest(frame);
            if EvaluateRequest::parse(frame).is_ok() {
                answer[80..112].copy_from_slice(&bad);
            }
            Some(answer)
        });
        let error = stage.half.round_trip(&stage.remote, 1).await.unwrap_err();
        let EvaluateError::Lied(Misbehaviour {
            fault: Fault::Frame(FrameError::Point { index: 0, .. }), ..
        }) = error
        else {
            panic!("{error}")
        };
    }
}

#[tokio::test]
async fn truncated_and_endless_answers_are_noticed() {
    let stage = Stage::set().await;
    stage.now_behaves(|node, frame| {
        let mut answer = node.honest(frame);
        answer.pop();
        Some(answer)
    });
    let error = stage.half.round_trip(&stage.remote, 1).await.unwrap_err();
    assert!(matches!(error, EvaluateError::Lied(Misbehaviour { fault: Fault::Frame(_), .. })), "{error}");
    stage.now_behaves(|_, _| Some(vec![0; 1 << 20]));
    assert_eq!(stage.half.round_trip(&stage.remote, 1).await, Err(EvaluateError::NoFrame { node: 1 }));
}

#[tokio::test]
async fn an_unsigned_suspension_flushes_nothing() {
    let forger = SigningSeed::random(&mut os_rng());
    let forged = move |node: &Node| {
        let mut terms = lease_terms(node);
        terms.status = KeyState::Suspended;
        Lease::sign(terms, &forger)
    };
    let stage = Stage::set().await;
    let flushes = stage.leases.flushes();
    stage.now_behaves(move |node, frame| {
        let refused = |lease| {
            let request = EvaluateRequest::parse(frame).ok()?;
            let outcome = EvaluateOutcome::Refused { status: Status::Suspended, lease };
            Some(EvaluateResponse { outcome, ..node.evaluated(&request) }.to_bytes())
        };
        refused(Some(forged(node))).or_else(|| {
            let mut answer = node.presence(FrameType::Heartbeat, frame);
            (answer.status, answer.lease) = (Status::Suspended, None);
            Some(answer.to_bytes())
        })
    });
    assert_eq!(stage.half.round_trip(&stage.remote, 1).await, Err(EvaluateError::Busy));
    assert_eq!(stage.remote.heartbeat().await, Err(EvaluateError::Busy));
    assert!(!flushes.has_changed().unwrap());
    assert_eq!(stage.leases.state(stage.node.clock.now()), LeaseState::Active);
}

#[tokio::test]
async fn a_signed_suspension_flushes() {
    let stage = Stage::set().await;
    let flushes = stage.leases.flushes();
    stage.now_lies(|node, _, response| {
        let lease = node.lease(1, |terms| terms.status = KeyState::Suspended);
        done(response, |outcome| {
            *outcome = EvaluateOutcome::Refused { status: Status::Suspended, lease: Some(lease) }
        })
    });
    assert_eq!(stage.half.round_trip(&stage.remote, 1).await, Err(EvaluateError::Suspended));
    assert!(flushes.has_changed().unwrap());
}

#[tokio::test]
async fn points_with_a_suspended_lease_are_not_used() {
    let stage = Stage::set().await;
    stage.now_lies(|node, _, response| {
        let signed = node.lease(1, |terms| terms.status = KeyState::Suspended);
        done(response, |outcome| {
            if let EvaluateOutcome::Done { lease, .. } = outcome {
                *lease = signed;
            }
        })
    });
    assert_eq!(stage.half.round_trip(&stage.remote, 1).await, Err(EvaluateError::Suspended));
}

#[tokio::test]
async fn a_clock_far_from_ours_closes_everything() {
    let stage = Stage::set().await;
    stage.now_behaves(|node, frame| {
        let mut answer = node.presence(FrameType::Heartbeat, frame);
        answer.lease = Some(node.lease(1, |terms| terms.issued_secs -= 3600));
        Some(answer.to_bytes())
    });
    assert_eq!(stage.remote.heartbeat().await, Err(EvaluateError::Clock));
    assert_eq!(stage.leases.usable_until(stage.node.clock.now()), 0);
}

#[tokio::test]
async fn a_silent_node_costs_the_deadline_and_the_next_question_may_succeed() {
    let stage = Stage::with_deadline(2_000).await;
    stage.now_behaves(|_, _| None);
    let asked = Instant::now();
    let error = stage.half.round_trip(&stage.remote, 1).await.unwrap_err();
    assert_eq!(error, EvaluateError::Silent { node: 1, deadline_ms: 2_000 });
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    stage.now_behaves(|node, frame| Some(node.honest(frame)));
    stage.half.round_trip(&stage.remote, 1).await.unwrap();
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_silent_too() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::unconnected(|_| ()).await;
    let url = format!("https://{}", socket.local_addr().unwrap());
    let remote = stage.remote_at(url);
    assert!(matches!(remote.hello(1).await, Err(EvaluateError::Silent { .. })));
    drop(socket);
    assert!(matches!(remote.hello(1).await, Err(EvaluateError::Unreachable { .. })));
}

#[tokio::test]
async fn a_server_with_another_key_is_an_impostor() {
    let stage = Stage::unconnected(|manifest| manifest.nodes[0].spki_sha256 = [7; 32]).await;
    assert_eq!(stage.remote.hello(1).await, Err(EvaluateError::Impostor { node: 1 }));
}

#[tokio::test]
async fn manifests_only_move_forward() {
    let next = |node: &Node, held: [u8; 32], seq: u64| {
        node.manifest(|manifest| (manifest.seq, manifest.prev_hash) = (seq, held))
    };
    let stage = Stage::set().await;
    let first = stage.remote.manifest();
    let cases: [(u64, [u8; 32], ManifestError); 3] = [
        (2, [8; 32], ManifestError::Fork),
        (3, first.hash(), ManifestError::Gap { found: 3, accepted: 1 }),
        (0, [0; 32], ManifestError::Older { found: 0, accepted: 1 }),
    ];
    for (seq, hash, expected) in cases {
        stage.now_behaves(move |node, frame| Some(node.chain(frame, vec![next(node, hash, seq)])));
        let error = stage.remote.refresh_manifest().await.unwrap_err();
        assert_eq!(error, EvaluateError::Manifest { node: 1, error: expected });
        assert_eq!(stage.remote.manifest(), first);
    }
    let hash = first.hash();
    stage.now_behaves(move |node, frame| {
        let asked = symbolon_proto::frame::ManifestRequest::parse(frame).unwrap();
        let newer = if asked.after_seq == 1 { vec![next(node, hash, 2)] } else { Vec::new() };
        Some(node.chain(frame, newer))
    });
    stage.remote.refresh_manifest().await.unwrap();
    assert_eq!(stage.remote.manifest().manifest().seq, 2);
}
