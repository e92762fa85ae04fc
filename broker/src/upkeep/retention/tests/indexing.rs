//! Indices are made by themselves, go with their segments, and come back whatever becomes of their rows.

use symbolon_proto::log::segment::SEGMENT_ENTRIES;

use super::*;
use crate::audit::index::known::Known;
use crate::audit::index::searching::Searcher;
use crate::audit::log::rows::{bundle_key, index_key};
use crate::upkeep::retention::indexing;

impl World {
    async fn index(&self) -> Result<(), RoundError> {
        let known = self.session.of::<Known>();
        indexing::round(&Arc::downgrade(&self.session), &known, Pace::FULL).await
    }

    /// Which segments have an index that opens.
    async fn indexed(&self) -> Vec<u64> {
        let (known, audit) = (self.session.of::<Known>(), self.session.unsealed().audit());
        let keys = (audit.as_ref(), self.session.unsealed().deployment());
        let mut searcher = Searcher::new(self.log(), self.session.log_tree(), keys, &known);
        let mut found = Vec::new();
        for number in 0..self.session.entries() / SEGMENT_ENTRIES {
            found.extend(searcher.block(number).await.unwrap().map(|_| number));
        }
        found
    }
}

#[tokio::test]
async fn indices_are_made_lost_and_damaged_ones_again_and_go_with_their_segments() {
    let mut world = World::new().await;
    world.grow_to(3 * SEGMENT_ENTRIES + 10).await;
    world.index().await.unwrap();
    assert_eq!(world.indexed().await, [0, 1, 2]);
    let before = world.session.entries();
    world.index().await.unwrap();
    assert_eq!(world.session.entries(), before, "what is there is not made again");
    world.store.tamper(&index_key(0), Some(vec![1; 500]));
    world.store.tamper(&index_key(2), None);
    assert_eq!(world.indexed().await, [1]);
    world.index().await.unwrap();
    assert_eq!(world.indexed().await, [0, 1, 2]);
    world.store.tamper(&index_key(1), None);
    world.restart().await;
    world.index().await.unwrap();
    assert_eq!(world.indexed().await, [0, 1, 2]);
    let told = world.told().await.join("\n");
    assert!(told.contains("entries 4096 to 8191 were indexed"), "{told}");
    world.configure(|audit| {
        audit.keep_mib = Some(0);
        audit.export = Some("none".to_owned());
    });
    world.round().await.unwrap();
    let minimum = world.minimum().await;
    assert!(minimum >= SEGMENT_ENTRIES);
    assert!(world.store.get(&index_key(0)).await.unwrap().is_none());
    world.index().await.unwrap();
    assert!(world.store.get(&index_key(0)).await.unwrap().is_none(), "none is made of what was pruned");
    world.log().verify_all(&key()).await.unwrap();
}

/// Each commit fails in every way, as if the broker had been killed there.
#[tokio::test]
async fn indexing_goes_on_where_it_ended() {
    for failure in [Failure::LostRequest, Failure::LostAnswer, Failure::Full] {
        let mut world = World::new().await;
        let mut failed = 0;
        for after in 0..3 {
            world.grow_to((after + 1) * SEGMENT_ENTRIES).await;
            world.store.fail_commit(0, failure);
            failed += usize::from(world.index().await.is_err());
            world.restart().await;
            world.index().await.unwrap();
            assert_eq!(world.indexed().await.len() as u64, after + 1, "{failure:?}");
        }
        assert!(failed > 0, "{failure:?}: no commit of an index failed");
    }
}

#[tokio::test]
async fn at_the_end_of_the_disk_budget_no_index_is_made() {
    let world = World::new().await;
    world.grow_to(SEGMENT_ENTRIES + 10).await;
    world.configure(|audit| audit.disk_budget_mib = Some(1));
    world.round().await.unwrap();
    let before = world.session.entries();
    world.index().await.unwrap();
    assert_eq!((world.session.entries(), world.indexed().await), (before, Vec::new()));
}

/// Somebody alters an entry: searches look at all entries of its segment, and nothing is tried again and
/// again.
#[tokio::test]
async fn a_segment_that_was_altered_is_given_up_once_and_told() {
    let world = World::new().await;
    world.grow_to(2 * SEGMENT_ENTRIES).await;
    world.index().await.unwrap();
    let (key, mut value) = {
        let rows = world.store.rows();
        let (key, row) = rows.range(bundle_key(0)..).next().unwrap();
        (key.clone(), row.value.clone())
    };
    *value.last_mut().unwrap() ^= 1;
    world.store.tamper(&key, Some(value));
    world.store.tamper(&index_key(0), None);
    for _ in 0..3 {
        assert_eq!(world.indexed().await, [1]);
        world.index().await.unwrap();
    }
    let told = world.told().await;
    let given_up = told.iter().filter(|what| what.starts_with("entries 0 to 4095 have no index")).count();
    assert_eq!(given_up, 1, "{told:?}");
}
