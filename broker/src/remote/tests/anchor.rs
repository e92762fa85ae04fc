//! The anchor against the real service: what it lets through, what it stops, and what a wrong memory can do.

use std::sync::Arc;

use symbolon_core::seal::Unsealed;
use symbolon_kms_fragment::Options;
use symbolon_proto::frame::AnchorValue;
use symbolon_proto::log::Hash;
use symbolon_proto::log::pruned::{Cut, Order, Pruned};
use symbolon_proto::log::segment::SEGMENT_ENTRIES;

use super::real::{Party, Running};
use super::*;
use crate::audit::log::rows::pruned_key;
use crate::audit::writer::Writer;
use crate::audit::writer::tests::{Bench, draft};
use crate::custody::unseal::anchor::{Anchor, AnchorError, RolledBack};
use crate::store::Store;
use crate::store::memory::MemoryStore;

/// A log, and the remote that remembers it.
struct Scene {
    _running: Running,
    remote: Arc<Remote>,
    /// Puts what the broker under test knows nothing of.
    liar: Arc<Remote>,
    bench: Bench,
    unsealed: Arc<Unsealed>,
}

impl Scene {
    async fn new() -> Self {
        let (running, party) = (Running::start(Options::default()).await, Party::new());
        let remote = party.enrolled(&running).await;
        let liar = party.enrolled_again(&running).await;
        for remote in [&remote, &liar] {
            remote.hello(1).await.unwrap();
        }
        let unsealed = Arc::new(crate::testing::unsealed());
        Self { _running: running, remote, liar, bench: Bench::new(), unsealed }
    }

    /// The anchor of a broker that has just been unsealed on a store.
    fn anchor_of(&self, store: Arc<MemoryStore>) -> Anchor {
        Anchor::new(Arc::clone(&self.remote), store, Arc::clone(&self.unsealed))
    }

    fn anchor(&self) -> Anchor {
        self.anchor_of(Arc::clone(&self.bench.store))
    }

    async fn rolled_back(&self, store: Arc<MemoryStore>) -> RolledBack {
        let anchor = self.anchor_of(store);
        match anchor.confirm().await {
            Err(AnchorError::RolledBack(reason)) if !anchor.is_confirmed() => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn grow(&self, writer: &Writer, entries: usize) {
        for _ in 0..entries {
            drop(writer.commit(Vec::new(), draft()).await.unwrap());
        }
    }
}

/// What the only node remembers.
async fn remembered(remote: &Remote) -> Option<AnchorValue> {
    remote.anchors().await.remove(0).1.unwrap()
}

fn copy(store: &MemoryStore) -> Arc<MemoryStore> {
    let copy = MemoryStore::new();
    store.rows().into_iter().for_each(|(key, row)| copy.tamper(&key, Some(row.value)));
    Arc::new(copy)
}

#[tokio::test]
async fn what_continues_the_remembered_log_passes() {
    let scene = Scene::new().await;
    scene.anchor().confirm().await.unwrap(); // neither a log nor a memory of one
    let writer = scene.bench.start().await;
    for entries in [1, 2, 250, 10, 300] {
        scene.grow(&writer, entries).await;
        let anchor = scene.anchor();
        anchor.update().await.unwrap(); // before it was compared it puts nothing
        anchor.confirm().await.unwrap(); // the log has grown since the last put, as after a crash
        anchor.update().await.unwrap();
        assert_eq!(remembered(&scene.remote).await.unwrap().counter, writer.size());
        anchor.update().await.unwrap(); // and again, with nothing new
        scene.anchor().confirm().await.unwrap(); // a restart
    }
}

#[tokio::test]
async fn an_old_copy_is_refused_whether_it_stood_still_or_went_on() {
    let scene = Scene::new().await;
    let writer = scene.bench.start().await;
    scene.grow(&writer, 270).await;
    let old = copy(&scene.bench.store);
    scene.grow(&writer, 2).await;
    let anchor = scene.anchor();
    anchor.confirm().await.unwrap();
    anchor.update().await.unwrap();
    assert_eq!(scene.rolled_back(Arc::clone(&old)).await, RolledBack::Older { found: 270, expected: 272 });
    let clock = Arc::clone(&scene.bench.clock);
    let strayed = Writer::start(Arc::clone(&old) as Arc<dyn Store>, clock, Bench::keys()).await.unwrap();
    scene.bench.clock.0.fetch_add(1, Ordering::SeqCst);
    scene.grow(&strayed, 5).await;
    assert_eq!(scene.rolled_back(old).await, RolledBack::OtherHistory { size: 272 });
    scene.anchor().confirm().await.unwrap();
}

/// An anchor before the minimum index cannot be compared. Whoever writes the disk must not be able to say
/// that all of them are.
#[tokio::test]
async fn a_forged_beginning_does_not_make_an_old_copy_the_newest() {
    let scene = Scene::new().await;
    let writer = scene.bench.start().await;
    scene.grow(&writer, 270).await;
    let old = copy(&scene.bench.store);
    scene.grow(&writer, 2).await;
    let anchor = scene.anchor();
    anchor.confirm().await.unwrap();
    anchor.update().await.unwrap();
    let clock = Arc::clone(&scene.bench.clock);
    let strayed = Writer::start(Arc::clone(&old) as Arc<dyn Store>, clock, Bench::keys()).await.unwrap();
    scene.grow(&strayed, 5).await;
    for end in [SEGMENT_ENTRIES, 1 << 32] {
        let cut = Cut { first: 0, end, time_ms: 0, order: Order::Policy, exported: true };
        let forged = Pruned::default().after(cut, Hash::EMPTY_ROOT);
        old.tamper(&pruned_key(), Some(forged.text().into_bytes()));
        assert_eq!(scene.rolled_back(Arc::clone(&old)).await, RolledBack::OtherHistory { size: 272 });
    }
}

#[tokio::test]
async fn a_wrong_memory_can_deny_service_and_nothing_else() {
    let scene = Scene::new().await;
    let writer = scene.bench.start().await;
    scene.grow(&writer, 3).await;
    let open = scene.anchor();
    open.confirm().await.unwrap();
    for (counter, reason) in [
        (3, RolledBack::OtherHistory { size: 3 }),
        (u64::MAX, RolledBack::Older { found: 3, expected: u64::MAX }),
    ] {
        let put = scene.liar.put_anchor(AnchorValue { counter, value: [9; 32] }).await;
        assert!(matches!(put.as_slice(), [(1, Ok(_))]));
        assert_eq!(scene.rolled_back(Arc::clone(&scene.bench.store)).await, reason);
    }
    // A broker that is open hears of it when it puts its own, which the service then refuses.
    scene.grow(&writer, 1).await;
    assert!(matches!(open.update().await, Err(AnchorError::RolledBack(RolledBack::Older { .. }))));
}

#[tokio::test]
async fn before_the_hello_nothing_is_evaluated() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let remote = party.enrolled(&running).await;
    let half = Half::new(party.deployment);
    assert_eq!(half.round_trip(&remote, 1).await, Err(EvaluateError::NotRegistered));
    assert_eq!(remembered(&remote).await, None);
    assert_eq!(half.round_trip(&remote, 1).await, Err(EvaluateError::NotRegistered), "asking is no hello");
    remote.hello(1).await.unwrap();
    half.round_trip(&remote, 1).await.unwrap();
}
