//! A broker that is cut off from its remote for days forgets its keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use symbolon_broker::clock::SystemClock;
use symbolon_broker::faces::server::{ServerLimits, serve};
use symbolon_broker::run::assemble;
use symbolon_broker::store::Store;
use symbolon_broker::store::memory::MemoryStore;
use symbolon_core::clock::{Clock, Now};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::site::{BRISK, Site};
use symbolon_cli::demo::world::World;

const HOUR_MS: u64 = 3_600_000;

/// The real time, plus what a test has let pass.
#[derive(Default)]
struct Passing(AtomicU64);

impl Clock for Passing {
    fn now(&self) -> Now {
        let (real, passed) = (SystemClock.now(), self.0.load(Ordering::SeqCst));
        Now { unix_ms: real.unix_ms + passed, boot_ms: real.boot_ms + passed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_days_without_a_lease_seal_the_broker_and_less_does_not() {
    let mut world = World::new(BRISK, None).unwrap();
    world.start_fragment().await.unwrap();
    let config = world.broker_config(true).unwrap();
    let (store, clock): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::new()), Arc::new(Passing::default()));
    let app = assemble(config, store, clock.clone(), None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (_stop, stopped) = oneshot::channel::<()>();
    let router = symbolon_broker::faces::router(Arc::new(app), None);
    tokio::spawn(serve(listener, None, router, ServerLimits::default(), async { drop(stopped.await) }));
    let mut site = Site::initialise_at(world, &base).await;
    let status =
        async |site: &Site| site.send(site.request_to(&base, "GET", "v1/sys/seal-status")).await.json();
    for share in &site.shares[..2] {
        let body = serde_json::json!({ "key": share.as_str() }).to_string();
        site.send(site.request_to(&base, "PUT", "v1/sys/unseal").body(body)).await.expect(200);
    }
    let left = status(&site).await["dead_man_left_secs"].as_u64().unwrap();
    assert!((72 * 3600 - 60..=72 * 3600).contains(&left), "{left}");
    site.world.stop_fragment().await.unwrap();
    clock.0.fetch_add(71 * HOUR_MS, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await; // several looks at the clock
    let waiting = status(&site).await;
    assert_eq!((&waiting["sealed"], &waiting["lease"]), (&false.into(), &"expired".into()));
    assert!(waiting["dead_man_left_secs"].as_u64().unwrap() <= 3600);
    clock.0.fetch_add(HOUR_MS, Ordering::SeqCst);
    let sealed = loop {
        let status = status(&site).await;
        if status["sealed"] == true {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let reason = sealed["sealed_because"].as_str().unwrap();
    assert!(reason.contains("72 hours without an active lease"), "{reason}");
}
