//! Shares that are refused: how many from whom, and what of it anyone sees.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::attempts::{REFUSAL_MS, REFUSALS_MAX};
use symbolon_core::clock::Now;
use symbolon_proto::custody::transcript::{EventKind, Transcript};
use symbolon_proto::custody::{CeremonyBinding, Purpose, XWingPublicKey};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::share::{SHARE_BYTES, ShareKind};

use super::*;
use crate::access::shape::Shape;
use crate::config;
use crate::custody::unseal::Furnishing;
use crate::random::os_rng;
use crate::store::memory::MemoryStore;
use crate::testing::{DEPLOYMENT, deal, seal_record};

/// Milliseconds since the start.
#[derive(Default)]
struct Clocks(AtomicU64);

impl Clock for Clocks {
    fn now(&self) -> Now {
        let ms = self.0.load(Ordering::Relaxed);
        Now { unix_ms: 1_000_000 + ms, boot_ms: ms }
    }
}

/// A sealed broker of ana, boris and carla, two of whom open it, and shares that only look like theirs.
struct Bench {
    seal: SealHandle,
    clock: Arc<Clocks>,
    wrong: Vec<[u8; SHARE_BYTES]>,
}

impl Bench {
    fn new() -> Self {
        let names = ["ana", "boris", "carla"];
        let fragment = Fragment::random(&mut os_rng());
        let (set, shares) = deal(ShareKind::Fragment, DEPLOYMENT, &fragment, &names);
        let remote = config::Remote {
            nodes: Vec::new(),
            threshold: 1,
            deadline_ms: 1,
            heartbeat_secs: 1,
            dead_man_hours: 1,
            terms: config::GroupTerms::default(),
        };
        let furnishing = Furnishing { shape: Arc::new(Shape::default()), begin: Arc::new(|_, _, _, _| {}) };
        let clock = Arc::new(Clocks::default());
        let unsealer = Unsealer::new(Arc::new(MemoryStore::default()), clock.clone(), remote, furnishing);
        let seal = SealHandle::start(
            Some(Sealed::open(seal_record(&set)).unwrap()),
            unsealer,
            Arc::clone(&clock) as _,
        );
        let spoil = |share: &Share| {
            let mut bytes = *share.to_bytes().expose();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        Self { seal, clock, wrong: shares.iter().map(spoil).collect() }
    }

    fn wrong(&self, holder: usize) -> Share {
        Share::from_bytes(&self.wrong[holder]).unwrap()
    }

    fn notice(&self) -> Arc<Notice> {
        let View::Sealed { notice, .. } = self.seal.view() else { panic!("it is sealed") };
        notice
    }

    async fn send(&self, holder: usize, from: &str) -> Result<(), OpError> {
        self.seal.submit(self.wrong(holder), Channel::Hybrid, Some(from.parse().unwrap())).await
    }

    async fn send_sealed(&self, holder: usize, from: &str) -> Result<(), OpError> {
        let notice = self.notice();
        let binding = CeremonyBinding { deployment: DEPLOYMENT, nonce: notice.nonce };
        let key = XWingPublicKey::from_bytes(&notice.key).unwrap();
        let share = Submission::seal(&self.wrong(holder), Purpose::Give, &binding, &key, &mut os_rng());
        self.seal.submit_sealed(share, Some(from.parse().unwrap())).await
    }
}

const STRANGER: &str = "203.0.113.7";

#[tokio::test]
async fn text_shares_have_the_allowance_of_sealed_ones() {
    let bench = Bench::new();
    for _ in 0..REFUSALS_MAX / 2 {
        assert!(matches!(bench.send(1, STRANGER).await, Err(OpError::Invalid(_))));
        assert!(matches!(bench.send_sealed(1, STRANGER).await, Err(OpError::Invalid(_))));
    }
    let waits = |answer| matches!(answer, Err(OpError::Busy(Busy::Source(_))));
    assert!(waits(bench.send(1, STRANGER).await), "one allowance for both forms");
    assert!(waits(bench.send_sealed(1, STRANGER).await));
    assert!(matches!(bench.send(1, "198.51.100.1").await, Err(OpError::Invalid(_))), "nobody else waits");
    bench.clock.0.store(REFUSAL_MS, Ordering::Relaxed);
    assert!(matches!(bench.send(1, STRANGER).await, Err(OpError::Invalid(_))), "one more after a while");
    assert!(waits(bench.send(1, STRANGER).await));
}

#[tokio::test]
async fn each_name_stands_once_in_what_anyone_sees() {
    let bench = Bench::new();
    for network in 0..100 {
        let _ = bench.send(1, &format!("10.0.{network}.1")).await;
        let _ = bench.send_sealed(1, &format!("10.1.{network}.1")).await;
    }
    let _ = bench.send(2, STRANGER).await;
    let notice = bench.notice();
    let shown: Vec<_> = notice.refused.iter().map(|refused| (refused.name.as_str(), refused.times)).collect();
    assert_eq!(shown, [("boris", 200), ("carla", 1)]);
    let transcript = Transcript::decode(&notice.transcript).unwrap();
    let refused = transcript.events().iter().filter(|event| event.kind == EventKind::Refused);
    assert_eq!(refused.map(|event| event.name.as_str()).collect::<Vec<_>>(), ["boris", "carla"]);
}
