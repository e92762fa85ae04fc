//! What three services do together: make a key, refresh it, pass it on, seal it to escrow.

use symbolon_proto::custody::XWingSeed;
use symbolon_proto::custody::escrow::EscrowEnvelope;
use symbolon_proto::dkg::{OFFER_BYTES, Run};
use symbolon_proto::frame::{EpochKey, GroupAnswer, GroupOp, GroupReply, GroupRequest, Presence, Status};
use symbolon_proto::group::PublicKey;
use symbolon_proto::id::{KeyId, RequestId};
use symbolon_proto::lease::KeyState;
use symbolon_proto::manifest::Manifest;
use symbolon_proto::order::Action;

use super::club::{Club, NOW, Said};
use super::people::any;
use crate::AdminError;
use crate::rng::os_rng;

fn public(keys: &[EpochKey]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public).collect()
}

#[tokio::test]
async fn three_services_make_a_key_that_none_of_them_has() {
    let (club, proposal, manifest) = Club::founded().await;
    for node in 0..3 {
        assert!(matches!(club.hello(node, &manifest, 1).await, Presence::Lease(_)));
        assert!(club.evaluates(node, &manifest, 1).await, "node {node}");
        let report = &club.nodes[node].service.status().keys[0];
        assert_eq!((report.threshold, report.nodes), (2, 3));
        assert_eq!(usize::from(report.index), node + 1);
    }
    let club = club.restart().await;
    for node in 0..3 {
        club.hello(node, &manifest, 1).await;
        assert!(club.evaluates(node, &manifest, 1).await, "node {node} after a restart");
    }
    assert_eq!(club.sharing(0, 1, 1), club.sharing(2, 1, 1));
    drop(proposal);
}

#[tokio::test]
async fn shares_are_refreshed_and_the_old_ones_erased_when_acknowledged() {
    let (mut club, proposal, first) = Club::founded().await;
    let sharing = club.sharing(0, 1, 1);
    let run = club.refresh(&proposal, &sharing, 2);
    let keys = club.run(&run, None, &[0, 1, 2], &[0, 1, 2]).await;
    let refreshed = club.sharing(0, 1, 2);
    assert_eq!(refreshed.public(), sharing.public());
    assert_eq!(public(&keys), (1..=3).map(|index| refreshed.share(index).unwrap()).collect::<Vec<_>>());
    let second = club.manifest(&refreshed, &proposal, (1, 2), Some(&first));
    let second = club.publish(&second, &[0, 1, 2], &[0, 1, 2]).await;
    club = club.restart().await;
    for node in 0..3 {
        club.hello(node, &second, 1).await;
        assert!(club.evaluates(node, &first, 1).await && club.evaluates(node, &second, 1).await);
    }
    let another = club.refresh(&proposal, &refreshed, 3);
    assert_eq!(club.refused(0, GroupOp::Offer { run: another, base: None }).await, Status::OtherRun);
    for node in 0..3 {
        let op = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 };
        assert_eq!(club.ask(node, op).await, Ok(GroupReply::Done));
        assert!(!club.evaluates(node, &first, 1).await && club.evaluates(node, &second, 1).await);
        assert_eq!(club.nodes[node].service.dir.list("keys").unwrap(), [format!("{}-1-2", club.key)]);
    }
}

#[tokio::test]
async fn a_key_passes_to_another_group_and_who_left_forgets_it() {
    // Node 0 leaves, node 3 joins.
    let (mut club, [_, next], first, run, base) = Club::passing(&[0, 1, 2, 3], [1, 3]).await;
    let public = base.key.public();
    club.run(&run, Some(base), &[0, 2], &[1, 2, 3]).await;
    let passed = club.sharing(3, 1, 2);
    assert_eq!(passed.public(), public);
    let second = club.manifest(&passed, &next, (1, 2), Some(&first));
    let early = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 };
    assert_eq!(
        club.refused(0, early.clone()).await,
        Status::Disagrees,
        "nobody has shown that others hold it"
    );
    let second = club.publish(&second, &[1, 2, 3], &[0, 1, 2, 3]).await;
    for node in [1, 2, 3, 0] {
        assert_eq!(club.ask(node, early.clone()).await, Ok(GroupReply::Done), "node {node}");
    }
    club = club.restart().await;
    for node in 1..4 {
        club.hello(node, &second, 1).await;
        assert!(club.evaluates(node, &second, 1).await);
    }
    assert!(club.nodes[0].service.dir.list("keys").unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_crashes_at_any_write_goes_on() {
    let (mut club, proposal, first) = Club::founded().await;
    let sharing = club.sharing(0, 1, 1);
    let run = club.refresh(&proposal, &sharing, 2);
    let GroupReply::Offer(offer) = club.survive(GroupOp::Offer { run, base: None }).await else { panic!() };
    let offers = club.offers(&run, None, &[0, 1, 2]).await;
    assert_eq!(offers[0], offer);
    club.survive(GroupOp::Deal { run, base: None, offers: offers.clone() }).await;
    let dealings = club.deal(&run, None, &offers, &[0, 1, 2]).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    club.survive(said.verify(None)).await;
    let signatures = club.verify(&said, None, &[0, 1, 2]).await;
    let commit = GroupOp::Commit { run, signatures };
    assert!(matches!(club.survive(commit.clone()).await, GroupReply::Committed(_)));
    for node in 1..3 {
        club.ask(node, commit.clone()).await.unwrap();
    }
    let manifest = club.manifest(&club.sharing(0, 1, 2), &proposal, (1, 2), Some(&first));
    club.survive(GroupOp::SignManifest { body: manifest.signed_bytes() }).await;
    let manifest = club.publish(&manifest, &[0, 1, 2], &[1, 2]).await;
    club.survive(GroupOp::StoreManifest { manifest: manifest.as_bytes().to_vec() }).await;
    club.survive(GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 }).await;
    club.hello(0, &manifest, 1).await;
    assert!(club.evaluates(0, &manifest, 1).await);
    assert_eq!(club.nodes[0].service.dir.list("keys").unwrap(), [format!("{}-1-2", club.key)]);
}

#[tokio::test]
async fn nothing_happens_without_the_operators_approval() {
    let club = Club::new(3).await;
    let proposal = club.proposal(2, &[0, 1, 2], None).await;
    let run = club.first_run(&proposal);
    let offer =
        GroupRequest { nonce: RequestId::random(&mut os_rng()), op: GroupOp::Offer { run, base: None } };
    let (status, _) = club.links[0].post(offer.to_bytes()).await;
    assert_eq!(status, hyper::StatusCode::FORBIDDEN, "a stranger");
    let without = club.proposal(2, &[1, 2], None).await;
    assert_eq!(club.refused(0, GroupOp::Propose { proposal: without.to_bytes() }).await, Status::Disagrees);
    club.approve(&proposal, &[0]).await;
    let pending = club.nodes[0].service.pending();
    assert!(pending.is_empty());
    // Another group for the same key, which nobody here approved.
    let other = club.proposal(1, &[0, 1, 2], None).await;
    let run = Run { group: other.id(), ..club.first_run(&other) };
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::NotApproved);
    let deal = GroupOp::Deal { run, base: None, offers: vec![[0; OFFER_BYTES]; 3] };
    assert_eq!(club.refused(0, deal).await, Status::NotApproved);
    let foreign = Run { key: KeyId::from_bytes([9; 16]), ..run };
    assert_eq!(club.refused(0, GroupOp::Offer { run: foreign, base: None }).await, Status::UnknownKey);
}

#[tokio::test]
async fn dealings_that_were_changed_name_their_dealer() {
    let club = Club::new(3).await;
    let proposal = club.proposal(2, &[0, 1, 2], None).await;
    club.approve(&proposal, &[0, 1, 2]).await;
    let run = club.first_run(&proposal);
    assert_eq!(
        club.refused(0, GroupOp::Commit { run, signatures: vec![[1; 64]; 3] }).await,
        Status::UnknownRun
    );
    let offers = club.offers(&run, None, &[0, 1, 2]).await;
    let dealings = club.deal(&run, None, &offers, &[0, 1, 2]).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    let GroupOp::Verify { mut dealings, offers, .. } = said.verify(None) else { unreachable!() };
    dealings[1][5] ^= 1;
    let changed = GroupOp::Verify { run, base: None, offers, dealings };
    let refusal = club.ask(0, changed).await.unwrap_err();
    assert_eq!(refusal.blame.unwrap().participant, 2);
    let Ok(GroupReply::Certified(signature)) = club.ask(0, said.verify(None)).await else { panic!() };
    let refusal = club.ask(0, GroupOp::Commit { run, signatures: vec![signature; 3] }).await.unwrap_err();
    assert_eq!(refusal.blame.unwrap().participant, 2);
    // Another session takes the place of one that was not committed, and works.
    let again = club.first_run(&proposal);
    club.run(&again, None, &[0, 1, 2], &[0, 1, 2]).await;
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::OtherRun);
}

#[tokio::test]
async fn a_node_signs_only_what_it_knows_and_never_two_of_one_number() {
    let (club, proposal, first) = Club::founded().await;
    let good = club.manifest(&club.sharing(0, 1, 1), &proposal, (1, 1), Some(&first));
    let other_key = club.sharing(0, 1, 1).share(2).unwrap();
    let mut nodes = good.nodes.clone();
    nodes.swap(0, 1);
    let wrong = [
        Manifest { public: other_key, ..good.clone() },
        Manifest { key_epoch: 2, ..good.clone() },
        Manifest { share_epoch: 2, ..good.clone() },
        Manifest { state: KeyState::Suspended, ..good.clone() },
        Manifest { nodes, ..good.clone() },
        Manifest { commitments: Vec::new(), ..good.clone() },
        Manifest { lease_ttl_secs: 3601, ..good.clone() },
        Manifest { grace_secs: 1, ..good.clone() },
        Manifest { quota_burst: 16_385, ..good.clone() },
        Manifest { quota_per_hour: 16_385, ..good.clone() },
        Manifest { not_after_secs: NOW + 40 * 86_400, ..good.clone() },
        Manifest { not_before_secs: NOW + 86_400, ..good.clone() },
        Manifest { seq: 3, ..good.clone() },
        Manifest { prev_hash: [1; 32], ..good.clone() },
    ];
    for (case, manifest) in wrong.iter().enumerate() {
        let op = GroupOp::SignManifest { body: manifest.signed_bytes() };
        assert_eq!(club.refused(0, op).await, Status::Disagrees, "case {case}");
    }
    let sign = |manifest: &Manifest| GroupOp::SignManifest { body: manifest.signed_bytes() };
    assert!(club.ask(0, sign(&good)).await.is_ok());
    let other = Manifest { lease_ttl_secs: 60, ..good.clone() };
    assert_eq!(club.refused(0, sign(&other)).await, Status::Disagrees);
    let club = club.restart().await;
    assert_eq!(club.refused(0, sign(&other)).await, Status::Disagrees, "not forgotten");
    assert!(club.ask(0, sign(&good)).await.is_ok());
    let unsigned = [good.signed_bytes(), vec![0; 256]].concat();
    assert_eq!(club.refused(0, GroupOp::StoreManifest { manifest: unsigned }).await, Status::Disagrees);
}

#[tokio::test]
async fn shares_go_to_escrow_only_with_the_operators_approval() {
    let (club, _, _) = Club::founded().await;
    let seed = XWingSeed::random(&mut os_rng());
    let other = XWingSeed::random(&mut os_rng());
    let set = |seed: &XWingSeed| GroupOp::SetEscrow {
        key: club.key,
        escrow: seed.public_key().as_bytes().to_vec(),
    };
    let get = || GroupOp::Escrow { key: club.key, key_epoch: 1, share_epoch: 1 };
    assert_eq!(club.refused(1, get()).await, Status::NotApproved);
    assert_eq!(club.refused(1, set(&seed)).await, Status::NotApproved);
    let fingerprint = seed.public_key().fingerprint();
    assert_eq!(club.nodes[1].service.pending()[0].fingerprint, fingerprint.to_string());
    club.nodes[1].service.approve(&fingerprint, false).unwrap();
    assert_eq!(club.ask(1, set(&seed)).await, Ok(GroupReply::Done));
    assert_eq!(club.refused(1, set(&other)).await, Status::Disagrees);
    let Ok(GroupReply::Escrow(envelope)) = club.ask(1, get()).await else { panic!() };
    let envelope = EscrowEnvelope::decode(&envelope).unwrap();
    assert_eq!(envelope.place().node, 2);
    let share = envelope.open(&seed).unwrap();
    assert_eq!(*share.public_key(), club.sharing(1, 1, 1).share(2).unwrap());
    assert!(club.nodes[1].service.status().keys[0].escrow);
}

#[tokio::test]
async fn the_kill_switch_works_on_a_share() {
    let (club, proposal, manifest) = Club::founded().await;
    club.hello(0, &manifest, 1).await;
    let service = &club.nodes[0].service;
    assert!(matches!(service.new_epoch(club.key, 2), Err(AdminError::HeldByGroup)));
    let text = club.people.order(service, Action::Destroy { key: club.key }, &[0, 1]);
    service.carry_out(&text, any).unwrap();
    assert!(!club.evaluates(0, &manifest, 1).await);
    let run = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    assert!(!service.dir.list("keys").unwrap().is_empty());
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::Suspended);
    club.nodes[0].clock.forward(14 * 86_400);
    service.tend_destructions().unwrap();
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::Destroyed);
    assert!(service.dir.list("keys").unwrap().is_empty(), "with its run");
    assert_eq!(service.certificates(club.key).unwrap().len(), 1);
}

#[tokio::test]
async fn a_clone_of_the_broker_takes_no_step() {
    let (club, proposal, manifest) = Club::founded().await;
    club.hello(0, &manifest, 7).await;
    let mut clone = club.links[0].twin();
    clone.connect(club.nodes[0].address).await;
    let run = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    let offer =
        GroupRequest { nonce: RequestId::random(&mut os_rng()), op: GroupOp::Offer { run, base: None } };
    let answer = GroupAnswer::parse(&clone.frame(offer.to_bytes()).await).unwrap();
    assert_eq!(answer.outcome.unwrap_err().status, Status::Busy);
    assert!(club.ask(0, GroupOp::Offer { run, base: None }).await.is_ok());
}
