//! What a broker that lies, and a crash at the wrong moment, do to a node of a group.

use symbolon_proto::order::Action;

use super::group::Club;
use super::people::any;
use crate::AdminError;
use crate::disk::fault::Fault;
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
    let mut live = service.live();
    let row = live.tables.keys.get_mut(&club.key).unwrap();
    (row.state, row.destruction) = (KeyState::PendingDestroy, Some(ordered));
    service.write_tables(&live.tables).unwrap();
    drop(live);
    club = club.restart().await.restart().await;
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
