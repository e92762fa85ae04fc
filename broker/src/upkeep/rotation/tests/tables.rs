//! A table is added by its descriptor alone: a change of the fragment finds its rows, and rows that nobody
//! knows are not lost.

use symbolon_core::audit::{Action, Draft};
use symbolon_core::succession::{Change, NewSet};
use symbolon_proto::id::MountId;

use super::world::{Site, World};
use crate::ops::tests::{example, with_example};
use crate::rows::NO_SCOPE;
use crate::store::Expect;

/// A world with rows of a table that was added, under a mount and under none.
async fn world() -> (World, [MountId; 2]) {
    let mut world = World::filled(3).await;
    world.shape = with_example();
    let site = world.open().await;
    let scopes = [site.mount("std").id, NO_SCOPE];
    let put = |scope| site.session.rows.put(example(scope), &"kept", Expect::Absent).unwrap();
    let draft = Draft::by_broker(Action::Other, "test");
    drop(site.session.commit(scopes.map(put).to_vec(), draft).await.unwrap());
    site.kill().await;
    (world, scopes)
}

async fn changed(world: &World, change: &Change) -> Site {
    world.change(world.open().await, change).await.unwrap();
    let site = world.open().await;
    site.finish().await.unwrap();
    site
}

async fn assert_kept(site: &Site, scopes: [MountId; 2], when: &str) {
    for scope in scopes {
        let (kept, _) = site.session.rows.read::<String>(example(scope)).await.unwrap().unwrap();
        assert_eq!(kept, "kept", "{when}");
    }
}

#[tokio::test]
async fn every_change_of_the_fragment_re_encrypts_a_table_that_was_added() {
    let (world, scopes) = world().await;
    let cards: Vec<_> = world.people.iter().map(|(_, card)| card.clone()).collect();
    for change in [Change::Epoch, Change::Rekey(NewSet::new(2, &cards).unwrap())] {
        let site = changed(&world, &change).await;
        site.all_of_this_fragment_epoch("with the table").await;
        assert_kept(&site, scopes, "with the table").await;
        site.kill().await;
    }
}

#[tokio::test]
async fn rows_of_a_table_that_nobody_names_keep_the_keys_that_they_need() {
    let (mut world, scopes) = world().await;
    let knows = std::mem::replace(&mut world.shape, crate::ops::shape());
    let site = changed(&world, &Change::Epoch).await;
    assert!(site.session.unsealed().previous().is_some(), "two rows still need them");
    let status = crate::upkeep::rotation::status(&site.session).await.unwrap();
    let problem = status.problem.unwrap();
    assert!(status.fragment.changing && problem.starts_with("2 rows"), "{problem}");
    assert!(problem.contains("0x7e"), "{problem}");
    assert_kept(&site, scopes, "unknown").await;
    site.kill().await;
    // A version that knows them ends the change.
    world.shape = knows;
    let site = world.open().await;
    site.finish().await.unwrap();
    site.all_of_this_fragment_epoch("with the table").await;
    assert_kept(&site, scopes, "known again").await;
}
