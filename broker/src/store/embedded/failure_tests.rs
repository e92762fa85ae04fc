//! A store whose disk is full, or fails.

#![allow(clippy::unwrap_used)]

use std::io;

use super::rig::{Failing, Pair, TINY};
use super::*;
use crate::store::Expect;

fn key(number: u32) -> Vec<u8> {
    [&[9; 17][..], &number.to_be_bytes()].concat()
}

fn put(number: u32, value: &[u8]) -> Write {
    Write::Put { key: key(number), value: value.to_vec(), expect: Expect::Any }
}

/// Commits until one is refused; answers how many were not, and the refusal.
async fn fill(store: &EmbeddedStore, from: u32, bytes: usize) -> (u32, StoreError) {
    for number in from.. {
        if let Err(error) = store.commit(vec![put(number, &vec![7; bytes])]).await {
            return (number, error);
        }
        assert!(number < 2000, "the limit was never reached");
    }
    unreachable!("a refusal ends it");
}

async fn check_rows(store: &EmbeddedStore, written: u32) {
    for number in 0..written {
        assert!(store.get(&key(number)).await.unwrap().is_some(), "row {number} of {written}");
    }
    assert!(store.get(&key(written)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_full_disk_is_served_from_the_ring_until_that_is_full_and_recovers() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    store.commit(vec![put(0, b"before")]).await.unwrap();
    files.both(|state| state.reports_free = Some(1000));
    let (written, refused) = fill(&store, 1, 600).await;
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    assert!(written > 10, "the ring has room for more than {written}");
    check_rows(&store, written).await;
    // What was acknowledged survives a kill on the full disk, and the store opens there.
    let killed = files.killed();
    killed.both(|state| state.reports_free = Some(1000));
    check_rows(&killed.tiny(Start::Open), written).await;
    files.both(|state| state.reports_free = None);
    store.commit(vec![put(written, b"after")]).await.unwrap();
    drop(store);
    check_rows(&files.tiny(Start::Open), written + 1).await;
}

#[tokio::test]
async fn a_new_store_on_a_full_disk_refuses_its_first_commit_and_recovers() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    files.both(|state| state.reports_free = Some(1000));
    assert!(matches!(store.commit(vec![put(0, b"during")]).await, Err(StoreError::Full)));
    files.both(|state| state.reports_free = None);
    for capacity in [1000, 50_000] {
        files.wal.set(|state| state.capacity = Some(capacity));
        assert!(matches!(store.commit(vec![put(0, b"during")]).await, Err(StoreError::Full)));
    }
    files.wal.set(|state| state.capacity = None);
    assert!(store.get(&key(0)).await.unwrap().is_none());
    store.commit(vec![put(0, b"after")]).await.unwrap();
}

#[tokio::test]
async fn a_quota_nobody_foresaw_fails_the_request_only() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    files.table.set(|state| state.capacity = Some(8 << 20));
    let (written, refused) = fill(&store, 0, 10_000).await;
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    check_rows(&store, written).await;
    // Still full for the large, which go into the table at once, and well again when there is room.
    assert!(matches!(store.commit(vec![put(written, &[7; 4_000_000])]).await, Err(StoreError::Full)));
    files.table.set(|state| state.capacity = None);
    store.commit(vec![put(written, b"after")]).await.unwrap();
    drop(store);
    check_rows(&files.tiny(Start::Open), written + 1).await;
}

#[tokio::test]
async fn what_cannot_be_closed_in_order_says_so_and_is_whole_with_both_files() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    store.commit(vec![put(0, b"kept")]).await.unwrap();
    files.both(|state| state.reports_free = Some(1000));
    assert!(matches!(store.close().await, Err(StoreError::Full)));
    assert!(matches!(store.get(&key(0)).await, Err(StoreError::Unavailable(_))));
    check_rows(&files.tiny(Start::Open), 1).await;
}

/// Where a call fails.
#[derive(Clone, Copy, Debug)]
enum Which {
    Table,
    Wal,
}

impl Which {
    fn fail(self, files: &Pair, failure: Option<(u32, io::ErrorKind)>) {
        let medium = match self {
            Self::Table => &files.table,
            Self::Wal => &files.wal,
        };
        medium.set(|state| state.calls_until_failure = failure);
    }
}

/// A commit of each kind: the first of a store, one of many, one that waits for a checkpoint, one that is too
/// large for the ring.
#[tokio::test]
async fn no_failure_at_any_call_breaks_a_commit_in_half() {
    for (before, bytes) in [(0, 50), (1, 50), (15, 4000), (3, 50_000)] {
        for which in [Which::Table, Which::Wal] {
            for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
                for failing in [Failing::Dead, Failing::Deaf, Failing::Once] {
                    fail_at_every_call(before, bytes, which, (kind, failing)).await;
                }
            }
        }
    }
}

async fn fail_at_every_call(before: u32, bytes: usize, which: Which, how: (io::ErrorKind, Failing)) {
    let (kind, failing) = how;
    for calls in 0..40 {
        let files = Pair::default();
        let store = files.tiny(Start::Create);
        for _ in 0..before {
            store.commit(vec![put(1, b"old"), put(2, b"old"), put(3, &vec![1; bytes])]).await.unwrap();
        }
        files.both(|state| state.failing = failing);
        which.fail(&files, Some((calls, kind)));
        let result = store.commit(vec![put(1, b"new"), put(2, b"new"), put(3, &vec![1; bytes])]).await;
        let shown = (store.get(&key(1)).await, store.get(&key(2)).await);
        which.fail(&files, None);
        let what = format!("{before} before, {bytes} bytes, {which:?} {how:?} after {calls} calls");
        if let (Ok(one), Ok(two)) = &shown {
            assert_eq!(one, two, "half a commit is shown: {what}");
        }
        // A kill now, and an orderly end, leave the same.
        let killed = files.killed();
        drop(store);
        for files in [killed, files] {
            check_outcome(&files.tiny(Start::Open), before, &result, &what).await;
        }
    }
}

async fn check_outcome(store: &EmbeddedStore, before: u32, result: &Result<(), StoreError>, what: &str) {
    let value = async |number| store.get(&key(number)).await.unwrap().map(|row| row.value);
    let (one, two) = (value(1).await, value(2).await);
    assert_eq!(one, two, "half a commit: {what}");
    let old = (before > 0).then(|| b"old".to_vec());
    match result {
        Ok(()) => assert_eq!(one.as_deref(), Some(&b"new"[..]), "{what}"),
        Err(StoreError::Full) => assert_eq!(one, old, "Full, but it happened: {what}"),
        Err(_) => assert!(one == old || one.as_deref() == Some(b"new"), "{what}"),
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_or_shown_any_more() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    store.commit(vec![put(1, b"old")]).await.unwrap();
    files.wal.set(|state| state.sync_fails = true);
    assert!(matches!(store.commit(vec![put(1, b"new")]).await, Err(StoreError::Unavailable(_))));
    files.wal.set(|state| state.sync_fails = false);
    assert!(matches!(store.commit(vec![put(1, b"new")]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.get(&key(1)).await, Err(StoreError::Unavailable(_))));
    drop(store);
    let store = files.tiny(Start::Open);
    store.commit(vec![put(1, b"newer")]).await.unwrap();
}

#[tokio::test]
async fn after_a_failed_sync_of_the_table_nothing_is_written_any_more() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    store.commit(vec![put(0, b"kept")]).await.unwrap();
    files.table.set(|state| state.sync_fails = true);
    let (written, refused) = fill(&store, 1, 600).await;
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    files.table.set(|state| state.sync_fails = false);
    assert!(matches!(store.commit(vec![put(1, b"new")]).await, Err(StoreError::Unavailable(_))));
    drop(store);
    check_rows(&files.sized(TINY, Start::Open).unwrap(), written).await;
}
