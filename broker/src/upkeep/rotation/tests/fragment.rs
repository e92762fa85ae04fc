//! Changes of the fragment and of its epoch: everything is re-encrypted, at whatever write the broker is
//! killed.

use std::sync::Arc;

use symbolon_core::succession::{Change, NewSet};

use super::world::World;
use crate::custody::ceremony::archive;
use crate::engines::kv;
use crate::error::OpError;
use crate::rows;
use crate::rows::Rows;
use crate::store::Store;
use crate::store::memory::Failure;

/// More rows and capsules than fit into one batch of either.
const SECRETS: usize = 100;

fn rekey(world: &World) -> Change {
    let cards: Vec<_> = world.people.iter().map(|(_, card)| card.clone()).collect();
    Change::Rekey(NewSet::new(2, &cards).unwrap())
}

fn reshare(world: &World) -> Change {
    let Change::Rekey(set) = rekey(world) else { unreachable!() };
    Change::Reshare(set)
}

/// The change, the reopening, and the work of the task that follows.
async fn change_and_finish(world: &World, change: &Change) -> Result<(), OpError> {
    world.change(world.open().await, change).await?;
    let site = world.open().await;
    let finished = site.finish().await;
    site.kill().await;
    finished
}

/// Runs a change again and again, with the store failing at write 0, 1, 2, …, until it gets through. After
/// each kill everything is read; what was begun is ended, and what was not is begun again.
async fn killed_at_every_write(base: &World, change: &Change) {
    for failure in [Failure::LostRequest, Failure::LostAnswer] {
        let mut writes = 0;
        loop {
            let when = format!("{failure:?} at write {writes}");
            let world = base.copy();
            let epoch_before = world.sealed().await.frag_epoch();
            let fails_at = world.store.commits_begun() + writes;
            world.store.fail_commit(writes, failure);
            let ended = change_and_finish(&world, change).await.is_ok();
            if world.store.commits_begun() <= fails_at {
                assert!(ended, "{when}: nothing failed");
                break;
            }
            let site = Arc::new(world.open().await);
            site.read_all(&world, &format!("after {when}")).await;
            if site.session.unsealed().keys().epoch == epoch_before {
                Arc::into_inner(site).unwrap().kill().await;
                change_and_finish(&world, change).await.unwrap();
            } else {
                site.finish().await.unwrap_or_else(|error| panic!("going on after {when}: {error:?}"));
                Arc::into_inner(site).unwrap().kill().await;
            }
            let site = Arc::new(world.open().await);
            site.read_all(&world, &format!("at the end after {when}")).await;
            site.all_of_this_fragment_epoch(&when).await;
            Arc::into_inner(site).unwrap().kill().await;
            writes += 1;
        }
        assert!(writes >= 5, "{writes} writes: too few to mean anything");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_epoch_killed_at_any_write() {
    killed_at_every_write(&World::filled(SECRETS).await, &Change::Epoch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_fragment_killed_at_any_write() {
    let world = World::filled(30).await;
    killed_at_every_write(&world, &rekey(&world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_epoch_together_with_both_other_rotations() {
    let world = World::filled(30).await;
    let site = world.open().await;
    site.rotate_remote().await.unwrap();
    site.rotate_keks().await.unwrap();
    change_and_finish(&world, &Change::Epoch).await.unwrap();
    let site = Arc::new(world.open().await);
    site.read_all(&world, "afterwards").await;
    site.all_of_this_fragment_epoch("afterwards").await;
    site.all_newest("afterwards").await;
    site.all_settled("afterwards").await;
}

#[tokio::test]
async fn a_change_whose_commit_was_not_answered_is_looked_up() {
    let world = World::filled(3).await;
    let site = world.open().await;
    world.store.fail_commit(0, Failure::LostAnswer);
    world.change(site, &Change::Epoch).await.expect("it is in the store");
    assert_eq!(world.sealed().await.frag_epoch(), 2);
    let site = world.open().await;
    world.store.fail_commit(0, Failure::LostRequest);
    world.change(site, &Change::Epoch).await.expect_err("it is not");
    assert_eq!(world.sealed().await.frag_epoch(), 2);
}

#[tokio::test]
async fn shares_can_change_hands_while_rows_are_re_encrypted() {
    let world = World::filled(5).await;
    world.change(world.open().await, &Change::Epoch).await.unwrap();
    world.change(world.open().await, &reshare(&world)).await.unwrap();
    let site = Arc::new(world.open().await);
    assert!(
        site.session.unsealed().previous().is_some(),
        "what the first epoch closed is still to be opened"
    );
    site.read_all(&world, "under the new set").await;
    site.finish().await.unwrap();
    site.all_of_this_fragment_epoch("at the end").await;
}

#[tokio::test]
async fn everything_can_be_read_and_written_before_anything_is_re_encrypted() {
    let world = World::filled(5).await;
    let old: Vec<_> = world.store.rows().into_iter().filter(|(key, _)| rows::is_row(key)).collect();
    world.change(world.open().await, &Change::Epoch).await.unwrap();
    let site = Arc::new(world.open().await);
    site.read_all(&world, "before the task has done anything").await;
    site.write("std", "s0", "written meanwhile").await.unwrap();
    site.write("top", "new", "written meanwhile").await.unwrap();
    assert_eq!(site.read("std", "s0", 0).await.unwrap().version, 3);
    site.finish().await.unwrap();
    site.all_of_this_fragment_epoch("at the end").await;
    site.read("top", "new", 1).await.unwrap();
    // Every row that was there has been re-encrypted, where it was.
    let rows = world.store.rows();
    for (key, row) in old {
        assert!(rows.get(&key).is_none_or(|now| now.value != row.value));
    }
}

#[tokio::test]
async fn keys_of_the_epoch_before_open_nothing_afterwards() {
    let world = World::filled(3).await;
    let before = world.sealed().await;
    change_and_finish(&world, &Change::Epoch).await.unwrap();
    // Whoever had read the purpose keys of epoch 1 has exactly these.
    let stolen = symbolon_core::seal::Unsealed::first(&world.fragment_of(&before), &before);
    let rows = Rows::new(world.store.clone(), Arc::new(stolen));
    for (key, row) in world.store.rows().into_iter().filter(|(key, _)| rows::is_row(key)) {
        assert!(rows.reencrypt(&key, &row).is_err(), "a row of table {:#x} opens with stolen keys", key[16]);
    }
}

#[tokio::test]
async fn a_damaged_row_keeps_the_keys_that_might_still_open_it() {
    let world = World::filled(3).await;
    world.change(world.open().await, &Change::Epoch).await.unwrap();
    let of_metadata = |key: &Vec<u8>| key[16] == kv::SECRETS.number();
    let key = world.store.rows().into_keys().find(of_metadata).unwrap();
    let good = world.store.get(&key).await.unwrap().unwrap().value;
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    world.store.tamper(&key, Some(bad));
    let site = world.open().await;
    site.finish().await.unwrap();
    assert!(site.session.unsealed().previous().is_some(), "they are kept while something is damaged");
    let status = crate::upkeep::rotation::status(&site.session).await.unwrap();
    assert!(status.fragment.changing && status.problem.is_some());
    site.kill().await;
    // The operator restores the row, and the next unseal ends the change.
    world.store.tamper(&key, Some(good));
    let site = world.open().await;
    site.finish().await.unwrap();
    site.all_of_this_fragment_epoch("after the repair").await;
}

#[tokio::test]
async fn a_reshare_re_encrypts_nothing_and_is_kept() {
    let world = World::filled(3).await;
    let rows_before = world.store.rows().len();
    change_and_finish(&world, &reshare(&world)).await.unwrap();
    let site = Arc::new(world.open().await);
    site.read_all(&world, "under the new set").await;
    assert_eq!(site.session.unsealed().keys().epoch, 1);
    assert_eq!(world.sealed().await.share_set().seq(), 2);
    let (record, _) = archive::last(&site.session.rows).await.unwrap().unwrap();
    assert_eq!(record.made().unwrap().manifest(), world.sealed().await.share_set());
    assert!(world.store.rows().len() > rows_before);
}
