//! Reading, searching and verifying a log that the writer made.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use symbolon_core::audit::{Action, Outcome};
use symbolon_proto::log::tile::decode_bundle;
use symbolon_proto::log::tree::{self, leaf_hash};
use symbolon_proto::log::{Checkpoint, Entry, Finding, TileHashes};

use super::rows::{bundle_key, checkpoint_key, encode_bundle, tile_key};
use super::*;
use crate::audit::writer::tests::{Bench, bundle_with, draft, flip, together};
use crate::store::Store;
use crate::store::memory::MemoryStore;

/// A log of `entries` entries, signed to the last: one bundle of one, then bundles of up to 256.
async fn log_of(entries: usize) -> (Bench, LogReader) {
    let bench = Bench::new();
    let writer = bench.start().await;
    let results = together(&bench, &writer, vec![Vec::new(); entries - 1]).await;
    assert!(results.iter().all(Result::is_ok));
    Arc::into_inner(writer).unwrap().stop().await;
    let reader = LogReader::new(Arc::clone(&bench.store) as Arc<dyn Store>);
    (bench, reader)
}

async fn check_fails(entries: usize, first_bad: Option<u64>, tamper: impl Fn(&MemoryStore)) -> VerifyError {
    let (bench, reader) = log_of(entries).await;
    tamper(&bench.store);
    let error = reader.verify_all(Bench::keys().signer.verifier()).await.unwrap_err();
    assert_eq!(error.first_bad(), first_bad, "{error:?}");
    error
}

#[tokio::test]
async fn entries_are_found_wherever_one_begins() {
    let (_bench, reader) = log_of(600).await;
    assert_eq!(reader.size().await.unwrap(), 600);
    for (from, limit, expected) in [
        (0, 1, 1),
        (0, 600, 600),
        (1, 300, 300),
        (255, 3, 3),
        (256, 2, 2),
        (513, 1000, 87),
        (599, 5, 1),
        (600, 5, 0),
    ] {
        let entries = reader.entries(from, limit).await.unwrap();
        assert_eq!(entries.len(), expected, "from {from}");
        for (stored, index) in entries.iter().zip(from..) {
            assert_eq!(Entry::decode(&stored.bytes).unwrap().index, index);
        }
    }
    assert!(reader.entries(u64::MAX, 5).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_empty_log_has_nothing() {
    let bench = Bench::new();
    let reader = LogReader::new(Arc::clone(&bench.store) as Arc<dyn Store>);
    assert_eq!((reader.size().await.unwrap(), reader.checkpoint().await.unwrap()), (0, None));
    assert!(reader.entries(0, 10).await.unwrap().is_empty());
    assert_eq!(reader.resource("tile/0/000").await.unwrap(), None);
    let verified = reader.verify_all(Bench::keys().signer.verifier()).await;
    assert!(matches!(verified, Err(VerifyError::CheckpointMissing)));
}

#[tokio::test]
async fn tiles_lead_to_the_signed_root() {
    let (_bench, reader) = log_of(600).await;
    let note = String::from_utf8(reader.resource("checkpoint").await.unwrap().unwrap()).unwrap();
    let checkpoint = Checkpoint::open(&note, Bench::keys().signer.verifier()).unwrap();
    let mut tiles = std::collections::BTreeMap::new();
    for path in ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"] {
        tiles.insert(path.to_owned(), reader.resource(path).await.unwrap().unwrap());
    }
    let mut hashes = TileHashes::new(600, |tile| tiles.get(&tile.to_string()).cloned().ok_or(()));
    assert_eq!(tree::root(600, &mut |node| hashes.node(node)).unwrap(), checkpoint.root);
    for (path, first, count) in [("tile/entries/001", 256, 256), ("tile/entries/002.p/88", 512, 88)] {
        let bundle = reader.resource(path).await.unwrap().unwrap();
        let entries = decode_bundle(&bundle).unwrap();
        assert_eq!(entries.len(), count);
        assert_eq!(Entry::decode(entries[0]).unwrap().index, first);
        let leaves = &tiles[&path.replace("entries", "0")];
        assert_eq!(leaf_hash(entries[7]).as_bytes()[..], leaves[7 * 32..8 * 32]);
    }
}

#[tokio::test]
async fn tiles_of_the_past_stay_and_those_to_come_are_absent() {
    let (_bench, reader) = log_of(600).await;
    let full = reader.resource("tile/0/001").await.unwrap().unwrap();
    let part = reader.resource("tile/0/001.p/7").await.unwrap().unwrap();
    assert_eq!(part, full[..7 * 32]);
    for absent in
        ["tile/0/002", "tile/0/002.p/89", "tile/1/000", "tile/1/000.p/3", "tile/2/000.p/1", "tile/0/003.p/1"]
    {
        assert_eq!(reader.resource(absent).await.unwrap(), None, "{absent}");
    }
    for nonsense in ["", "tile", "tile/0/1", "tile/9/000", "../checkpoint", "tile/entries/002.p/0"] {
        assert_eq!(reader.resource(nonsense).await.unwrap(), None, "{nonsense}");
    }
}

#[tokio::test]
async fn an_untouched_log_verifies() {
    for entries in [1, 255, 256, 257, 600] {
        let (_bench, reader) = log_of(entries).await;
        let verified = reader.verify_all(Bench::keys().signer.verifier()).await.unwrap();
        assert_eq!(verified.size, entries as u64);
    }
}

#[tokio::test]
async fn a_changed_entry_is_named() {
    check_fails(20, Some(1), |store| flip(store, &bundle_key(1), 3 + 32 + 4 + 10)).await;
    let head = 3 + 2 * (32 + 4);
    for index in [2, 300, 599] {
        let error = check_fails(600, Some(index), |store| {
            let first = bundle_with(store, index);
            let value = store.rows().get(&bundle_key(first)).unwrap().value.clone();
            let entry_bytes = value.len() / rows::decode_bundle(&value).unwrap().len();
            let before = usize::try_from(index - first).unwrap() * entry_bytes;
            flip(store, &bundle_key(first), before + head);
        })
        .await;
        assert!(matches!(error, VerifyError::Finding(Finding::Changed { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn missing_and_foreign_parts_are_named() {
    check_fails(600, Some(257), |store| store.tamper(&bundle_key(257), None)).await;
    check_fails(600, Some(513), |store| store.tamper(&bundle_key(513), None)).await;
    check_fails(600, Some(0), |store| store.tamper(&bundle_key(0), None)).await;
    check_fails(20, Some(1), |store| store.tamper(&bundle_key(1), Some(vec![1, 2, 3]))).await;
    check_fails(20, None, |store| store.tamper(&checkpoint_key(), None)).await;
    check_fails(20, None, |store| flip(store, &checkpoint_key(), 40)).await;
    // Swapping two entries with their stored hashes: nothing is left to tell which, but it is found.
    check_fails(20, None, |store| {
        let mut entries = rows::decode_bundle(&store.rows().get(&bundle_key(1)).unwrap().value).unwrap();
        entries.swap(3, 4);
        store.tamper(&bundle_key(1), Some(encode_bundle(&entries)));
    })
    .await;
}

#[tokio::test]
async fn details_open_where_they_belong_only() {
    let (_bench, reader) = log_of(3).await;
    let keys = Bench::keys();
    let stored = reader.entries(1, 1).await.unwrap();
    let entry = Entry::decode(&stored[0].bytes).unwrap();
    let place = detail::DetailPlace {
        deployment: keys.deployment,
        broker: entry.broker,
        action: entry.action,
        outcome: entry.outcome,
    };
    assert_eq!(detail::open(&keys.audit, &place, &entry.detail).unwrap(), draft().detail);
    for other in [
        detail::DetailPlace { outcome: Outcome::Denied, ..place },
        detail::DetailPlace { action: Action::Other, ..place },
        detail::DetailPlace { broker: symbolon_proto::id::BrokerId::from_bytes([9; 16]), ..place },
        detail::DetailPlace { deployment: symbolon_proto::id::DeploymentId::from_bytes([9; 16]), ..place },
    ] {
        assert!(detail::open(&keys.audit, &other, &entry.detail).is_err());
    }
}

#[tokio::test]
async fn search_finds_by_head_and_by_detail() {
    let bench = Bench::new();
    let writer = bench.start().await;
    for number in 0..30_u64 {
        bench.clock.0.store(1000 + number, Ordering::Relaxed);
        let mut draft = draft();
        draft.action = if number % 3 == 0 { Action::SecretRead } else { Action::Login };
        draft.outcome = if number % 2 == 0 { Outcome::Allowed } else { Outcome::Denied };
        draft.detail.path = format!("secret/data/{number}");
        draft.detail.caller = if number < 15 { "alice" } else { "bob" }.to_owned();
        let _ = writer.commit(Vec::new(), draft).await.unwrap();
    }
    let reader = LogReader::new(Arc::clone(&bench.store) as Arc<dyn Store>);
    let check = async |filter: Filter, expected: &[u64]| {
        let range = Range { from: 0, until: u64::MAX, newest_first: false, limit: 100, counts_only: false };
        let keys = Bench::keys();
        let page = reader.search(&keys.audit, keys.deployment, &filter, range).await.unwrap();
        let found: Vec<u64> = page.found.iter().map(|found| found.entry.index).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(page.rest, None);
        assert!(page.found.iter().all(|found| found.detail.is_some()));
    };
    check(
        Filter { actions: vec![Action::SecretRead], since_ms: Some(1020), ..Filter::default() },
        &[21, 24, 27],
    )
    .await;
    check(Filter { until_ms: Some(1003), ..Filter::default() }, &[0, 1, 2]).await;
    let bob = Filter { caller: Some("bob".to_owned()), ..Filter::default() };
    check(Filter { outcome: Some(Outcome::Denied), until_ms: Some(1020), ..bob }, &[15, 17, 19]).await;
    check(
        Filter { path_prefix: Some("secret/data/2".to_owned()), until_ms: Some(1022), ..Filter::default() },
        &[2, 20, 21],
    )
    .await;
    check(Filter { caller: Some("carol".to_owned()), ..Filter::default() }, &[]).await;
    let kv = Filter { path_prefix: Some("secret/2".to_owned()), until_ms: Some(1022), ..Filter::default() };
    check(kv, &[2, 20, 21]).await;
    let both = vec![Action::SecretRead, Action::Login];
    check(Filter { actions: both, until_ms: Some(1003), ..Filter::default() }, &[0, 1, 2]).await;
}

#[tokio::test]
async fn a_count_goes_on_past_the_limit_and_returns_nothing() {
    let (_bench, reader) = log_of(600).await;
    let keys = Bench::keys();
    let range = Range { from: 0, until: 590, newest_first: true, limit: 7, counts_only: true };
    let page = reader.search(&keys.audit, keys.deployment, &Filter::default(), range).await.unwrap();
    assert_eq!((page.found.len(), page.fitting, page.rest), (0, 590, None));
    let range = Range { counts_only: false, ..range };
    let page = reader.search(&keys.audit, keys.deployment, &Filter::default(), range).await.unwrap();
    assert_eq!((page.found.len(), page.fitting), (7, 7));
}

/// Both ways: what lies beyond is not even read, or a question about today would read the log of years.
#[tokio::test]
async fn a_search_ends_where_times_leave_what_was_asked_for() {
    let bench = Bench::new();
    let writer = bench.start().await;
    for number in 0..600_u64 {
        bench.clock.0.store(1000 + number, Ordering::Relaxed);
        let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    }
    let reader = LogReader::new(Arc::clone(&bench.store) as Arc<dyn Store>);
    let keys = Bench::keys();
    let range = Range { from: 0, until: 600, newest_first: true, limit: 900, counts_only: false };
    let since = Filter { since_ms: Some(1590), ..Filter::default() };
    let before = Filter { until_ms: Some(1010), ..Filter::default() };
    for (broken, filter, newest_first) in [(0, since, true), (599, before, false)] {
        let bundle = bench.store.rows().get(&bundle_key(broken)).unwrap().value.clone();
        bench.store.tamper(&bundle_key(broken), Some(vec![0]));
        let range = Range { newest_first, ..range };
        let page = reader.search(&keys.audit, keys.deployment, &filter, range).await.unwrap();
        assert_eq!((page.found.len(), page.rest), (10, None));
        let all = reader.search(&keys.audit, keys.deployment, &Filter::default(), range).await;
        assert!(all.is_err(), "what is broken would have been seen");
        bench.store.tamper(&bundle_key(broken), Some(bundle));
    }
}

#[tokio::test]
async fn search_goes_on_where_it_stopped_both_ways() {
    let (_bench, reader) = log_of(600).await;
    let keys = Bench::keys();
    for newest_first in [false, true] {
        let mut range = Range { from: 3, until: 590, newest_first, limit: 100, counts_only: false };
        let mut seen = Vec::new();
        loop {
            let page = reader.search(&keys.audit, keys.deployment, &Filter::default(), range).await.unwrap();
            assert!(page.found.len() <= 100);
            seen.extend(page.found.iter().map(|found| found.entry.index));
            match page.rest {
                Some(rest) => range = rest,
                None => break,
            }
        }
        let mut expected: Vec<u64> = (3..590).collect();
        if newest_first {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_detail_of_another_key_is_shown_as_closed() {
    let (_bench, reader) = log_of(3).await;
    let keys = Bench::keys();
    let range = Range { from: 0, until: 3, newest_first: false, limit: 10, counts_only: false };
    let elsewhere = symbolon_proto::id::DeploymentId::from_bytes([9; 16]);
    let page = reader.search(&keys.audit, elsewhere, &Filter::default(), range).await.unwrap();
    assert_eq!(page.found.len(), 3);
    assert!(page.found.iter().all(|found| found.detail.is_none()));
}

#[tokio::test]
async fn a_lost_tile_is_an_error_not_an_absence() {
    let (bench, reader) = log_of(600).await;
    bench.store.tamper(&tile_key(0, 1), None);
    assert!(matches!(reader.resource("tile/1/000.p/2").await, Err(LogError::Tile { level: 0, number: 1 })));
    assert!(
        reader.resource("tile/0/001").await.unwrap().is_some(),
        "leaf tiles can be made again from bundles"
    );
}
