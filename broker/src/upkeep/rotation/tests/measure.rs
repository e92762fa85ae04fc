//! How fast capsules are re-wrapped, beside the arithmetic of `docs/skb1.md` 10. Not a test: nothing is
//! asserted about time.
//!
//! ```text
//! taskset -c 0 cargo test --release -p symbolon-broker --lib rotation::tests::measure -- \
//!     --ignored --nocapture
//! ```
//!
//! It lies here and not among the benches because the remote in this process is test code. The store is in
//! memory, so the figure is that of the cryptography on both sides, one after the other, and not of a disk or
//! a network. Beside others the wall clock says more about them; the processor time of this process is what
//! to compare.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use symbolon_core::audit::{Action, Draft};
use symbolon_proto::id::{SecretId, TenantId};
use tokio::time::Instant;

use super::world::{Site, World};
use crate::keys::{VERSION_CAPSULES, VersionSlot};
use crate::upkeep::rotation::Progress;

const CAPSULES: u64 = 10_000;
const COMMIT: u64 = 500;

/// Microseconds for a capsule, at the broker: decapsulated and encapsulated again.
const BROKER_US: f64 = 140.0 + 94.0;
/// The same at the remote, in batches of 64.
const REMOTE_US: f64 = 77.0;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of many seconds that asserts no figure; docs/rotation.md has the command"]
async fn ten_thousand_capsules() {
    let world = World::new().await;
    let site = world.open().await;
    fill(&site).await;
    assert_eq!(site.count(VERSION_CAPSULES).await as u64, CAPSULES);
    site.rotate_remote().await.unwrap();
    let (begun, spent) = (Instant::now(), processor());
    site.finish().await.unwrap();
    let (took, spent) = (begun.elapsed(), processor() - spent);
    let done = Progress::read(&site.session).await.unwrap().unwrap().done;
    site.all_newest("measured").await;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / done as f64;
    println!(
        "{done} capsules in {:.2} s: {:.0} a second; {:.0} us of processor each, by section 10 on its machine {:.0}",
        took.as_secs_f64(),
        1e6 / each(took),
        each(spent),
        BROKER_US + REMOTE_US
    );
}

/// What this process has had of the processor.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Capsules of versions, without the secrets: a re-wrap looks at nothing else.
async fn fill(site: &Site) {
    let (keys, mount) = (&site.session.keys, site.mount("top").id);
    let place = |version| VersionSlot {
        tenant: TenantId::SYSTEM,
        mount,
        secret: SecretId::from_bytes([6; 16]),
        version,
        epoch: 1,
    };
    for first in (0..CAPSULES).step_by(COMMIT.try_into().unwrap()) {
        let changes = (first..first + COMMIT).map(|version| keys.create(place(version)).unwrap().0).collect();
        drop(site.session.commit(changes, Draft::by_broker(Action::Other, "test")).await.unwrap());
    }
}
