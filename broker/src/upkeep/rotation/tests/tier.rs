//! The high tier: a key for each version, opened for each read.

use std::sync::Arc;

use super::world::World;
use crate::access::mounts::{Side, Tier};
use crate::engines::kv::{self, VERSIONS};
use crate::error::OpError;
use crate::keys::VERSION_CAPSULES;
use crate::ops::mount::{self, Tuned, Tuning};

#[tokio::test]
async fn each_version_has_a_capsule_and_each_read_an_evaluation() {
    let world = World::new().await;
    let site = world.open().await;
    site.write("top", "a", "one").await.unwrap();
    site.write("top", "a", "two").await.unwrap();
    assert_eq!(site.count(VERSION_CAPSULES).await, 2);
    let cached = site.session.keys.cached();
    let before = world.remote.evaluations();
    for _ in 0..3 {
        assert!(site.read("top", "a", 0).await.unwrap().data.is_ok());
    }
    assert_eq!(world.remote.evaluations() - before, 3, "one evaluation for each read");
    assert_eq!(site.session.keys.cached(), cached, "nothing of the high tier is kept");

    site.write("std", "a", "one").await.unwrap();
    site.read("std", "a", 0).await.unwrap();
    world.remote.leave_after(0);
    site.read("std", "a", 0).await.unwrap();
    let closed = site.read("top", "a", 0).await.err();
    assert!(matches!(closed, Some(OpError::Unavailable(_))), "no grace: {closed:?}");
    world.remote.come_back();
    site.read("top", "a", 1).await.unwrap();
}

#[tokio::test]
async fn reads_that_wait_together_share_a_frame() {
    let world = World::filled(20).await;
    let site = Arc::new(world.open().await);
    let before = world.remote.evaluations();
    site.read_all(&world, "at once").await;
    let frames = world.remote.evaluations() - before;
    assert!(frames < 20, "{frames} frames for 27 reads of the high tier");
}

#[tokio::test]
async fn what_is_destroyed_or_falls_out_takes_its_key_along() {
    let world = World::new().await;
    let site = world.open().await;
    for number in 0..12 {
        site.write("top", "a", &number.to_string()).await.unwrap();
    }
    assert_eq!(site.count(VERSION_CAPSULES).await, 10, "ten versions are kept");
    site.destroy("top", "a", 12).await.unwrap();
    assert_eq!(site.count(VERSION_CAPSULES).await, 9);
    site.rotate_keks().await.unwrap();
    site.finish().await.unwrap();
    site.all_settled("with a destroyed version").await;
    assert_eq!(site.count(VERSION_CAPSULES).await, 9);
    let target = site.target("top", "a");
    site.as_root(async |who| kv::delete_metadata(&who, &target).await).await.unwrap();
    assert_eq!((site.count(VERSION_CAPSULES).await, site.count(VERSIONS).await), (0, 0));
}

#[tokio::test]
async fn a_moved_capsule_does_not_open() {
    let world = World::new().await;
    let site = world.open().await;
    site.write("top", "a", "one").await.unwrap();
    site.write("top", "b", "two").await.unwrap();
    let rows = world.store.rows();
    let capsules: Vec<_> = rows.iter().filter(|(key, _)| key[16] == VERSION_CAPSULES.number()).collect();
    world.store.tamper(capsules[0].0, Some(capsules[1].1.value.clone()));
    let mut bad = 0;
    for name in ["a", "b"] {
        match site.read("top", name, 0).await {
            Err(OpError::Damaged(_)) => bad += 1,
            other => drop(other.unwrap()),
        }
    }
    assert_eq!(bad, 1);
}

#[tokio::test]
async fn the_tier_is_chosen_once_and_by_name() {
    let world = World::new().await;
    let site = world.open().await;
    assert_eq!((site.mount("std").tier(), site.mount("top").tier()), (Tier::Standard, Tier::High));
    let path = site.mount("std").path;
    let wanted = [(Tier::OPTION.to_owned(), "high".to_owned())].into();
    let tuned = Tuned { side: Side::Secrets, path: &path, below: Side::Secrets };
    let tuning = Tuning { options: Some(wanted), ..Tuning::default() };
    let changed = site.as_root(async |who| mount::tune(&who, tuned, tuning).await).await;
    assert!(matches!(changed, Err(OpError::Invalid(text)) if text.as_str().contains("enable another mount")));
}
