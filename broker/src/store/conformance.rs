//! The contract of [`Store`] as checks that every store runs on an empty instance of itself.
//!
//! A check panics with what it found. Stores call [`check_all`] from their own tests.

use std::sync::Arc;

use super::{Answer, Expect, KEY_BYTES_MAX, Row, Scan, Store, StoreError, Write};

/// Runs every check, each on a fresh store from `empty`.
pub async fn check_all<S: Store>(mut empty: impl FnMut() -> S) {
    check_absent_rows(&empty()).await;
    check_put_get_delete(&empty()).await;
    check_expectations(&empty()).await;
    check_commits_are_all_or_nothing(&empty()).await;
    check_order_within_a_commit(&empty()).await;
    check_revisions_never_repeat(&empty()).await;
    check_scans(&empty()).await;
    check_bounds(&empty()).await;
    check_one_of_many_wins(Arc::new(empty())).await;
    check_concurrent_counters(Arc::new(empty())).await;
    check_snapshots(&empty()).await;
    check_close(&empty()).await;
}

/// What was never written is absent, and an empty commit is fine.
pub async fn check_absent_rows(store: &dyn Store) {
    assert_eq!(take(store.get(&key(b"nothing"))).await, None);
    assert!(take(store.scan(everything())).await.is_empty(), "a new store has no rows");
    take(store.commit(Vec::new())).await;
    take(store.commit(vec![delete(b"nothing", Expect::Any)])).await;
}

/// Writes are read back, replaced and removed; empty values are values.
pub async fn check_put_get_delete(store: &dyn Store) {
    take(store.commit(vec![put(b"a", b"1", Expect::Any), put(b"empty", b"", Expect::Any)])).await;
    assert_eq!(read(store, b"a").await, Some(b"1".to_vec()));
    assert_eq!(read(store, b"empty").await, Some(Vec::new()));
    take(store.commit(vec![put(b"a", b"2", Expect::Any)])).await;
    assert_eq!(read(store, b"a").await, Some(b"2".to_vec()));
    take(store.commit(vec![delete(b"a", Expect::Any)])).await;
    assert_eq!(read(store, b"a").await, None);
}

/// Each expectation accepts what it says and refuses everything else.
pub async fn check_expectations(store: &dyn Store) {
    refused(store, vec![put(b"a", b"0", Expect::Revision(1))], 0).await;
    refused(store, vec![delete(b"a", Expect::Revision(1))], 0).await;
    take(store.commit(vec![put(b"a", b"1", Expect::Absent)])).await;
    refused(store, vec![put(b"a", b"2", Expect::Absent)], 0).await;
    refused(store, vec![delete(b"a", Expect::Absent)], 0).await;
    let revision = revision(store, b"a").await;
    refused(store, vec![put(b"a", b"2", Expect::Revision(revision + 1))], 0).await;
    take(store.commit(vec![put(b"a", b"2", Expect::Revision(revision))])).await;
    refused(store, vec![delete(b"a", Expect::Revision(revision))], 0).await;
    let newer = self::revision(store, b"a").await;
    take(store.commit(vec![delete(b"a", Expect::Revision(newer))])).await;
    assert_eq!(read(store, b"a").await, None);
}

/// A snapshot shows what was there when it was taken, all of it, in order, whatever is written meanwhile.
pub async fn check_snapshots(store: &dyn Store) {
    assert!(take(take(store.snapshot()).await.next(1)).await.is_empty(), "a new store has no rows");
    let rows: Vec<_> = (0..50_u8).map(|number| (key(&[number]), vec![number; usize::from(number)])).collect();
    let puts = |value: Option<&[u8]>| -> Vec<Write> {
        let put = |(key, old): &(Vec<u8>, Vec<u8>)| {
            let value = value.map_or_else(|| old.clone(), <[u8]>::to_vec);
            Write::Put { key: key.clone(), value, expect: Expect::Any }
        };
        rows.iter().map(put).collect()
    };
    take(store.commit(puts(None))).await;
    let mut snapshot = take(store.snapshot()).await;
    let mut found = take(snapshot.next(200)).await;
    assert!((2..50).contains(&found.len()), "about as much as was asked for");
    take(store.commit(puts(Some(b"later")))).await;
    take(store.commit(vec![delete(&[49], Expect::Any), put(&[77], b"later", Expect::Any)])).await;
    loop {
        match take(snapshot.next(1)).await {
            more if more.is_empty() => break,
            more => found.extend(more),
        }
    }
    assert_eq!(found, rows);
}

/// One refused operation takes all others back, those before it included, and is named by position.
pub async fn check_commits_are_all_or_nothing(store: &dyn Store) {
    take(store.commit(vec![put(b"kept", b"1", Expect::Any), put(b"gone", b"1", Expect::Any)])).await;
    let ops = vec![
        put(b"new", b"2", Expect::Absent),
        put(b"kept", b"2", Expect::Any),
        delete(b"gone", Expect::Any),
        put(b"kept", b"3", Expect::Absent),
        put(b"later", b"2", Expect::Any),
    ];
    refused(store, ops, 3).await;
    assert_eq!(read(store, b"new").await, None);
    assert_eq!(read(store, b"kept").await, Some(b"1".to_vec()));
    assert_eq!(read(store, b"gone").await, Some(b"1".to_vec()));
    assert_eq!(read(store, b"later").await, None);
}

/// Operations on one key apply in order, and expectations see those before them.
pub async fn check_order_within_a_commit(store: &dyn Store) {
    let ops = vec![
        put(b"a", b"1", Expect::Absent),
        delete(b"a", Expect::Any),
        put(b"a", b"2", Expect::Absent),
        put(b"a", b"3", Expect::Any),
    ];
    take(store.commit(ops)).await;
    assert_eq!(read(store, b"a").await, Some(b"3".to_vec()));
    refused(store, vec![delete(b"a", Expect::Any), delete(b"a", Expect::Revision(1))], 1).await;
    assert_eq!(read(store, b"a").await, Some(b"3".to_vec()));
}

/// A row that is removed and made again never carries a number it had before, nor does a rewritten one.
pub async fn check_revisions_never_repeat(store: &dyn Store) {
    let mut last = 0;
    for round in 0..4 {
        take(store.commit(vec![put(b"a", b"same", Expect::Any)])).await;
        let now = revision(store, b"a").await;
        assert!(now > last, "round {round}: revision {now} after {last}");
        last = now;
        if round % 2 == 0 {
            take(store.commit(vec![delete(b"a", Expect::Revision(now))])).await;
        }
    }
    take(store.commit(vec![put(b"b", b"other", Expect::Any)])).await;
    assert!(revision(store, b"b").await > last, "revisions grow across keys");
}

/// Ranges are half open, ordered both ways, limited, and never a panic.
pub async fn check_scans(store: &dyn Store) {
    let names: [&[u8]; 5] = [b"", b"a", b"a\x00", b"b", b"\xff"];
    take(store.commit(names.iter().map(|name| put(name, name, Expect::Any)).collect())).await;
    assert_eq!(scan(store, &[0], &[0xff; 20], false, 10).await, names);
    let reversed: Vec<_> = names.iter().rev().copied().collect();
    assert_eq!(scan(store, &[0], &[0xff; 20], true, 10).await, reversed);
    assert_eq!(scan(store, &key(b"a"), &key(b"b"), false, 10).await, [&b"a"[..], b"a\x00"]);
    assert_eq!(scan(store, &key(b"a"), &key(b"\xff"), true, 2).await, [&b"b"[..], b"a\x00"]);
    assert_eq!(scan(store, &key(b"a"), &key(b"b"), false, 1).await, [b"a"]);
    assert!(scan(store, &key(b"a"), &key(b"b"), false, 0).await.is_empty());
    assert!(scan(store, &key(b"b"), &key(b"a"), false, 10).await.is_empty());
    assert!(scan(store, &key(b"a"), &key(b"a"), true, 10).await.is_empty());
    assert_eq!(scan(store, &[0], &[0xff; 20], false, 1000).await.len(), 5, "long scans take another way");
}

/// Keys that are too short or too long are refused before anything happens.
pub async fn check_bounds(store: &dyn Store) {
    for bad in [Vec::new(), vec![0], vec![7; 16], vec![7; KEY_BYTES_MAX + 1]] {
        let ops = vec![
            put(b"a", b"1", Expect::Any),
            Write::Put { key: bad, value: Vec::new(), expect: Expect::Any },
        ];
        match store.commit(ops).await {
            Err(StoreError::Bounds { op: 1 }) => {}
            other => panic!("expected Bounds, found {other:?}"),
        }
    }
    assert_eq!(read(store, b"a").await, None);
    let longest = vec![7; KEY_BYTES_MAX];
    take(store.commit(vec![Write::Put { key: longest.clone(), value: vec![1], expect: Expect::Absent }]))
        .await;
    assert!(take(store.get(&longest)).await.is_some());
}

/// Of many who create the same row at once, exactly one succeeds.
pub async fn check_one_of_many_wins(store: Arc<dyn Store>) {
    let contenders = (0..32u8).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(vec![put(b"throne", &[number], Expect::Absent)]).await })
    });
    let mut winners = 0;
    for contender in contenders.collect::<Vec<_>>() {
        match contender.await.expect("no contender panics") {
            Ok(()) => winners += 1,
            Err(StoreError::Conflict { op: 0 }) => {}
            Err(error) => panic!("expected Conflict, found {error:?}"),
        }
    }
    assert_eq!(winners, 1);
}

/// Read, add one, write if unchanged: no increment is lost.
pub async fn check_concurrent_counters(store: Arc<dyn Store>) {
    take(store.commit(vec![put(b"counter", &[0], Expect::Absent)])).await;
    let adders = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..4 {
                increment(store.as_ref()).await;
            }
        })
    });
    for adder in adders.collect::<Vec<_>>() {
        adder.await.expect("no adder panics");
    }
    assert_eq!(read(store.as_ref(), b"counter").await, Some(vec![32]));
}

/// A closed store answers nothing, and closing it twice is no mistake.
pub async fn check_close(store: &dyn Store) {
    take(store.commit(vec![put(b"a", b"1", Expect::Any)])).await;
    take(store.close()).await;
    take(store.close()).await;
    assert!(matches!(store.get(&key(b"a")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.scan(everything()).await, Err(StoreError::Unavailable(_))));
    let commit = store.commit(vec![put(b"a", b"2", Expect::Any)]).await;
    assert!(matches!(commit, Err(StoreError::Unavailable(_))));
}

async fn increment(store: &dyn Store) {
    loop {
        let row = row(store, b"counter").await;
        let next = [row.value[0] + 1];
        match store.commit(vec![put(b"counter", &next, Expect::Revision(row.revision))]).await {
            Ok(()) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("expected Conflict, found {error:?}"),
        }
    }
}

/// A row key of the checks: a tenant and a table, then `name`.
fn key(name: &[u8]) -> Vec<u8> {
    [&[5; 17], name].concat()
}

fn put(name: &[u8], value: &[u8], expect: Expect) -> Write {
    Write::Put { key: key(name), value: value.to_vec(), expect }
}

fn delete(name: &[u8], expect: Expect) -> Write {
    Write::Delete { key: key(name), expect }
}

fn everything() -> Scan<'static> {
    Scan { from: &[], until: &[0xff; 20], descending: false, limit: 10 }
}

async fn take<T>(answer: Answer<'_, T>) -> T {
    answer.await.unwrap_or_else(|error| panic!("the store failed: {error:?}"))
}

async fn refused(store: &dyn Store, ops: Vec<Write>, position: usize) {
    match store.commit(ops).await {
        Err(StoreError::Conflict { op }) => assert_eq!(op, position, "the wrong operation is named"),
        other => panic!("expected Conflict, found {other:?}"),
    }
}

async fn row(store: &dyn Store, name: &[u8]) -> Row {
    take(store.get(&key(name))).await.expect("the row exists")
}

async fn read(store: &dyn Store, name: &[u8]) -> Option<Vec<u8>> {
    take(store.get(&key(name))).await.map(|row| row.value)
}

async fn revision(store: &dyn Store, name: &[u8]) -> u64 {
    row(store, name).await.revision
}

/// Names in a range; checks on the way that each row is the one its key names.
async fn scan(store: &dyn Store, from: &[u8], until: &[u8], descending: bool, limit: usize) -> Vec<Vec<u8>> {
    let scan = Scan { from, until, descending, limit };
    let rows = take(store.scan(scan)).await;
    assert!(take(store.keys(scan)).await.iter().eq(rows.iter().map(|(key, _)| key)));
    rows.into_iter()
        .map(|(found, row)| {
            assert_eq!(found, key(&row.value));
            row.value
        })
        .collect()
}
