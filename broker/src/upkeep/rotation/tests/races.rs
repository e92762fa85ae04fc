//! Readers and writers while keys change under their hands, and a remote that goes away in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symbolon_core::json::Map;
use tokio::task::JoinSet;

use super::world::{Site, World};
use crate::error::OpError;
use crate::upkeep::rotation::Progress;

/// Reads and writes until told to stop; every answer must be good, and every read the last thing written.
async fn work(site: Arc<Site>, mount: &'static str, name: String, stop: Arc<AtomicBool>) -> u64 {
    let mut version = site.write(mount, &name, "0").await.unwrap().version;
    while !stop.load(Ordering::SeqCst) {
        let read =
            site.read(mount, &name, 0).await.unwrap_or_else(|error| panic!("{mount}/{name}: {error:?}"));
        let data: Map = serde_json::from_slice(&read.data.unwrap()).unwrap();
        assert_eq!((data["value"].as_str().unwrap(), read.version), (&*(version - 1).to_string(), version));
        version = site.write(mount, &name, &version.to_string()).await.unwrap().version;
    }
    version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_notice_nothing() {
    let world = World::filled(40).await;
    let site = Arc::new(world.open().await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for number in 0..4 {
        for mount in ["std", "top"] {
            workers.spawn(work(Arc::clone(&site), mount, format!("busy{number}"), Arc::clone(&stop)));
        }
    }
    // New secrets all the time: they claim places in buckets that are being rolled.
    let (creating, stopped) = (Arc::clone(&site), Arc::clone(&stop));
    workers.spawn(async move {
        let mut created = 0;
        while !stopped.load(Ordering::SeqCst) {
            let name = format!("new{created}");
            creating.write("std", &name, "new").await.unwrap();
            creating.read("std", &name, 1).await.unwrap();
            created += 1;
        }
        created
    });
    for round in 1..=3 {
        site.rotate_remote().await.unwrap();
        site.rotate_keks().await.unwrap();
        site.finish().await.unwrap();
        site.all_newest("while others are at work").await;
        site.read_all(&world, "while others are at work").await;
        assert_eq!(site.retire().await.unwrap(), round);
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(done) = workers.join_next().await {
        assert!(done.unwrap() > 3, "the load was too small to mean anything");
    }
    site.all_settled("after the load").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_goes_away_in_the_middle_stops_nothing_for_good() {
    let world = World::filled(70).await;
    let site = Arc::new(world.open().await);
    site.rotate_remote().await.unwrap();
    site.rotate_keks().await.unwrap();
    for evaluations in 0.. {
        world.remote.leave_after(evaluations);
        let done = site.finish().await;
        world.remote.come_back();
        site.read_all(&world, "after the remote was away").await;
        match done {
            Ok(()) => break,
            Err(OpError::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    site.all_newest("after all").await;
    site.all_settled("after all").await;
    assert!(Progress::read(&site.session).await.unwrap().unwrap().is_finished(2));
}
