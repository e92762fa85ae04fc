//! A kill at every single write of a rotation.

use std::sync::Arc;

use super::world::{Site, World};
use crate::error::OpError;
use crate::store::memory::Failure;

/// Secrets in each mount: more capsules than fit into two batches, so that there are kills between batches.
const SECRETS: usize = 100;

/// Runs `rotate` again and again, with the store failing at write 0, 1, 2, …, until it gets through. After
/// each kill the broker is opened again, everything is read, the rotation is ended, and everything is read
/// again.
async fn killed_at_every_write(
    base: &World,
    rotate: impl AsyncFn(&Site) -> Result<(), OpError>,
    check_end: impl AsyncFn(&Site, &str),
) {
    for failure in [Failure::LostRequest, Failure::LostAnswer] {
        let mut writes = 0;
        loop {
            let when = format!("{failure:?} at write {writes}");
            let world = base.copy();
            let site = world.open().await;
            world.store.fail_commit(writes, failure);
            let ended = rotate(&site).await.is_ok();
            site.kill().await;
            if ended {
                break;
            }
            let site = Arc::new(world.open().await);
            site.read_all(&world, &format!("after {when}")).await;
            rotate(&site).await.unwrap_or_else(|error| panic!("going on after {when}: {error:?}"));
            site.read_all(&world, &format!("at the end after {when}")).await;
            check_end(&site, &when).await;
            writes += 1;
        }
        assert!(writes >= 5, "{writes} writes: too few to mean anything");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_the_remote_key_killed_at_any_write() {
    let world = World::filled(SECRETS).await;
    // The epoch is made once: the remote does not forget it when the broker is killed.
    world.open().await.rotate_remote().await.unwrap();
    killed_at_every_write(
        &world,
        async |site| site.finish().await,
        async |site, when| {
            site.all_newest(when).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kek_roll_killed_at_any_write() {
    let world = World::filled(SECRETS).await;
    let rotate = async |site: &Site| {
        site.rotate_keks().await?;
        site.finish().await
    };
    killed_at_every_write(&world, rotate, async |site, when| site.all_settled(when).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_rotations_together_killed_at_any_write() {
    let world = World::filled(30).await;
    world.open().await.rotate_remote().await.unwrap();
    let rotate = async |site: &Site| {
        site.rotate_keks().await?;
        site.finish().await
    };
    killed_at_every_write(&world, rotate, async |site, when| {
        site.all_newest(when).await;
        site.all_settled(when).await;
    })
    .await;
}
