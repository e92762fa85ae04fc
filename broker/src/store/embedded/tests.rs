//! The embedded store: the contract, the lock, foreign files, and a medium that fails.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::store::{Expect, conformance};

const CACHE: usize = 1 << 20;

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
async fn a_quiet_store_opens_quickly_after_a_crash() {
    let (_directory, path) = path();
    let store = EmbeddedStore::create(&path, CACHE).unwrap();
    assert!(!crash_needs_walk(&path), "a new store is settled");
    let mut needed_walk = false;
    for number in 0..20 {
        store.commit(vec![put(number, b"one")]).await.unwrap();
        needed_walk |= crash_needs_walk(&path);
    }
    assert!(needed_walk, "commits do not settle the store themselves");
    for _ in 0..100 {
        tokio::time::sleep(QUIET).await;
        if !crash_needs_walk(&path) {
            return;
        }
    }
    panic!("the store never settled");
}

/// A medium in memory with a limit to its size, and calls that can be made to fail.
#[derive(Debug, Default)]
struct Frail(Mutex<FrailState>);

#[derive(Debug, Default)]
struct FrailState {
    bytes: Vec<u8>,
    /// Reports plenty of free space even so, as a file system with quotas does.
    capacity: Option<usize>,
    reports_free: Option<u64>,
    calls_until_failure: Option<(u32, io::ErrorKind)>,
    sync_fails: bool,
}

impl Frail {
    fn set(&self, change: impl FnOnce(&mut FrailState)) {
        change(&mut self.0.lock().unwrap());
    }

    fn store(self: &Arc<Self>, start: Start) -> Result<EmbeddedStore, StoreError> {
        EmbeddedStore::start(Arc::clone(self) as Arc<dyn Medium>, CACHE, start)
    }
}

impl FrailState {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.calls_until_failure {
            Some((0, kind)) => Err((*kind).into()),
            Some((calls, _)) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Medium for Frail {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.bytes.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        if state.sync_fails { Err(io::Error::other("injected")) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let offset = usize::try_from(offset).unwrap();
        if state.capacity.is_some_and(|capacity| offset + data.len() > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = state.bytes.len().max(offset + data.len());
        state.bytes.resize(length, 0);
        state.bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().reports_free.unwrap_or(1 << 40))
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_request_only() {
    let medium = Arc::new(Frail::default());
    let store = medium.store(Start::Create).unwrap();
    store.commit(vec![put(1, b"before")]).await.unwrap();
    medium.set(|state| state.reports_free = Some(1000));
    assert!(matches!(store.commit(vec![put(1, b"during")]).await, Err(StoreError::Full)));
    assert_eq!(store.get(&key(1)).await.unwrap().unwrap().value, b"before");
    medium.set(|state| state.reports_free = None);
    store.commit(vec![put(1, b"after")]).await.unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap().unwrap().value, b"after");
}

#[tokio::test]
async fn a_quota_nobody_foresaw_fails_the_request_only() {
    let medium = Arc::new(Frail::default());
    let store = medium.store(Start::Create).unwrap();
    medium.set(|state| state.capacity = Some(8 << 20));
    let mut written = 0;
    let refused = loop {
        match store.commit(vec![put(written, &[7; 200_000])]).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the limit was never reached");
    };
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    for number in 0..written {
        assert!(store.get(&key(number)).await.unwrap().is_some(), "row {number} of {written}");
    }
    assert!(store.get(&key(written)).await.unwrap().is_none());
    // Still full for the large, and well again when there is room.
    assert!(matches!(store.commit(vec![put(written, &[7; 4_000_000])]).await, Err(StoreError::Full)));
    medium.set(|state| state.capacity = None);
    store.commit(vec![put(written, b"after")]).await.unwrap();
    drop(store);
    let store = medium.store(Start::Open).unwrap();
    assert_eq!(store.get(&key(written)).await.unwrap().unwrap().value, b"after");
}

#[tokio::test]
async fn no_failure_at_any_call_breaks_a_commit_in_half() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        let mut failed = 0;
        for calls in 0.. {
            let medium = Arc::new(Frail::default());
            let store = medium.store(Start::Create).unwrap();
            store.commit(vec![put(1, b"old"), put(2, b"old")]).await.unwrap();
            medium.set(|state| state.calls_until_failure = Some((calls, kind)));
            let result = store.commit(vec![put(1, b"new"), put(2, b"new"), put(3, &[1; 50_000])]).await;
            medium.set(|state| state.calls_until_failure = None);
            drop(store);
            let store = medium.store(Start::Open).unwrap();
            let (one, two) = (store.get(&key(1)).await.unwrap(), store.get(&key(2)).await.unwrap());
            let (one, two) = (one.unwrap().value, two.unwrap().value);
            assert_eq!(one, two, "half a commit after {calls} calls");
            match result {
                Ok(()) => assert_eq!(one, b"new"),
                Err(StoreError::Full) => assert_eq!(one, b"old", "Full, but it happened, {calls} calls"),
                Err(_) => {}
            }
            if result.is_ok() {
                break;
            }
            failed += 1;
        }
        assert!(failed >= 3, "a commit makes more calls than {failed}");
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_any_more() {
    let medium = Arc::new(Frail::default());
    let store = medium.store(Start::Create).unwrap();
    store.commit(vec![put(1, b"old")]).await.unwrap();
    medium.set(|state| state.sync_fails = true);
    assert!(matches!(store.commit(vec![put(1, b"new")]).await, Err(StoreError::Unavailable(_))));
    medium.set(|state| state.sync_fails = false);
    assert!(matches!(store.commit(vec![put(1, b"new")]).await, Err(StoreError::Unavailable(_))));
    drop(store);
    let store = medium.store(Start::Open).unwrap();
    store.commit(vec![put(1, b"newer")]).await.unwrap();
}
