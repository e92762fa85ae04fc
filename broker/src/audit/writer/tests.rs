//! The writer over the reference store: groups, conflicts, failures at every commit, fencing, refusing a bad
//! log.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::audit::Detail;
use symbolon_core::clock::Now;
use symbolon_proto::log::Entry;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use super::*;
use crate::audit::log::rows::{
    bundle_key, bundles_end, checkpoint_key, decode_bundle, first_index, head_key, tile_key,
};
use crate::store::memory::{Failure, MemoryStore};
use crate::store::{Expect, Row, Scan};

mod checkpoints;

pub(crate) struct HandClock(pub(crate) AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Now {
        Now { unix_ms: self.0.load(Ordering::Relaxed), boot_ms: 0 }
    }
}

/// One deployment: a store, a clock and keys that can be made again.
pub(crate) struct Bench {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<HandClock>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new()), clock: Arc::new(HandClock(AtomicU64::new(1000))) }
    }

    pub(crate) fn keys() -> LogKeys {
        let audit = AuditKey::from_secret(Secret::filled_by(|out| out.fill(3)));
        let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
        LogKeys {
            audit: Arc::new(audit),
            signer: NoteSigner::new("symbolon/test", seed).unwrap(),
            deployment: DeploymentId::from_bytes([1; 16]),
            broker: BrokerId::from_bytes([2; 16]),
        }
    }

    /// A writer that signs the first group, when it is asked, and at the end.
    async fn try_start(&self) -> Result<Writer, StartError> {
        self.start_signing(Duration::from_hours(1)).await
    }

    async fn start_signing(&self, every: Duration) -> Result<Writer, StartError> {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Writer::start_signing(store, clock, Self::keys(), every).await
    }

    pub(crate) async fn start(&self) -> Arc<Writer> {
        Arc::new(self.try_start().await.unwrap())
    }

    /// Entries in the store, in order, checked against the checkpoint by a fresh start.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let size = self.start().await.size();
        let (from, until) = (bundle_key(0), bundles_end());
        let scan = Scan { from: &from, until: &until, descending: false, limit: 10_000 };
        let bundles = self.store.scan(scan).await.unwrap();
        let stored = bundles.iter().flat_map(|(_, row)| decode_bundle(&row.value).unwrap());
        let entries: Vec<_> = stored.map(|entry| Entry::decode(&entry.bytes).unwrap()).collect();
        assert_eq!(entries.len() as u64, size);
        assert!(entries.iter().zip(0..).all(|(entry, index)| entry.index == index));
        entries
    }

    /// Entries that the stored checkpoint covers.
    fn signed(&self) -> u64 {
        checkpoints::signed_size(&self.store.rows().get(&checkpoint_key()).unwrap().value)
    }

    async fn row(&self, name: &str) -> Option<Row> {
        self.store.get(&key(name)).await.unwrap()
    }
}

fn key(name: &str) -> Vec<u8> {
    [&[9; 17], name.as_bytes()].concat()
}

fn put(name: &str, value: &str, expect: Expect) -> Write {
    Write::Put { key: key(name), value: value.as_bytes().to_vec(), expect }
}

pub(crate) fn draft() -> Draft {
    let detail =
        Detail { caller: "alice".to_owned(), path: "secret/data/db".to_owned(), ..Detail::default() };
    Draft { action: Action::Init, outcome: Outcome::Allowed, detail }
}

/// Queues jobs while the store stands still, so that those after the first form one group.
pub(crate) async fn together(
    bench: &Bench,
    writer: &Arc<Writer>,
    jobs: Vec<Vec<Write>>,
) -> Vec<Result<u64, CommitError>> {
    bench.store.pause();
    let mut waiting = Vec::new();
    for changes in std::iter::once(Vec::new()).chain(jobs) {
        let writer = Arc::clone(writer);
        waiting.push(tokio::spawn(async move {
            writer.commit(changes, draft()).await.map(|receipt| receipt.index())
        }));
        settle().await;
    }
    bench.store.resume();
    let mut results = Vec::new();
    for job in waiting {
        results.push(job.await.unwrap());
    }
    results.split_off(1)
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn changes_and_entry_become_durable_together() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let receipt = writer.commit(vec![put("a", "1", Expect::Absent)], draft()).await.unwrap();
    assert_eq!((receipt.index(), writer.size()), (0, 1));
    assert_eq!(bench.row("a").await.unwrap().value, b"1");
    assert_eq!(bench.entries().await.len(), 1);
    assert_eq!(bench.store.commits_begun(), 1);
}

#[tokio::test]
async fn many_jobs_share_few_commits() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let results = together(&bench, &writer, vec![Vec::new(); 600]).await;
    let indices: BTreeSet<u64> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(indices, (1..=600).collect());
    assert_eq!(bench.store.commits_begun(), 1 + 3, "600 jobs in groups of 256");
    assert!(bench.store.get(&tile_key(0, 1)).await.unwrap().is_some());
    assert!(bench.store.get(&tile_key(0, 2)).await.unwrap().is_none());
    assert_eq!(bench.entries().await.len(), 601);
}

#[tokio::test]
async fn a_conflict_drops_one_job_and_leaves_no_entry() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let _ = writer.commit(vec![put("a", "1", Expect::Absent)], draft()).await.unwrap();
    let jobs = vec![
        vec![put("b", "1", Expect::Absent)],
        vec![put("c", "1", Expect::Any), put("a", "2", Expect::Absent)],
        vec![put("d", "1", Expect::Absent)],
    ];
    let results = together(&bench, &writer, jobs).await;
    assert!(matches!(results[..], [Ok(2), Err(CommitError::Conflict { op: 1 }), Ok(3)]), "{results:?}");
    assert_eq!(bench.row("a").await.unwrap().value, b"1");
    assert!(bench.row("c").await.is_none());
    assert!(bench.row("b").await.is_some() && bench.row("d").await.is_some());
    assert_eq!(bench.entries().await.len(), 4);
}

#[tokio::test]
async fn jobs_of_one_group_see_each_other() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let _ = writer.commit(vec![put("a", "0", Expect::Absent)], draft()).await.unwrap();
    let revision = bench.row("a").await.unwrap().revision;
    let jobs = vec![
        vec![put("a", "1", Expect::Revision(revision))],
        vec![put("a", "2", Expect::Revision(revision))],
        vec![put("new", "1", Expect::Absent)],
        vec![put("new", "2", Expect::Absent)],
        vec![Write::Delete { key: key("new"), expect: Expect::Any }],
        vec![put("new", "3", Expect::Absent)],
    ];
    let results = together(&bench, &writer, jobs).await;
    let won: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(won, [true, false, true, false, true, true], "{results:?}");
    assert_eq!(bench.row("a").await.unwrap().value, b"1");
    assert_eq!(bench.row("new").await.unwrap().value, b"3");
    assert_eq!(bench.entries().await.len(), 2 + 4);
}

#[tokio::test]
async fn a_failure_at_any_commit_fails_its_group_and_nothing_else() {
    for failure in [Failure::Full, Failure::LostRequest, Failure::LostAnswer] {
        for at in 0..6 {
            let bench = Bench::new();
            let writer = bench.start().await;
            bench.store.fail_commit(at, failure);
            let mut acknowledged = Vec::new();
            for number in 0..6 {
                let name = number.to_string();
                match writer.commit(vec![put(&name, "1", Expect::Absent)], draft()).await {
                    Ok(receipt) => acknowledged.push((name, receipt.index())),
                    Err(CommitError::Full) => assert_eq!(failure, Failure::Full),
                    Err(CommitError::Unavailable(_)) => assert_ne!(failure, Failure::Full),
                    Err(error) => panic!("{failure:?} at {at}: {error:?}"),
                }
            }
            assert_eq!(acknowledged.len(), 5, "{failure:?} at {at}");
            let happened = if failure == Failure::LostAnswer { 6 } else { 5 };
            assert_eq!(bench.entries().await.len(), happened, "{failure:?} at {at}");
            for (name, _) in &acknowledged {
                assert!(bench.row(name).await.is_some());
            }
            let indices: BTreeSet<u64> = acknowledged.iter().map(|(_, index)| *index).collect();
            assert_eq!(indices.len(), 5, "no index is given twice");
        }
    }
}

#[tokio::test]
async fn a_second_broker_is_fenced_out() {
    let bench = Bench::new();
    let (first, second) = (bench.start().await, bench.start().await);
    assert_eq!(second.commit(Vec::new(), draft()).await.unwrap().index(), 0);
    let late = first.commit(vec![put("a", "1", Expect::Any)], draft()).await;
    assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
    assert!(first.is_fenced() && !second.is_fenced());
    settle().await;
    let later = first.commit(Vec::new(), draft()).await;
    assert!(matches!(later, Err(CommitError::Fenced)), "{later:?}");
    assert!(bench.row("a").await.is_none());
    assert_eq!(second.commit(Vec::new(), draft()).await.unwrap().index(), 1);
    assert_eq!(bench.entries().await.len(), 2);
}

#[tokio::test]
async fn jobs_may_not_touch_the_log_or_grow_without_bound() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    for row in [bundle_key(0), bundle_key(9), tile_key(0, 0), checkpoint_key(), head_key(), vec![1]] {
        let changes = vec![put("a", "1", Expect::Any), Write::Delete { key: row, expect: Expect::Any }];
        let refused = writer.commit(changes, draft()).await;
        assert!(matches!(refused, Err(CommitError::NotAllowed { op: 1 })), "{refused:?}");
    }
    let many = vec![put("a", "1", Expect::Any); JOB_OPS_MAX + 1];
    assert!(matches!(writer.commit(many, draft()).await, Err(CommitError::TooLarge)));
    let mut wordy = draft();
    wordy.detail.path = "x".repeat(DETAIL_BYTES_MAX);
    assert!(matches!(writer.commit(Vec::new(), wordy).await, Err(CommitError::TooLarge)));
    assert_eq!(bench.entries().await.len(), 1);
}

#[tokio::test]
async fn times_never_go_back_not_even_over_a_restart() {
    let bench = Bench::new();
    for now in [5000, 4000, 6000, 100] {
        bench.clock.0.store(now, Ordering::Relaxed);
        let _ = bench.start().await.commit(Vec::new(), draft()).await.unwrap();
    }
    let entries = bench.entries().await;
    let times: Vec<u64> = entries.iter().map(|entry| entry.time_ms).collect();
    assert_eq!(times, [5000, 5000, 6000, 6000]);
}

#[tokio::test]
async fn names_are_not_readable_on_disk() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    for (key, row) in bench.store.rows() {
        for name in [&b"alice"[..], b"secret/data"] {
            assert!(!row.value.windows(name.len()).any(|window| window == name), "found in {key:?}");
        }
    }
}

#[tokio::test]
async fn what_was_queued_is_committed_before_the_writer_ends() {
    let bench = Bench::new();
    let writer = bench.try_start().await.unwrap();
    bench.store.pause();
    let waiting = {
        let mut commit = Box::pin(writer.commit(vec![put("a", "1", Expect::Any)], draft()));
        let queued = timeout(Duration::from_millis(20), &mut commit).await;
        queued.is_err()
    };
    assert!(waiting, "the store stands still");
    let stop = tokio::spawn(writer.stop());
    settle().await;
    bench.store.resume();
    stop.await.unwrap();
    assert!(bench.row("a").await.is_some(), "a dropped future does not take its job back");
}

#[tokio::test]
async fn the_audit_key_outlives_the_last_commit() {
    let bench = Bench::new();
    let keys = Bench::keys();
    let key = Arc::downgrade(&keys.audit);
    let (store, clock) = (Arc::clone(&bench.store), Arc::clone(&bench.clock));
    let writer = Arc::new(Writer::start(store, clock, keys).await.unwrap());
    bench.store.pause();
    let caller = Arc::clone(&writer);
    let job = tokio::spawn(async move { caller.commit(Vec::new(), draft()).await.map(drop) });
    settle().await;
    job.abort();
    drop(writer);
    settle().await;
    assert!(key.upgrade().is_some(), "a commit is under way");
    bench.store.resume();
    while key.upgrade().is_some() {
        settle().await;
    }
    assert_eq!(bench.entries().await.len(), 1);
}

/// A log that was tampered with, and the word that its refusal must contain.
async fn check_refused(entries: usize, expected: &str, tamper: impl Fn(&MemoryStore)) {
    let bench = Bench::new();
    let writer = bench.start().await;
    let _ = together(&bench, &writer, vec![Vec::new(); entries - 1]).await;
    tamper(&bench.store);
    match bench.try_start().await {
        Err(StartError::Log(error)) => {
            assert!(error.to_string().contains(expected), "{error} should say {expected}");
        }
        Err(error) => panic!("expected a refusal with {expected}, found {error:?}"),
        Ok(_) => panic!("a log with {expected} was accepted"),
    }
}

/// Index of the first entry of the bundle that holds entry `index`.
pub(crate) fn bundle_with(store: &MemoryStore, index: u64) -> u64 {
    let rows = store.rows();
    let bundles = rows.range(bundle_key(0)..=bundle_key(index));
    bundles.last().and_then(|(key, _)| first_index(key)).unwrap()
}

pub(crate) fn flip(store: &MemoryStore, key: &[u8], byte: usize) {
    let mut value = store.rows().get(key).unwrap().value.clone();
    value[byte] ^= 1;
    store.tamper(key, Some(value));
}

#[tokio::test]
async fn a_cut_or_altered_log_is_refused() {
    check_refused(20, "no checkpoint", |store| store.tamper(&checkpoint_key(), None)).await;
    check_refused(20, "20 entries", |store| store.tamper(&bundle_key(1), None)).await;
    check_refused(20, "20 entries", |store| {
        let copy = store.rows().get(&bundle_key(0)).unwrap().value.clone();
        store.tamper(&bundle_key(20), Some(copy));
    })
    .await;
    check_refused(20, "root", |store| flip(store, &bundle_key(1), 100)).await;
    check_refused(20, "damaged", |store| flip(store, &bundle_key(1), 0)).await;
    check_refused(20, "does not verify", |store| flip(store, &checkpoint_key(), 30)).await;
    check_refused(20, "does not verify", |store| flip(store, &checkpoint_key(), 0)).await;
    check_refused(20, "its key has written", |store| flip(store, &head_key(), 0)).await;
    check_refused(600, "tile 1", |store| store.tamper(&tile_key(0, 1), None)).await;
    check_refused(600, "root", |store| flip(store, &tile_key(0, 0), 5)).await;
    check_refused(600, "damaged", |store| store.tamper(&bundle_key(bundle_with(store, 520)), None)).await;
}

#[tokio::test]
async fn a_checkpoint_and_a_head_of_before_are_noticed() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    let old = bench.store.rows();
    let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    for row in [checkpoint_key(), head_key()] {
        bench.store.tamper(&row, old.get(&row).map(|row| row.value.clone()));
    }
    assert!(matches!(
        bench.try_start().await,
        Err(StartError::Log(TailError::Size { expected: 1, found: 2 }))
    ));
}
