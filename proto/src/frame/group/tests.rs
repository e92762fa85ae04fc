#![allow(clippy::unwrap_used)]

use super::super::{GROUP_REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Request, Status};
use super::*;
use crate::codec::DecodeError;
use crate::dkg::{DkgError, DkgFault, RunError};
use crate::evaluate::RemoteKey;
use crate::possession::Possession;
use crate::testing::{rng, test_proposal, test_run};

fn base(t: usize) -> Base {
    let key = vec![*RemoteKey::generate(&mut rng()).public_key().point(); t];
    Base { group: test_proposal(2, 3).0.to_bytes(), key: GroupKey::new(key).unwrap() }
}

fn request(op: GroupOp) -> GroupRequest {
    GroupRequest { nonce: RequestId::from_bytes([9; 16]), op }
}

fn every_op() -> Vec<GroupOp> {
    let (key, key_epoch, share_epoch) = (KeyId::from_bytes([2; 16]), 3, 4);
    vec![
        GroupOp::Card,
        GroupOp::Propose { proposal: test_proposal(2, 3).0.to_bytes() },
        GroupOp::Offer { run: test_run(RunKind::Generate), base: None },
        GroupOp::Offer { run: test_run(RunKind::Reshare), base: Some(base(2)) },
        GroupOp::Deal { run: test_run(RunKind::Generate), base: None, offers: vec![[1; OFFER_BYTES]; 3] },
        GroupOp::Deal {
            run: test_run(RunKind::Reshare),
            base: Some(base(2)),
            offers: vec![[1; OFFER_BYTES]],
        },
        GroupOp::Verify {
            run: test_run(RunKind::Refresh),
            base: None,
            offers: vec![[1; OFFER_BYTES]; 2],
            dealings: vec![vec![1; 300], vec![2; 300]],
        },
        GroupOp::Commit { run: test_run(RunKind::Generate), signatures: vec![[1; 64], [2; 64], [3; 64]] },
        GroupOp::SignManifest { body: vec![1; 400] },
        GroupOp::StoreManifest { manifest: vec![1; 400] },
        GroupOp::Acknowledge { key, key_epoch, share_epoch },
        GroupOp::NewEpoch { key, key_epoch },
        GroupOp::Retire { key, key_epoch },
        GroupOp::SetEscrow { key, escrow: vec![7; ESCROW_KEY_BYTES] },
        GroupOp::Escrow { key, key_epoch, share_epoch },
    ]
}

#[test]
fn requests_come_back() {
    for op in every_op() {
        let request = request(op);
        let frame = request.to_bytes();
        assert_eq!(Request::parse(&frame).unwrap(), Request::Group(request));
        for length in 0..frame.len() {
            assert!(GroupRequest::parse(&frame[..length]).is_err(), "{length} bytes");
        }
        let long = [frame.as_slice(), &[0]].concat();
        assert!(matches!(
            GroupRequest::parse(&long),
            Err(FrameError::Layout(DecodeError::Trailing { extra: 1 }))
        ));
    }
}

#[test]
fn answers_come_back() {
    let key = RemoteKey::generate(&mut rng());
    let epoch = EpochKey { public: *key.public_key(), possession: Possession::from_bytes([4; 64]) };
    let answers = [
        (1, Ok(GroupReply::Card(vec![1; 219]))),
        (2, Ok(GroupReply::Approval(Approval::Pending))),
        (2, Ok(GroupReply::Approval(Approval::Refused))),
        (3, Ok(GroupReply::Dealing(vec![1; DEALING_BYTES_MAX]))),
        (4, Ok(GroupReply::Certified([1; 64]))),
        (5, Ok(GroupReply::Committed(epoch))),
        (6, Ok(GroupReply::ManifestSigned { node: [1; 64], root: None })),
        (6, Ok(GroupReply::ManifestSigned { node: [1; 64], root: Some([2; 64]) })),
        (7, Ok(GroupReply::Done)),
        (8, Ok(GroupReply::Done)),
        (9, Ok(GroupReply::Epoch(epoch))),
        (10, Ok(GroupReply::Retired(true))),
        (11, Ok(GroupReply::Done)),
        (12, Ok(GroupReply::Escrow(vec![1; ESCROW_ENVELOPE_BYTES_MAX]))),
        (13, Ok(GroupReply::Offer([1; OFFER_BYTES]))),
        (3, Err(Status::NotApproved.into())),
        (4, Err(DkgFault::ReceiveKey.by(3).into())),
        (4, Err(DkgFault::Share.by(3).into())),
        (5, Err(DkgError::State.into())),
    ];
    for (op, outcome) in answers {
        let answer = GroupAnswer { request_hash: [5; 32], op, outcome };
        let frame = answer.to_bytes();
        assert_eq!(GroupAnswer::parse(&frame), Ok(answer));
        assert!(frame.len() <= RESPONSE_BYTES_MAX);
        for length in 0..frame.len() {
            assert!(GroupAnswer::parse(&frame[..length]).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn a_blamed_participant_reaches_the_broker() {
    let refusal = GroupRefusal::from(DkgFault::Ciphertext.by(7));
    assert_eq!(refusal.status, Status::ParticipantFault);
    assert_eq!(refusal.blame, Some(Blame { participant: 7, fault: DkgFault::Ciphertext }));
}

#[test]
fn bounds_come_before_everything() {
    let frame =
        request(GroupOp::Commit { run: test_run(RunKind::Generate), signatures: vec![[1; 64]] }).to_bytes();
    let with = |position: usize, byte: u8| {
        let mut changed = frame.clone();
        changed[position] = byte;
        GroupRequest::parse(&changed).unwrap_err()
    };
    let count = frame.len() - 65;
    assert_eq!(with(count, 0), FrameError::Count { found: 0, max: 16 });
    assert_eq!(with(count, 17), FrameError::Count { found: 17, max: 16 });
    assert_eq!(with(6, 1), FrameError::Format { found: 1, read: 2 }, "without receive keys");
    assert_eq!(with(6, 3), FrameError::Format { found: 3, read: 2 });
    assert_eq!(with(7, 0), FrameError::Code { found: 0 });
    assert_eq!(with(7, 14), FrameError::Code { found: 14 });
    assert_eq!(with(24, 9), FrameError::Run(RunError::Kind { found: 9 }));
    let long = request(GroupOp::Propose { proposal: vec![0; PROPOSAL_BYTES_MAX + 1] }).to_bytes();
    let error = DecodeError::TooLong { found: PROPOSAL_BYTES_MAX + 1, max: PROPOSAL_BYTES_MAX };
    assert_eq!(GroupRequest::parse(&long), Err(FrameError::Layout(error)));
}

#[test]
fn the_longest_request_fits() {
    let base = Base { group: vec![0; PROPOSAL_BYTES_MAX], ..base(16) };
    let dealings = vec![vec![0; DEALING_BYTES_MAX]; 16];
    let offers = vec![[0; OFFER_BYTES]; 16];
    let longest =
        request(GroupOp::Verify { run: test_run(RunKind::Reshare), base: Some(base), offers, dealings });
    assert!(longest.to_bytes().len() <= GROUP_REQUEST_BYTES_MAX);
    assert_eq!(GroupRequest::parse(&longest.to_bytes()), Ok(longest));
}
