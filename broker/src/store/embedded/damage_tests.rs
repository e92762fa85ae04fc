//! What is found after an end without order: torn tails, flipped bits, files that are missing, older or of
//! another store.

#![allow(clippy::unwrap_used)]

use std::fs;

use redb::{ReadableDatabase, TableDefinition};

use super::rig::{Frail, Pair, Random, TINY};
use super::*;
use crate::store::Expect;

const BLOCK: usize = 4096;

fn key(number: u32) -> Vec<u8> {
    [&[9; 17][..], &number.to_be_bytes()].concat()
}

fn put(number: u32) -> Vec<Write> {
    vec![Write::Put { key: key(number), value: vec![7; 600], expect: Expect::Any }]
}

async fn commit(store: &EmbeddedStore, numbers: std::ops::Range<u32>) {
    for number in numbers {
        store.commit(put(number)).await.unwrap();
    }
}

/// How many of the first rows are there, without a gap.
async fn rows(store: &EmbeddedStore) -> u32 {
    let scan = Scan { from: &[0], until: &[255; 20], descending: false, limit: 1000 };
    let keys = store.keys(scan).await.unwrap();
    assert!(keys.iter().cloned().eq((0..).map(key).take(keys.len())), "a gap among {} rows", keys.len());
    u32::try_from(keys.len()).unwrap()
}

/// A store that was killed with six acknowledged commits in its write-ahead file, of a block each.
async fn killed() -> Pair {
    let files = Pair::default();
    let store = files.store(Start::Create).unwrap();
    commit(&store, 0..6).await;
    files.killed()
}

fn with_wal(files: &Pair, change: impl FnOnce(&mut Vec<u8>)) -> Pair {
    let files = files.killed();
    files.wal.set(|state| change(&mut state.bytes));
    files
}

fn refusal(files: &Pair) -> String {
    match files.store(Start::Open) {
        Err(StoreError::Corrupt(cause)) => cause.to_string(),
        other => panic!("expected Corrupt, found {other:?}"),
    }
}

/// Where the records of [`killed`] stand: a head block, then the records.
fn record(number: usize) -> usize {
    BLOCK * (1 + number)
}

#[tokio::test]
async fn no_flipped_bit_loses_what_a_later_record_shows_to_have_been_acknowledged() {
    let files = killed().await;
    let meant = 800; // head, digest, key and value are less; padding follows
    let (mut refused, mut harmless) = (0, 0);
    for number in 0..6 {
        for at in (record(number)..record(number) + meant).step_by(if number == 2 { 1 } else { 13 }) {
            let damaged = with_wal(&files, |bytes| bytes[at] ^= 1 << (at % 8));
            match damaged.store(Start::Open) {
                Err(StoreError::Corrupt(cause)) => {
                    assert!(cause.to_string().contains("in the middle"), "{cause}");
                    refused += 1;
                }
                Ok(store) => {
                    // All of it, or, where nothing follows, all but the last.
                    let rows = rows(&store).await;
                    assert!(rows == 6 || (rows == 5 && number == 5), "byte {at} of record {number}: {rows}");
                    harmless += 1;
                }
                Err(other) => panic!("byte {at}: {other:?}"),
            }
        }
    }
    assert!(refused > 700 && harmless > 0, "{refused} refused, {harmless} opened");
}

#[tokio::test]
async fn a_flipped_bit_in_the_head_of_the_ring_is_named() {
    let files = killed().await;
    for at in 0..64 {
        let damaged = with_wal(&files, |bytes| bytes[at] ^= 1 << (at % 8));
        assert!(refusal(&damaged).contains("is damaged, or belongs to another"), "byte {at}");
    }
}

#[tokio::test]
async fn a_torn_tail_is_dropped_and_written_over() {
    let files = killed().await;
    for kept in (0..900).step_by(50) {
        let torn = with_wal(&files, |bytes| bytes[record(5) + kept..record(6)].fill(0));
        let store = torn.store(Start::Open).unwrap();
        let found = rows(&store).await;
        assert!(found == 5 || (found == 6 && kept > 700), "{kept} bytes: {found}");
        commit(&store, found..9).await;
        assert_eq!(rows(&torn.killed().store(Start::Open).unwrap()).await, 9, "{kept} bytes");
    }
}

#[tokio::test]
async fn a_record_that_is_missing_in_the_middle_is_named() {
    let files = killed().await;
    for number in 0..5 {
        let hole = with_wal(&files, |bytes| bytes[record(number)..record(number + 1)].fill(0));
        assert!(refusal(&hole).contains("acknowledged commits are lost"));
    }
    let doubled = with_wal(&files, |bytes| bytes.copy_within(record(3)..record(4), record(2)));
    assert!(refusal(&doubled).contains("acknowledged commits are lost"));
}

#[tokio::test]
async fn a_store_that_was_not_closed_needs_the_file_beside_it() {
    let files = killed().await;
    let missing = with_wal(&files, Vec::clear);
    assert!(refusal(&missing).contains("not beside it"));
    let cut = with_wal(&files, |bytes| bytes.truncate(bytes.len() / 2));
    assert!(refusal(&cut).contains("is damaged, or belongs to another"));
    let foreign = Pair { wal: killed().await.wal, ..files };
    assert!(refusal(&foreign).contains("belongs to another store"));
}

#[tokio::test]
async fn a_closed_store_does_not_need_it_and_takes_nothing_from_it() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    commit(&store, 0..3).await;
    drop(store);
    let older = files.table.get(|state| state.bytes.clone());
    let store = files.tiny(Start::Open);
    commit(&store, 3..9).await;
    drop(store);
    // The older copy is put back. The ring still holds what came after it, and is used again.
    let back = Pair { table: Frail::of(older), wal: files.killed().wal };
    let store = back.tiny(Start::Open);
    assert_eq!(rows(&store).await, 3);
    store.commit(vec![Write::Delete { key: key(500), expect: Expect::Any }]).await.unwrap();
    assert_eq!(rows(&back.killed().tiny(Start::Open)).await, 3);
    let alone = Pair { wal: Arc::default(), ..back };
    drop(store);
    assert_eq!(rows(&alone.tiny(Start::Open)).await, 3);
}

/// Killed at every commit of several rounds of the ring, the store goes on where it was.
#[tokio::test]
async fn records_of_an_earlier_round_are_never_replayed() {
    let mut files = Pair::default();
    drop(files.tiny(Start::Create));
    for number in 0..80 {
        let store = files.tiny(Start::Open);
        assert_eq!(rows(&store).await, number);
        commit(&store, number..number + 1).await;
        files = files.killed();
    }
    let long = Pair::default();
    let store = long.tiny(Start::Create);
    for number in 0..200 {
        commit(&store, number..number + 1).await;
        assert_eq!(rows(&long.killed().tiny(Start::Open)).await, number + 1);
    }
}

/// The header that the version before reads, as it compared it: a name and a 1.
fn is_read_by_the_version_before(table: &Frail) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.redb");
    fs::write(&path, table.get(|state| state.bytes.clone())).unwrap();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    let rows: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
    let header = transaction.open_table(rows).unwrap().get(&[0][..]).unwrap().unwrap();
    header.value().len() == 24 && header.value().starts_with(b"symbolon store\x00\x01")
}

#[tokio::test]
async fn the_version_before_reads_a_closed_store_and_refuses_one_in_use() {
    let files = Pair::default();
    let store = files.tiny(Start::Create);
    assert!(is_read_by_the_version_before(&files.killed().table), "nothing was committed yet");
    commit(&store, 0..1).await;
    assert!(!is_read_by_the_version_before(&files.killed().table));
    commit(&store, 1..40).await;
    assert!(!is_read_by_the_version_before(&files.killed().table), "after a checkpoint");
    store.close().await.unwrap();
    assert!(is_read_by_the_version_before(&files.table));
}

/// As the version before wrote it: rows with their revisions, and a header without a mark.
#[tokio::test]
async fn a_store_of_the_version_before_opens_as_it_is_and_after_a_kill_at_any_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let rows: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
        let mut table = transaction.open_table(rows).unwrap();
        let header = [&b"symbolon store\x00\x01"[..], &41_u64.to_be_bytes()].concat();
        table.insert(&[0][..], header.as_slice()).unwrap();
        let row = [&17_u64.to_be_bytes()[..], &[7; 600]].concat();
        table.insert(key(0).as_slice(), row.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let old = Pair { table: Frail::of(fs::read(&path).unwrap()), wal: Arc::default() };
    for calls in 0..40 {
        let files = old.killed();
        let store = files.tiny(Start::Open);
        assert_eq!(store.get(&key(0)).await.unwrap().unwrap().revision, 17);
        files.both(|state| state.calls_until_failure = Some((calls, std::io::ErrorKind::Other)));
        let committed = store.commit(put(1)).await.is_ok();
        let found = rows(&files.killed().tiny(Start::Open)).await;
        assert!(found == 2 || (found == 1 && !committed), "{found} rows after {calls} calls");
        if committed {
            assert_eq!(store.get(&key(1)).await.unwrap().unwrap().revision, 42);
        }
    }
}

/// Everything at random, against a map: commits that hold and commits that do not, scans of all kinds,
/// orderly ends and kills.
#[tokio::test]
async fn answers_as_the_reference_does() {
    for seed in 1..=20 {
        let mut random = Random(seed * 7919);
        let mut files = Pair::default();
        let mut store = files.tiny(Start::Create);
        let reference = crate::store::memory::MemoryStore::new();
        for step in 0..300 {
            let ops = random_ops(&mut random, &store).await;
            let (found, wanted) = (store.commit(ops.clone()).await, reference.commit(ops).await);
            assert_eq!(format!("{found:?}"), format!("{wanted:?}"), "seed {seed}, step {step}");
            compare(&mut random, &store, &reference, seed).await;
            match random.below(40) {
                0 => files = files.killed(),
                1 => store.close().await.unwrap(),
                _ => continue,
            }
            drop(store);
            store = files.tiny(Start::Open);
        }
    }
}

async fn random_ops(random: &mut Random, store: &EmbeddedStore) -> Vec<Write> {
    let mut ops = Vec::new();
    for _ in 0..1 + random.below(4) {
        let key = key(u32::try_from(random.below(50)).unwrap());
        let expect = match random.below(8) {
            0 => Expect::Absent,
            1 => Expect::Revision(store.get(&key).await.unwrap().map_or(7, |row| row.revision)),
            _ => Expect::Any,
        };
        let length = usize::try_from(random.below(3) * random.below(900)).unwrap();
        ops.push(match random.below(3) {
            0 => Write::Delete { key, expect },
            _ => Write::Put { key, value: vec![u8::try_from(random.below(256)).unwrap(); length], expect },
        });
    }
    ops
}

/// The same rows in a random range. Revisions differ only in where they begin.
async fn compare(random: &mut Random, store: &EmbeddedStore, reference: &dyn Store, seed: u64) {
    let mut bound = || key(u32::try_from(random.below(51)).unwrap());
    let (from, until) = (bound(), bound());
    let limit = usize::try_from(random.below(30)).unwrap();
    for descending in [false, true] {
        let scan = Scan { from: &from, until: &until, descending, limit };
        let (found, wanted) = (store.scan(scan).await.unwrap(), reference.scan(scan).await.unwrap());
        let bare = |rows: Vec<(Vec<u8>, Row)>| {
            rows.into_iter().map(|(key, row)| (key, row.value)).collect::<Vec<_>>()
        };
        assert!(bare(found) == bare(wanted), "seed {seed}, limit {limit}, descending {descending}");
    }
    if limit == 0 {
        let (found, wanted) = (pages(store, random).await, pages(reference, random).await);
        assert!(found == wanted, "seed {seed}: a snapshot");
    }
}

/// All rows of a snapshot, by pages of random sizes.
async fn pages(store: &dyn Store, random: &mut Random) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut snapshot = store.snapshot().await.unwrap();
    let mut rows = Vec::new();
    loop {
        let page = snapshot.next(usize::try_from(1 + random.below(3000)).unwrap()).await.unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// Two rows are always written together; no scan sees one without the other, whatever is on its way where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_is_one_view_while_commits_and_checkpoints_go_on() {
    let files = Pair::default();
    let store = Arc::new(files.sized(TINY, Start::Create).unwrap());
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 0..600_u32 {
                let put = |row| Write::Put {
                    key: key(row),
                    value: number.to_be_bytes().to_vec(),
                    expect: Expect::Any,
                };
                let other = Write::Put { key: key(5), value: vec![1; 3000], expect: Expect::Any };
                store.commit(vec![put(1), put(9), other]).await.unwrap();
            }
        }
    });
    let mut views = 0;
    while !writer.is_finished() || views == 0 {
        let scan = Scan { from: &key(0), until: &key(10), descending: views % 2 == 0, limit: 1000 };
        let rows = store.scan(scan).await.unwrap();
        let pair: Vec<_> = rows.iter().filter(|(found, _)| *found != key(5)).map(|(_, row)| row).collect();
        assert!(pair.len() != 1 && pair.windows(2).all(|pair| pair[0] == pair[1]), "{pair:?}");
        views += 1;
    }
    writer.await.unwrap();
    assert!(files.table.get(|state| state.syncs) > 20, "checkpoints went on meanwhile");
}
