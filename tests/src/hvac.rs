//! hvac, unmodified, against a broker that nobody has initialised yet (`tests/hvac/test_hvac.py`).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use symbolon_cli::demo::world::{Pace, World};

use crate::tools::python;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hvac_does_its_whole_round() {
    let Some(python) = python() else { return };
    let mut world = World::new(Pace { lease_secs: 600, heartbeat_secs: 5 }, None).unwrap();
    world.init_defaults(r#"recovery = "none""#);
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let mut run = Command::new(python);
    run.args(["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "test_hvac.py"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("hvac"))
        .env("SYMBOLON_ADDR", world.broker_url())
        .env("SYMBOLON_CACERT", world.ca_file());
    let pytest = tokio::task::spawn_blocking(move || run.output().unwrap());
    let approving = approve_whoever_asks(&world);
    let output = tokio::select! {
        output = pytest => output.unwrap(),
        () = approving => unreachable!("approving goes on until pytest ends"),
    };
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(
        output.status.success() && told.contains(" passed"),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// hvac knows nothing of fingerprints, so the test plays both operators for the one broker there is.
async fn approve_whoever_asks(world: &World) {
    loop {
        let service = world.service().unwrap();
        for broker in service.pending() {
            service.approve(&broker.fingerprint.parse().unwrap(), false).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
