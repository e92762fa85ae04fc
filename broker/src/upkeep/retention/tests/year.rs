//! A year of a log in an embedded store: `SYMBOLON_YEAR_ENTRIES` entries over 365 days, of which 30 are kept,
//! exported and pruned while they are written.
//!
//! Prints figures. `SYMBOLON_YEAR_STALL_MS` makes the longest commit during a round an assertion: only a
//! quiet machine and a release build are asked for it.

#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use tokio::time::Instant;

use super::{DAY_MS, World, entries, key, signer};
use crate::audit::log::LogReader;
use crate::audit::log::tail::Tail;
use crate::store::embedded::{CACHE_BYTES_DEFAULT, EmbeddedStore};
use crate::store::{Answer, Row, Scan, Snapshot, Store, Write};
use crate::upkeep::retention::round::{Pace, round};

/// Entries of a year if nobody asks for more: as many as a development build writes in three quarters of a
/// minute.
const ENTRIES: u64 = 300_000;
/// Rounds of a year.
const ROUNDS: u64 = 24;
/// Days of it that are kept, if `SYMBOLON_YEAR_KEPT_DAYS` does not say otherwise.
const KEPT_DAYS: u64 = 30;

/// Counts the rows that are read.
struct Counting(Arc<dyn Store>, AtomicU64);

impl Store for Counting {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(key)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        Box::pin(async move {
            let rows = self.0.scan(scan).await?;
            self.1.fetch_add(rows.len() as u64, Ordering::Relaxed);
            Ok(rows)
        })
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        self.0.keys(scan)
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>> {
        self.0.snapshot()
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        self.0.commit(ops)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.0.close()
    }
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One round, and the longest commit of somebody who writes all the while.
async fn round_under_load(world: &World) -> Duration {
    let stop = Arc::new(AtomicU64::new(0));
    let (session, stopped) = (Arc::clone(&world.session), Arc::clone(&stop));
    let load = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        while stopped.load(Ordering::Relaxed) == 0 {
            let begun = Instant::now();
            session.record(entries()).await.unwrap();
            longest = longest.max(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        longest
    });
    round(&Arc::downgrade(&world.session), &world.retention, &key(), Pace { rest: 1 }).await.unwrap();
    stop.store(1, Ordering::Relaxed);
    load.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_entries_takes_no_more_than_a_month() {
    let total = number_of("SYMBOLON_YEAR_ENTRIES").unwrap_or(ENTRIES);
    let days = number_of("SYMBOLON_YEAR_KEPT_DAYS").unwrap_or(KEPT_DAYS);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    let embedded: Arc<dyn Store> = Arc::new(EmbeddedStore::create(&path, CACHE_BYTES_DEFAULT).unwrap());
    let world = World::on(Arc::clone(&embedded)).await;
    world.configure(|audit| {
        audit.keep_days = Some(days);
        audit.export = world.exporting();
    });
    world.retention.is_anchored(u64::MAX);
    let (mut longest, mut sizes, mut kept) = (Duration::ZERO, Vec::new(), Vec::new());
    let began = Instant::now();
    for number in 1..=ROUNDS {
        world.grow_to(total * number / ROUNDS).await;
        world.pass(365 * DAY_MS / ROUNDS);
        longest = longest.max(round_under_load(&world).await);
        sizes.push(std::fs::metadata(&path).unwrap().len() >> 20);
        kept.push(world.session.entries() - world.retention.journal().minimum);
    }
    let took = began.elapsed();
    println!(
        "{total} entries in {took:?}; MiB of the store after each round {sizes:?}; entries kept {kept:?}"
    );
    println!("longest commit during a round {longest:?}");
    if let Some(most) = number_of("SYMBOLON_YEAR_STALL_MS") {
        assert!(longest <= Duration::from_millis(most), "{longest:?}");
    }
    let most = total * (days + 365 / ROUNDS) / 365 + 3 * SEGMENT_ENTRIES;
    assert!(kept.iter().skip(4).all(|kept| *kept <= most), "more than {most} are kept: {kept:?}");
    let (quarter, last) = (sizes[sizes.len() / 4], sizes[sizes.len() - 1]);
    // The file may double once; if nothing were pruned it would be three to four times as large.
    assert!(days > 90 || last <= quarter * 2, "the store goes on growing: {sizes:?}");
    LogReader::new(Arc::clone(&embedded)).verify_all(&key()).await.unwrap();
    let objects = world.session.entries() / SEGMENT_ENTRIES;
    assert!(world.objects().len() as u64 + 1 >= objects, "all of the year is there");
    a_start_reads_little(&world, &path).await;
}

/// After a kill: the files as they are, opened elsewhere.
async fn a_start_reads_little(world: &World, path: &std::path::Path) {
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("store.redb");
    for ending in ["", ".wal"] {
        let of = |path: &std::path::Path| format!("{}{ending}", path.display());
        std::fs::copy(of(path), of(&copy)).unwrap();
    }
    let began = Instant::now();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&copy, CACHE_BYTES_DEFAULT).unwrap());
    let counting = Counting(store, AtomicU64::new(0));
    let (tail, _) = Tail::recover(&counting, &signer()).await.unwrap();
    let (took, rows) = (began.elapsed(), counting.1.load(Ordering::Relaxed));
    println!("a start after a kill takes {took:?} and reads {rows} rows");
    assert_eq!(tail.size(), world.session.entries());
    assert!(rows <= 4 * 256 + 300, "{rows} rows");
}
