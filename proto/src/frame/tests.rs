#![allow(clippy::unwrap_used)]

use super::*;
use crate::evaluate::RemoteKey;
use crate::group::Point;
use crate::id::{KeyId, RequestId};
use crate::testing::{lease_holder, rng};

fn request(count: usize) -> EvaluateRequest {
    let target = Target { key: KeyId::from_bytes([1; 16]), key_epoch: 2, share_epoch: 3 };
    let point = || *RemoteKey::generate(&mut rng()).public_key().point();
    let points: Vec<Point> = (0..count).map(|_| point()).collect();
    EvaluateRequest::new(target, RequestId::from_bytes([4; 16]), points).unwrap()
}

#[test]
fn requests_have_the_sizes_of_section_9() {
    for (count, size) in [(1, 84), (8, 308), (64, 2100)] {
        assert_eq!(request(count).to_bytes().len(), size);
    }
    assert_eq!(REQUEST_BYTES_MAX, 2100);
}

#[test]
fn header_errors_are_told_apart() {
    let frame = request(1).to_bytes();
    let with = |position: usize, byte: u8| {
        let mut changed = frame.clone();
        changed[position] = byte;
        Request::parse(&changed).unwrap_err()
    };
    assert_eq!(with(0, b'X'), FrameError::Magic);
    assert_eq!(with(4, 0x7f), FrameError::Type { found: 0x7f });
    assert_eq!(with(4, 0x81), FrameError::Type { found: 0x81 });
    assert_eq!(with(5, 2), FrameError::Suite { found: 2 });
    assert_eq!(with(7, 0b101), FrameError::Flags { found: 0b101 });
    assert_eq!(with(51, 1), FrameError::Reserved);
    assert_eq!(with(49, 65), FrameError::Count { found: 65, max: 64 });
    assert_eq!(with(83, 0xff), FrameError::Point { index: 0, error: PointError::NotCanonical });
    assert!(matches!(Request::parse(b"SKB"), Err(FrameError::Layout(_))));
}

#[test]
fn flags_change_the_hash_only() {
    let (plain, restore) = (request(1), request(1).for_restore());
    assert!(plain.proof_wanted() && !plain.is_restore());
    assert!(restore.proof_wanted() && restore.is_restore());
    assert_ne!(plain.hash(), restore.hash());
}

#[test]
fn a_hello_is_not_a_heartbeat() {
    let hello = Hello::new(lease_holder(), RequestId::from_bytes([5; 16]));
    let frame = hello.to_bytes();
    assert_eq!(frame.len(), 80);
    assert_eq!(Request::parse(&frame).unwrap(), Request::Hello(hello));
    assert_eq!(Heartbeat::parse(&frame).unwrap_err(), FrameError::Type { found: 0x02 });
}

#[test]
fn good_news_needs_a_lease() {
    let answer = PresenceAnswer {
        frame_type: FrameType::Hello,
        status: Status::Ok,
        node_index: 1,
        request_hash: [0; 32],
        time_secs: 1,
        lease: None,
    };
    let error = PresenceAnswer::parse(&answer.to_bytes(), FrameType::Hello).unwrap_err();
    assert_eq!(error, FrameError::Inconsistent);
}

#[test]
fn the_longest_answer_fits() {
    let manifests = vec![vec![0; crate::manifest::MANIFEST_BYTES_MAX]; MANIFESTS_MAX];
    let answer = ManifestAnswer { status: Status::Ok, request_hash: [0; 32], manifests };
    assert!(answer.to_bytes().len() <= RESPONSE_BYTES_MAX);
    assert_eq!(ManifestAnswer::parse(&answer.to_bytes()), Ok(answer));
}
