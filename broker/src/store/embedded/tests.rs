//! The embedded store: the contract, the lock, foreign files, and a medium that fails.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use super::rig::{CACHE, Pair};
use super::*;
use crate::store::{Expect, conformance};

fn path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("symbolon.redb");
    (directory, path)
}

fn key(number: u32) -> Vec<u8> {
    [&[9; 17][..], &number.to_be_bytes()].concat()
}

fn put(number: u32, value: &[u8]) -> Write {
    Write::Put { key: key(number), value: value.to_vec(), expect: Expect::Any }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let mut directories = Vec::new();
    conformance::check_all(|| {
        let (directory, path) = path();
        directories.push(directory);
        EmbeddedStore::create(&path, CACHE).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_with_files_that_are_always_full() {
    conformance::check_all(|| Pair::default().tiny(Start::Create)).await;
}

#[tokio::test]
async fn survives_reopening_and_goes_on_counting() {
    let (_directory, path) = path();
    let store = EmbeddedStore::create(&path, CACHE).unwrap();
    store.commit(vec![put(1, b"one")]).await.unwrap();
    let before = store.get(&key(1)).await.unwrap().unwrap();
    store.commit(vec![Write::Delete { key: key(1), expect: Expect::Any }]).await.unwrap();
    drop(store);

    let store = EmbeddedStore::open(&path, CACHE).unwrap();
    assert!(store.get(&key(1)).await.unwrap().is_none());
    store.commit(vec![put(1, b"one")]).await.unwrap();
    let after = store.get(&key(1)).await.unwrap().unwrap();
    assert!(after.revision > before.revision, "{} after {}", after.revision, before.revision);
}

#[tokio::test]
async fn a_closed_store_can_be_opened_elsewhere_and_copied() {
    let (_directory, path) = path();
    let store = EmbeddedStore::create(&path, CACHE).unwrap();
    for number in 0..64 {
        store.commit(vec![put(number, &[7; 10_000])]).await.unwrap();
    }
    store.close().await.unwrap();
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).unwrap();
    for path in [&path, &copy] {
        assert!(!crash_needs_walk(path));
        let opened = EmbeddedStore::open(path, CACHE).unwrap(); // `store` is still alive
        assert!(opened.get(&key(63)).await.unwrap().is_some());
    }
}

#[test]
fn create_never_overwrites_and_open_never_creates() {
    let (_directory, path) = path();
    assert!(matches!(EmbeddedStore::open(&path, CACHE), Err(StoreError::Missing)));
    assert!(!path.exists());
    drop(EmbeddedStore::create(&path, CACHE).unwrap());
    let before = fs::read(&path).unwrap();
    assert!(matches!(EmbeddedStore::create(&path, CACHE), Err(StoreError::Exists)));
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_store_in_use_is_locked() {
    let (_directory, path) = path();
    let first = EmbeddedStore::create(&path, CACHE).unwrap();
    assert!(matches!(EmbeddedStore::open(&path, CACHE), Err(StoreError::Locked)));
    drop(first);
    let second = EmbeddedStore::open(&path, CACHE).unwrap();
    assert!(matches!(EmbeddedStore::open(&path, CACHE), Err(StoreError::Locked)));
    drop(second);
    EmbeddedStore::open(&path, CACHE).unwrap();
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let (_directory, path) = path();
    let other = path.with_extension("other");
    drop(redb::Database::create(&other).unwrap());
    for content in [Vec::new(), b"redb".to_vec(), vec![b'x'; 1 << 16], fs::read(&other).unwrap()] {
        fs::write(&path, &content).unwrap();
        let opened = EmbeddedStore::open(&path, CACHE);
        assert!(matches!(opened, Err(StoreError::Foreign)), "{} bytes: {opened:?}", content.len());
        if !content.starts_with(b"redb\x1a") {
            assert!(fs::read(&path).unwrap() == content);
        }
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(EmbeddedStore::open(&path, CACHE).is_err());
}

#[tokio::test]
async fn a_cut_file_is_damaged() {
    let (_directory, path) = path();
    let store = EmbeddedStore::create(&path, CACHE).unwrap();
    store.commit(vec![put(1, &[7; 100_000])]).await.unwrap();
    drop(store);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    assert!(matches!(EmbeddedStore::open(&path, CACHE), Err(StoreError::Corrupt(_))));
}

/// Whether opening a copy of the file, which is what a crash leaves, walks through it.
fn crash_needs_walk(path: &Path) -> bool {
    let copy = path.with_extension("crashed");
    fs::copy(path, &copy).unwrap();
    let walked = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&walked);
    let mut builder = redb::Builder::new();
    builder.set_repair_callback(move |_| *seen.lock().unwrap() = true);
    let opened = builder.open(&copy); // a copy made during a write is a crash of its own, perhaps a fatal one
    let walked = *walked.lock().unwrap();
    opened.is_err() || walked
}

#[tokio::test]
async fn no_crash_needs_a_walk_through_the_file() {
    let (_directory, path) = path();
    let store = EmbeddedStore::create(&path, CACHE).unwrap();
    assert!(!crash_needs_walk(&path), "a new store");
    for number in 0..20 {
        store.commit(vec![put(number, b"one")]).await.unwrap();
        assert!(!crash_needs_walk(&path), "commit {number}");
    }
}

#[tokio::test]
async fn a_commit_is_one_write_and_one_sync_of_one_block() {
    let files = Pair::default();
    let store = files.store(Start::Create).unwrap();
    store.commit(vec![put(0, &[7; 600])]).await.unwrap();
    let counted = |files: &Pair| files.wal.get(|state| (state.writes, state.syncs, state.bytes_written));
    let (before, table) = (counted(&files), files.table.get(|state| state.writes));
    for number in 1..=100 {
        store.commit(vec![put(number, &[7; 600])]).await.unwrap();
    }
    let after = counted(&files);
    assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (100, 100, 100 * 4096));
    assert_eq!(files.table.get(|state| state.writes), table, "the table follows later");
}

/// As reads on one connection commit: an entry, and the checkpoint that is replaced, amid other rows.
#[tokio::test]
async fn a_durable_read_costs_the_disk_five_kibibytes() {
    const READS: u64 = 5000;
    let files = Pair::default();
    let media = Files { table: Arc::clone(&files.table) as _, wal: Arc::clone(&files.wal) as _ };
    let store = EmbeddedStore::start(media, SIZES, CACHE_BYTES_DEFAULT, Start::Create).unwrap();
    let row = |table: u8, number: u64, bytes: usize| {
        let key = [&[table; 17][..], &number.to_be_bytes()].concat();
        Write::Put { key, value: vec![7; bytes], expect: Expect::Any }
    };
    for number in 0..20 {
        store.commit((0..100).map(|at| row(9, at * 20 + number, 300)).collect()).await.unwrap();
    }
    let written = || files.wal.get(|wal| wal.bytes_written) + files.table.get(|table| table.bytes_written);
    let before = written();
    for number in 0..READS {
        store.commit(vec![row(1, number, 530), row(2, 0, 200)]).await.unwrap();
    }
    store.close().await.unwrap();
    let each = (written() - before) / READS;
    assert!((4096..=5 * 1024).contains(&each), "{each} bytes each");
}
