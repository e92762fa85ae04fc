//! How many audited commits a second the writer makes durable on the embedded store.
//!
//! ```text
//! cargo bench -p symbolon-broker --bench commits [-- <directory> <seconds>]
//! ```
//!
//! Callers commit in a closed loop: each waits for its receipt and comes again. The directory decides which
//! disk is measured. Nothing here is a test: the figures depend on the machine, and are printed with it.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)] // a program that measures

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use symbolon_broker::audit::writer::{LogKeys, Writer};
use symbolon_broker::store::embedded::{CACHE_BYTES_DEFAULT, EmbeddedStore};
use symbolon_broker::store::{Answer, Expect, Row, Scan, Snapshot, Store, Write};
use symbolon_core::audit::{Action, Detail, Draft, Outcome};
use symbolon_core::clock::{Clock, Now};
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::log::NoteSigner;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

const VALUE_BYTES: usize = 1024;

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Now { unix_ms: u64::try_from(unix.as_millis()).unwrap(), boot_ms: 0 }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(3, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    println!("{cores} cores, store in {}, {seconds} s each", directory.display());
    for (callers, writes) in [(1, false), (8, false), (64, false), (256, false), (1, true), (64, true)] {
        let store = tempfile::tempdir_in(&directory).unwrap();
        runtime.block_on(measure(store.path(), callers, writes, Duration::from_secs(seconds)));
    }
}

async fn measure(directory: &Path, callers: u64, writes: bool, length: Duration) {
    let path = directory.join("bench.redb");
    let store = Arc::new(EmbeddedStore::create(&path, CACHE_BYTES_DEFAULT).unwrap());
    let counted = Arc::new(Counted { store, commits: AtomicU64::new(0) });
    let writer = Writer::start(Arc::clone(&counted) as Arc<dyn Store>, Arc::new(RealClock), keys()).await;
    let writer = Arc::new(writer.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let _ = writer.commit(Vec::new(), draft()).await.unwrap(); // the first makes the write-ahead file
    let (begun, written) = (Instant::now(), bytes_written());
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(call(Arc::clone(&writer), Arc::clone(&stop), caller, writes)))
        .collect();
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let took = begun.elapsed();
    counted.store.close().await.unwrap();
    let written = bytes_written() - written;
    report(callers, writes, took, waits, counted.commits.load(Ordering::Relaxed), written);
}

async fn call(writer: Arc<Writer>, stop: Arc<AtomicBool>, caller: u64, writes: bool) -> Vec<Duration> {
    let mut waits = Vec::new();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let changes = if writes { vec![put(caller, number)] } else { Vec::new() };
        let begun = Instant::now();
        let _ = writer.commit(changes, draft()).await.unwrap();
        waits.push(begun.elapsed());
    }
    waits
}

/// What the kernel counts as written to the disk by this process.
fn bytes_written() -> u64 {
    let counts = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn report(callers: u64, writes: bool, took: Duration, mut waits: Vec<Duration>, commits: u64, written: u64) {
    waits.sort_unstable();
    let kind = if writes { "writes of 1 KiB" } else { "reads (empty changes)" };
    let rate = waits.len() as f64 / took.as_secs_f64();
    let (median, slow) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    let (group, bytes) = (waits.len() as f64 / commits as f64, written as f64 / waits.len() as f64);
    println!(
        "{callers:4} callers, {kind:22} {rate:8.0}/s  p50 {median:8.2?}  p99 {slow:8.2?}  {group:5.1} a commit  {bytes:6.0} B written each"
    );
}

fn put(caller: u64, number: u64) -> Write {
    let key = [&[9; 17][..], &caller.to_be_bytes(), &number.to_be_bytes()].concat();
    Write::Put { key, value: vec![7; VALUE_BYTES], expect: Expect::Absent }
}

fn draft() -> Draft {
    let detail = Detail {
        request_id: "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
        caller: "kubernetes-payments-api".to_owned(),
        accessor: "8FkqLvYhXcT2mQ5rWnZ0bJdE".to_owned(),
        path: "secret/data/payments/production/database".to_owned(),
        remote: "10.42.7.19:53122".to_owned(),
        role: "payments".to_owned(),
        ..Detail::default()
    };
    Draft { action: Action::SecretRead, outcome: Outcome::Allowed, detail }
}

fn keys() -> LogKeys {
    let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
    LogKeys {
        audit: Arc::new(AuditKey::from_secret(Secret::filled_by(|out| out.fill(3)))),
        signer: NoteSigner::new("symbolon/bench", seed).unwrap(),
        deployment: DeploymentId::from_bytes([1; 16]),
        broker: BrokerId::from_bytes([2; 16]),
    }
}

/// Counts commits on their way to the store.
struct Counted {
    store: Arc<EmbeddedStore>,
    commits: AtomicU64,
}

impl Store for Counted {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>> {
        self.store.get(key)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        self.store.scan(scan)
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        self.store.keys(scan)
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>> {
        self.store.snapshot()
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.store.commit(ops)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.store.close()
    }
}
