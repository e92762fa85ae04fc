//! What a broker that lies, and a crash at the wrong moment, do to a node of a group.

use symbolon_proto::custody::XWingSeed;
use symbolon_proto::dkg::{GroupKey, Run};
use symbolon_proto::frame::{GroupOp, GroupReply, Status};
use symbolon_proto::group::Scalar;
use symbolon_proto::id::KeyId;
use symbolon_proto::manifest::{Manifest, VerifiedManifest};
use symbolon_proto::order::Action;

use super::club::{Club, Said};
use super::people::any;
use crate::AdminError;
use crate::disk::fault::Fault;
use crate::rng::os_rng;
use crate::tables::{EpochState, KeyState, Ordered};

#[tokio::test]
async fn a_key_without_a_share_is_not_destroyed_and_keeps_no_service_from_starting() {
    let mut club = Club::new(1).await;
    let proposal = club.proposal(1, &[0], None).await;
    club.approve(&proposal, &[0]).await;
    let service = &club.nodes[0].service;
    let text = club.people.order(service, Action::Destroy { key: club.key }, &[0, 1]);
    assert!(matches!(service.carry_out(&text, any), Err(AdminError::NothingHeld)));
    // As an earlier version accepted it.
    let ordered = Ordered { ordered_secs: 1, due_secs: 2, order_sha256: [1; 32], officers: Vec::new() };
    {
        let mut live = service.live();
        let row = live.tables.keys.get_mut(&club.key).unwrap();
        (row.state, row.destruction) = (KeyState::PendingDestroy, Some(ordered));
        service.write_tables(&live.tables).unwrap();
    }
    club = club.restart().await;
    assert_eq!(club.nodes[0].service.status().keys[0].state, KeyState::Destroyed);
}

#[tokio::test]
async fn a_crash_while_a_nodes_only_epoch_is_destroyed_does_not_keep_it_from_starting() {
    let (mut club, _, _) = Club::founded().await;
    let service = &club.nodes[0].service;
    let ordered = Ordered { ordered_secs: 1, due_secs: 2, order_sha256: [1; 32], officers: Vec::new() };
    service.live().tables.keys.get_mut(&club.key).unwrap().epochs[0].state =
        EpochState::PendingDestroy(ordered);
    service.write_tables(&service.live().tables.clone()).unwrap();
    // The tombstone is written, the tables are not.
    *service.dir.fault.lock().unwrap() = Fault(Some((1, false)));
    service.tend_destructions().unwrap_err();
    club = club.restart().await;
    assert!(club.nodes[0].service.live().tables.keys[&club.key].epochs.is_empty());
}

fn acknowledge(club: &Club, share_epoch: u32) -> GroupOp {
    GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch }
}

/// The manifest as these nodes would sign it if they all were the broker's.
fn forced(club: &Club, manifest: &Manifest, members: &[usize]) -> Vec<u8> {
    let identity = |node: &usize| &club.nodes[*node].service.identity;
    let nodes: Vec<_> = members.iter().map(|node| &identity(node).node).collect();
    manifest.sign(&identity(&members[0]).root, &nodes)
}

#[tokio::test]
async fn an_old_share_is_erased_only_for_what_all_members_announce() {
    let (club, proposal, first) = Club::founded().await;
    let run = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    club.run(&run, None, &[0, 1, 2], &[0, 1, 2]).await;
    assert_eq!(club.refused(0, acknowledge(&club, 2)).await, Status::Disagrees, "nothing is announced");
    let other = GroupKey::new(vec![*club.sharing(0, 1, 2).public().point(), other_point()]).unwrap();
    let wrong = club.manifest(&other, &proposal, (1, 2), Some(&first));
    let wrong = forced(&club, &wrong, &[0, 1, 2]);
    assert_eq!(club.refused(0, GroupOp::StoreManifest { manifest: wrong }).await, Status::Disagrees);
    let manifest = club.manifest(&club.sharing(0, 1, 2), &proposal, (1, 2), Some(&first));
    club.publish(&manifest, &[0, 1, 2], &[0, 1, 2]).await;
    assert_eq!(club.ask(0, acknowledge(&club, 2)).await, Ok(GroupReply::Done));
    let service = &club.nodes[1].service;
    let text = club.people.order(service, Action::Destroy { key: club.key }, &[0, 1]);
    service.carry_out(&text, any).unwrap();
    assert_eq!(club.refused(1, acknowledge(&club, 2)).await, Status::Suspended, "officers decide");
}

fn other_point() -> symbolon_proto::group::Point {
    *Scalar::random(&mut os_rng()).public_key().point()
}

#[tokio::test]
async fn a_run_that_was_given_up_is_never_finished() {
    let (mut club, proposal, _) = Club::founded().await;
    let sharing = club.sharing(0, 1, 1);
    let (given_up, other) = (club.refresh(&proposal, &sharing, 2), club.refresh(&proposal, &sharing, 2));
    let offers = club.offers(&given_up, None, &[0, 1, 2]).await;
    let dealings = club.deal(&given_up, None, &offers, &[0, 1, 2]).await;
    let said = Said { run: given_up, offers, dealings, signatures: Vec::new() };
    club.ask(0, said.verify(None)).await.unwrap();
    let offers = club.offers(&other, None, &[0, 1, 2]).await;
    club.deal(&other, None, &offers, &[0]).await;
    club = club.restart().await;
    for node in 0..3 {
        let first = club.manifest(&sharing, &proposal, (1, 1), None);
        let first = VerifiedManifest::first(
            &forced(&club, &first, &[0, 1, 2]),
            &club.nodes[0].service.identity.root.public_key(),
            &first.deployment,
        );
        club.hello(node, &first.unwrap(), 1).await;
    }
    assert_eq!(club.refused(0, said.verify(None)).await, Status::OtherRun);
    assert_eq!(club.refused(0, GroupOp::Offer { run: given_up, base: None }).await, Status::OtherRun);
    club.run(&other, None, &[0, 1, 2], &[0, 1, 2]).await;
}

#[tokio::test]
async fn who_leaves_keeps_its_share_until_its_operator_approves() {
    let (club, [_, next], first, run, base) = Club::passing(&[1, 2, 3], [2, 3]).await;
    club.run(&run, Some(base), &[1, 2], &[1, 2, 3]).await;
    let manifest = club.manifest(&club.sharing(3, 1, 2), &next, (1, 2), Some(&first));
    let manifest = club.publish(&manifest, &[1, 2, 3], &[1, 2, 3]).await;
    for node in 1..4 {
        assert_eq!(club.ask(node, acknowledge(&club, 2)).await, Ok(GroupReply::Done));
    }
    // All that the broker can say, before the operator has said anything.
    let store = GroupOp::StoreManifest { manifest: manifest.as_bytes().to_vec() };
    let files = || club.nodes[0].service.dir.list("keys").unwrap();
    let held = files();
    assert!(held.contains(&club.key.to_string()));
    assert_eq!(club.refused(0, store.clone()).await, Status::Disagrees);
    assert_eq!(club.refused(0, acknowledge(&club, 2)).await, Status::Disagrees);
    assert_eq!(files(), held);
    club.approve(&next, &[0]).await;
    assert_eq!(
        club.refused(0, acknowledge(&club, 2)).await,
        Status::Disagrees,
        "nobody has shown that others hold it"
    );
    let dir = &club.nodes[0].service.dir;
    let link = dir.path("left");
    std::fs::hard_link(dir.path(&format!("keys/{}", club.key)), &link).unwrap();
    let sealed = std::fs::read(&link).unwrap();
    assert_eq!(club.ask(0, store).await, Ok(GroupReply::Done));
    assert_eq!(club.ask(0, acknowledge(&club, 2)).await, Ok(GroupReply::Done));
    assert!(files().is_empty());
    assert_ne!(std::fs::read(&link).unwrap(), sealed, "overwritten, too");
    assert!(club.nodes[0].service.live().keys.is_empty());
}

#[tokio::test]
async fn who_leaves_believes_no_manifest_of_another_key() {
    let (club, [_, next], first, ..) = Club::passing(&[0, 1, 2, 3], [1, 3]).await;
    let another = GroupKey::new(vec![other_point(), other_point()]).unwrap();
    let manifest = club.manifest(&another, &next, (1, 2), Some(&first));
    let manifest = forced(&club, &manifest, &[1, 2, 3]);
    assert_eq!(club.refused(0, GroupOp::StoreManifest { manifest }).await, Status::Disagrees);
    assert_eq!(club.refused(0, acknowledge(&club, 2)).await, Status::Disagrees);
    let generate = club.first_run(&next);
    assert_eq!(club.refused(3, GroupOp::Offer { run: generate, base: None }).await, Status::Disagrees);
}

#[tokio::test]
async fn an_erased_share_does_not_come_back_by_messages_of_an_old_run() {
    let (mut club, [proposal, next], first, run, base) = Club::passing(&[0, 1, 2, 3], [1, 3]).await;
    club.run(&run, Some(base.clone()), &[0, 2], &[1, 2, 3]).await;
    let manifest = club.manifest(&club.sharing(3, 1, 2), &next, (1, 2), Some(&first));
    club.publish(&manifest, &[1, 2, 3], &[0, 1, 2, 3]).await;
    for node in 0..4 {
        assert_eq!(club.ask(node, acknowledge(&club, 2)).await, Ok(GroupReply::Done));
    }
    club = club.restart().await;
    let op = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 };
    assert_eq!(club.ask(0, op).await, Ok(GroupReply::Done), "told again");
    // Its operator lets it in again; only a newer share is taken.
    let again = club.proposal(2, &[0, 1, 2], Some(&next)).await;
    club.approve(&again, &[0]).await;
    let back = Run { group: again.id(), previous: proposal.id(), ..run };
    let offer = GroupOp::Offer { run: back, base: Some(base) };
    assert_eq!(club.refused(0, offer).await, Status::WrongShareEpoch);
}

#[tokio::test]
async fn a_chain_begins_at_its_beginning() {
    let (club, [_, next], first, run, base) = Club::passing(&[0, 1, 2, 3], [1, 3]).await;
    club.run(&run, Some(base), &[0, 2], &[1, 2, 3]).await;
    let manifest = club.manifest(&club.sharing(3, 1, 2), &next, (1, 2), Some(&first));
    let far = Manifest { seq: 1 << 48, ..manifest.clone() };
    let sign = |manifest: &Manifest| GroupOp::SignManifest { body: manifest.signed_bytes() };
    assert_eq!(club.refused(3, sign(&far)).await, Status::Disagrees);
    assert!(club.ask(3, sign(&manifest)).await.is_ok());
    let new = Club::new(1).await;
    let proposal = new.proposal(1, &[0], None).await;
    new.approve(&proposal, &[0]).await;
    new.run(&new.first_run(&proposal), None, &[0], &[0]).await;
    let manifest = new.manifest(&new.sharing(0, 1, 1), &proposal, (1, 1), None);
    let later = Manifest { seq: 2, ..manifest.clone() };
    assert_eq!(new.refused(0, sign(&later)).await, Status::Disagrees);
    assert!(new.ask(0, sign(&manifest)).await.is_ok());
}

#[tokio::test]
async fn a_retired_epoch_is_not_escrowed() {
    let (club, _, _) = Club::founded().await;
    let escrow = XWingSeed::random(&mut os_rng()).public_key().as_bytes().to_vec();
    let get = || GroupOp::Escrow { key: club.key, key_epoch: 1, share_epoch: 1 };
    let change = |state: EpochState| {
        let mut live = club.nodes[0].service.live();
        let row = live.tables.keys.get_mut(&club.key).unwrap();
        (row.epochs[0].state, row.escrow) = (state, Some(escrow.clone()));
    };
    change(EpochState::Retired { restore_until_secs: u64::MAX });
    assert_eq!(club.refused(0, get()).await, Status::WrongKeyEpoch);
    change(EpochState::Living { retire_asked_secs: None });
    assert!(club.ask(0, get()).await.is_ok());
}

#[tokio::test]
async fn a_stranger_has_one_proposal() {
    let mut club = Club::new(1).await;
    for key in 0..3 {
        club.key = KeyId::from_bytes([key; 16]);
        let proposal = club.proposal(1, &[0], None).await;
        club.ask(0, GroupOp::Propose { proposal: proposal.to_bytes() }).await.unwrap();
        let pending = club.nodes[0].service.pending();
        assert_eq!(pending.len(), 1);
        assert_eq!(pending[0].fingerprint, proposal.fingerprint().to_string());
    }
}
