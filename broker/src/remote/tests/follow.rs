//! The manifest chain before the first hello: nothing is opened or closed under a manifest that is not the
//! newest.

use std::sync::{Arc, Mutex};

use symbolon_proto::frame::{FrameType, ManifestRequest, request_type};
use symbolon_proto::manifest::ManifestError;

use super::fake::{Node, Stage};
use super::ring::Ring;
use crate::remote::{EvaluateError, Evaluator, LeaseState};

/// Answers requests for the chain with one manifest until it is known.
fn hands_out(next: Vec<u8>) -> impl Fn(&Node, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static {
    move |node, frame| match ManifestRequest::parse(frame) {
        Ok(asked) if asked.after_seq == 1 => Some(node.chain(frame, vec![next.clone()])),
        _ => Some(node.honest(frame)),
    }
}

fn renewed(ring: &Ring) -> Vec<u8> {
    let hash = ring.remote.manifest().hash();
    ring.signed(|manifest| (manifest.seq, manifest.prev_hash) = (2, hash))
}

#[tokio::test]
async fn the_chain_is_asked_for_before_the_first_hello_and_not_again() {
    let stage = Stage::unconnected(|_| ()).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    stage.now_behaves(move |node, frame| {
        noted.lock().unwrap().push(request_type(frame).unwrap());
        Some(node.honest(frame))
    });
    assert_eq!(stage.half.close(&stage.remote).err(), Some(EvaluateError::NotRegistered));
    for _ in 0..2 {
        assert_eq!(stage.remote.hello(1).await, Ok(LeaseState::Active));
    }
    assert_eq!(*heard.lock().unwrap(), [FrameType::Manifest, FrameType::Hello, FrameType::Hello]);
    stage.half.round_trip(&stage.remote, 1).await.unwrap();
}

#[tokio::test]
async fn without_an_answer_about_the_chain_nothing_is_opened_or_closed() {
    let stage = Stage::unconnected(|_| ()).await;
    stage.now_behaves(|node, frame| match request_type(frame) {
        Ok(FrameType::Manifest) => Some(b"no frame".to_vec()),
        _ => Some(node.honest(frame)),
    });
    assert!(matches!(stage.remote.hello(1).await, Err(EvaluateError::Lied(_))));
    assert_eq!(stage.half.close(&stage.remote).err(), Some(EvaluateError::NotRegistered));
    assert_eq!(stage.remote.knows_newest(), Err(EvaluateError::NotRegistered));
    stage.now_behaves(|node, frame| Some(node.honest(frame)));
    stage.remote.hello(1).await.unwrap();
    stage.half.round_trip(&stage.remote, 1).await.unwrap();
}

#[tokio::test]
async fn one_node_of_three_cannot_hold_the_newest_manifest_back() {
    for silent in [2, 3] {
        let ring = Ring::build(2, 3, 2_000).await;
        let next = renewed(&ring);
        (2..=3).for_each(|index| ring.now_behaves(index, hands_out(next.clone())));
        ring.goes_silent(silent);
        ring.remote.hello(1).await.unwrap();
        assert_eq!(ring.remote.manifest().as_bytes(), next);
    }
}

#[tokio::test]
async fn fewer_answers_than_t_are_none() {
    let ring = Ring::build(2, 3, 2_000).await;
    (2..=3).for_each(|index| ring.goes_silent(index));
    let error = ring.remote.hello(1).await.unwrap_err();
    assert!(matches!(error, EvaluateError::TooFew { threshold: 2, answered: 1, .. }), "{error}");
    assert_eq!(ring.half.close(&ring.remote).err(), Some(EvaluateError::NotRegistered));
    ring.is_honest(3);
    ring.remote.hello(1).await.unwrap();
    ring.half.round_trip(&ring.remote, 1).await.unwrap();
}

/// A store so old that the services do not remember what followed its manifest.
#[tokio::test]
async fn a_broker_that_was_overtaken_opens_what_it_has_and_closes_nothing() {
    let stage = Stage::set().await;
    let (capsule, kek) = stage.half.close(&stage.remote).unwrap();
    let again = stage.again();
    let far = stage.node.manifest(|manifest| manifest.seq = 40);
    stage.now_behaves(hands_out(far));
    assert_eq!(again.hello(1).await, Ok(LeaseState::Active));
    let gap = ManifestError::Gap { found: 40, accepted: 1 };
    assert_eq!(again.refresh_manifest().await, Err(EvaluateError::Manifest { node: 1, error: gap }));
    assert!(stage.half.open(&again, &[&capsule]).await.unwrap()[0].same_as(&kek));
    assert_eq!(stage.half.close(&again).err(), Some(EvaluateError::Overtaken));
    stage.now_behaves(|node, frame| Some(node.honest(frame)));
    again.heartbeat().await.unwrap();
    stage.half.round_trip(&again, 1).await.unwrap();
    stage.now_behaves(hands_out(stage.node.manifest(|manifest| manifest.seq = 40)));
    assert!(again.refresh_manifest().await.is_err());
    stage.half.round_trip(&again, 1).await.unwrap();
}
