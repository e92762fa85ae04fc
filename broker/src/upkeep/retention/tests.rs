#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use symbolon_core::audit::{Action, Draft};
use symbolon_core::clock::{Clock, Now};
use symbolon_core::seal::Unsealed;
use symbolon_proto::log::pruned::{Cut, Order};
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::{NoteSigner, Segment, VerifierKey};
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::error::RoundError;
use super::ledger::Ledger;
use super::round::{Pace, look, round};
use crate::access::Session;
use crate::access::mounts::Mounts;
use crate::access::shape::Shape;
use crate::alarms::Alarms;
use crate::audit::log::{Filter, LogReader, Range};
use crate::audit::retention::cutting;
use crate::audit::retention::journal::{Fault, Retention};
use crate::config::{AuditConfig, Bucket, Config, Lives, Living, SMALL, WhenFull};
use crate::error::OpError;
use crate::place::Patience;
use crate::remote::Leases;
use crate::store::Store;
use crate::store::memory::{Failure, MemoryStore};
use crate::testing::{Away, Ground, unsealed};

mod indexing;
mod judging;
mod limits;
mod year;

const DAY_MS: u64 = 86_400_000;

/// Wall and boot clock, in milliseconds.
struct Hands(AtomicU64, AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Now {
        Now { unix_ms: self.0.load(Ordering::Relaxed), boot_ms: self.1.load(Ordering::Relaxed) }
    }
}

/// A broker that has only a log, and somewhere to export it to.
struct World {
    store: Arc<MemoryStore>,
    rows: Arc<dyn Store>,
    clock: Arc<Hands>,
    unsealed: Arc<Unsealed>,
    session: Arc<Session>,
    living: Living,
    alarms: Arc<Alarms>,
    retention: Arc<Retention>,
    home: tempfile::TempDir,
}

/// As [`Ground`] signs its log.
fn signer() -> NoteSigner {
    let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
    NoteSigner::new("symbolon/test", seed).unwrap()
}

fn key() -> VerifierKey {
    signer().verifier().clone()
}

/// What a read leaves, about.
fn entries() -> Draft {
    Draft::by_broker(Action::SecretRead, "x".repeat(100))
}

async fn open(store: &Arc<dyn Store>, clock: &Arc<Hands>, unsealed: &Arc<Unsealed>) -> Arc<Session> {
    let (store, clock) = (Arc::clone(store), Arc::clone(clock) as _);
    let (unsealed, shape) = (Arc::clone(unsealed), Arc::new(Shape::default()));
    let ground = Ground { store, clock, unsealed, shape };
    let keys = ground.keys(Arc::new(Away), Leases::default());
    ground.session(keys, Mounts::default()).await
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::with(Arc::clone(&store) as _, store).await
    }

    /// On rows that no test makes fail.
    async fn on(rows: Arc<dyn Store>) -> Self {
        Self::with(rows, Arc::default()).await
    }

    async fn with(rows: Arc<dyn Store>, store: Arc<MemoryStore>) -> Self {
        let alarms = Arc::new(Alarms::default());
        let clock = Arc::new(Hands(AtomicU64::new(1000 * DAY_MS), AtomicU64::new(0)));
        let living = Config::parse(SMALL).unwrap().lives;
        let retention = Arc::new(Retention::new(living.clone(), Arc::clone(&alarms)));
        let unsealed = Arc::new(unsealed());
        let session = open(&rows, &clock, &unsealed).await;
        Self {
            store,
            rows,
            clock,
            unsealed,
            session,
            living,
            alarms,
            retention,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The same store after everything in memory is gone.
    async fn restart(&mut self) {
        self.session = open(&self.rows, &self.clock, &self.unsealed).await;
        self.retention = Arc::new(Retention::new(self.living.clone(), Arc::clone(&self.alarms)));
        self.retention.is_anchored(u64::MAX);
    }

    fn configure(&self, change: impl FnOnce(&mut AuditConfig)) {
        let mut lives = Lives::clone(&self.living.now());
        change(&mut lives.audit);
        self.living.replace(Arc::new(lives));
    }

    fn exporting(&self) -> Option<String> {
        Some(self.home.path().to_str().unwrap().to_owned())
    }

    /// Entries until the log has `size`, in whole groups.
    async fn grow_to(&self, size: u64) {
        while self.session.entries() < size {
            let some = usize::try_from(size - self.session.entries()).unwrap().min(256);
            let commits = (0..some).map(|_| self.session.record(entries()));
            for done in futures_util::future::join_all(commits).await {
                done.unwrap();
            }
        }
    }

    async fn round(&self) -> Result<(), RoundError> {
        round(&Arc::downgrade(&self.session), &self.retention, &key(), Pace::FULL).await
    }

    fn log(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.rows))
    }

    async fn minimum(&self) -> u64 {
        self.log().verify_all(&key()).await.unwrap();
        self.log().pruned().await.unwrap().minimum
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> =
            std::fs::read_dir(self.home.path()).unwrap().map(|file| file.unwrap().path()).collect();
        all.sort();
        all
    }

    /// Both clocks go on.
    fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
        self.clock.1.fetch_add(ms, Ordering::Relaxed);
    }

    /// What entries of retention say, the oldest first.
    async fn told(&self) -> Vec<String> {
        let filter = Filter { actions: vec![Action::Retention], ..Filter::default() };
        let range = Range { from: 0, until: u64::MAX, newest_first: false, limit: 1000, counts_only: false };
        let (audit, deployment) = (self.session.unsealed().audit(), self.session.unsealed().deployment());
        let (mut all, mut next) = (Vec::new(), Some(range));
        while let Some(range) = next {
            let page = self.log().search(&audit, deployment, &filter, range).await.unwrap();
            all.extend(page.found.into_iter().map(|found| found.detail.unwrap().role));
            next = page.rest;
        }
        all
    }
}

#[tokio::test]
async fn old_segments_are_exported_read_back_and_pruned_by_name() {
    let mut world = World::new().await;
    world.grow_to(2 * SEGMENT_ENTRIES).await;
    world.pass(10 * DAY_MS);
    world.grow_to(3 * SEGMENT_ENTRIES + 300).await;
    world.round().await.unwrap();
    assert_eq!((world.minimum().await, world.objects().len()), (0, 0), "without a limit nothing happens");
    world.configure(|audit| {
        audit.keep_days = Some(7);
        audit.export = world.exporting();
    });
    world.round().await.unwrap();
    assert_eq!((world.minimum().await, world.objects().len()), (0, 3), "nothing is anchored");
    world.retention.is_anchored(2 * SEGMENT_ENTRIES - 1);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, SEGMENT_ENTRIES, "what is anchored only");
    world.retention.is_anchored(u64::MAX);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, 2 * SEGMENT_ENTRIES, "the third is young");
    let journal = world.retention.journal();
    assert_eq!((journal.minimum, journal.exported_until), (2 * SEGMENT_ENTRIES, 3 * SEGMENT_ENTRIES));
    assert_eq!((journal.failed, world.alarms.texts().len()), (None, 0));
    let told = world.told().await.join("\n");
    let name = world.objects()[1].file_name().unwrap().to_str().unwrap().to_owned();
    assert!(told.contains(&format!("exported and read back: {name} in /")), "{told}");
    assert!(
        told.contains("entries 4096 to 8191 are pruned by order of [audit] of the configuration"),
        "{told}"
    );
    assert!(told.contains("rows below entry 8192 were removed"), "{told}");
    let ledger = Ledger::read(&world.session).await.unwrap();
    assert_eq!((ledger.cuts[0].first, ledger.cuts[0].end), (0, 8192));
    assert_eq!(ledger.cuts[0].place, world.exporting().unwrap());
    world.restart().await;
    world.grow_to(4 * SEGMENT_ENTRIES + 300).await;
    world.round().await.unwrap();
    assert_eq!((world.minimum().await, world.objects().len()), (8192, 4));
}

/// Each of the first commits of a round fails in every way, as if the broker had been killed there.
#[tokio::test]
async fn a_round_that_ends_anywhere_leaves_a_log_that_holds_and_goes_on() {
    for failure in [Failure::LostRequest, Failure::LostAnswer, Failure::Full] {
        let mut world = World::new().await;
        world.configure(|audit| {
            audit.keep_days = Some(7);
            audit.export = world.exporting();
        });
        world.retention.is_anchored(u64::MAX);
        let mut failed = 0;
        for after in 0..6 {
            let goal = (after + 1) * SEGMENT_ENTRIES;
            world.grow_to(goal + 300).await;
            world.pass(10 * DAY_MS);
            world.store.fail_commit(after, failure);
            let mut rounds = 0;
            while world.minimum().await < goal {
                failed += usize::from(world.round().await.is_err());
                what_is_gone_was_exported(&world).await;
                rounds += 1;
                if rounds % 2 == 1 {
                    world.restart().await; // a start finds the end, whatever was left
                }
                world.pass(DAY_MS); // which the round after the next believes
                assert!(rounds < 20, "{failure:?}: it does not come to an end");
            }
        }
        // Some hit the checkpoint of the second, which nobody waits for.
        assert!(failed >= 2, "{failure:?}: {failed} rounds failed");
    }
}

async fn what_is_gone_was_exported(world: &World) {
    let (minimum, known) = look(&world.session).await.unwrap();
    assert!(minimum <= world.objects().len() as u64 * SEGMENT_ENTRIES, "pruned, and not exported");
    for (segment, known) in known.iter().filter(|(_, known)| known.exported.is_some()) {
        let object = &world.objects()[usize::try_from(segment.number()).unwrap()];
        assert_eq!(object.metadata().unwrap().len(), known.exported.unwrap().bytes);
    }
}

#[tokio::test]
async fn nothing_is_pruned_that_did_not_come_back_whole() {
    let world = World::new().await;
    world.grow_to(SEGMENT_ENTRIES + 300).await;
    world.pass(10 * DAY_MS);
    world.retention.is_anchored(u64::MAX);
    world.configure(|audit| {
        audit.keep_days = Some(7);
        audit.export = Some(world.home.path().join("not mounted").to_str().unwrap().to_owned());
    });
    let error = world.round().await.unwrap_err();
    assert_eq!((error.fault(), world.minimum().await), (Fault::Place, 0), "{error}");
    assert!(world.retention.failed(error.fault(), &error.to_string()));
    assert!(!world.retention.failed(error.fault(), &error.to_string()), "told once");
    assert_eq!(world.alarms.texts().len(), 1);
    assert!(world.retention.journal().bytes > 4096 * 100, "it is counted all the same");
    // A directory in the place of the object, and what a killed process has left.
    let name = Segment::new(0).unwrap().object(&world.session.unsealed().deployment().to_string()[..8]);
    std::fs::create_dir_all(world.home.path().join(&name).join("x")).unwrap();
    let left_over = world.home.path().join(format!("{name}#7"));
    std::fs::write(&left_over, "half").unwrap();
    world.configure(|audit| audit.export = world.exporting());
    let error = world.round().await.unwrap_err();
    assert_eq!((error.fault(), world.minimum().await), (Fault::Place, 0), "{error}");
    assert!(!left_over.exists());
    std::fs::remove_dir_all(world.home.path().join(&name)).unwrap();
    // Half an object of an earlier process is replaced, for nobody said that it is whole.
    std::fs::write(world.home.path().join(&name), "half").unwrap();
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, SEGMENT_ENTRIES);
}

#[tokio::test]
async fn a_clock_that_jumped_makes_no_entry_old() {
    let mut world = World::new().await;
    world.grow_to(SEGMENT_ENTRIES + 300).await;
    world.configure(|audit| {
        audit.keep_days = Some(30);
        audit.export = Some("none".to_owned());
    });
    world.retention.is_anchored(u64::MAX);
    world.round().await.unwrap();
    world.clock.0.fetch_add(365 * DAY_MS, Ordering::Relaxed); // and nothing passes
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, 0);
    assert!(world.retention.journal().is_clock_doubted);
    world.pass(3_600_000);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, 0, "an hour makes a day at most");
    world.clock.0.fetch_sub(365 * DAY_MS, Ordering::Relaxed);
    world.round().await.unwrap();
    assert!(!world.retention.journal().is_clock_doubted);
    world.pass(31 * DAY_MS);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, SEGMENT_ENTRIES, "a month that has passed");
    let cuts = world.log().pruned().await.unwrap().cuts;
    assert!(!cuts[0].exported, "told as dropped");
    // The time judged last is stored with the cut: a restart under a wrong clock begins there.
    world.restart().await;
    world.grow_to(2 * SEGMENT_ENTRIES + 300).await;
    world.clock.0.fetch_add(365 * DAY_MS, Ordering::Relaxed);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, SEGMENT_ENTRIES);
}

#[tokio::test]
async fn at_the_end_of_the_budget_it_refuses_or_prunes_and_loses_nothing() {
    let world = World::new().await;
    world.retention.is_anchored(u64::MAX);
    world.configure(|audit| audit.disk_budget_mib = Some(4));
    world.grow_to(2 * SEGMENT_ENTRIES + 300).await;
    world.round().await.unwrap();
    let journal = world.retention.journal();
    assert!(!journal.is_full && world.alarms.texts().is_empty(), "{journal:?}");
    world.grow_to(13_000).await;
    let before = world.session.entries();
    world.round().await.unwrap();
    let journal = world.retention.journal();
    assert!(journal.is_full && world.alarms.texts().len() == 1, "{journal:?}");
    let refused = world.session.record(Draft::by_broker(Action::SecretRead, "x")).await;
    assert!(matches!(refused, Err(OpError::Unlogged(_))), "{refused:?}");
    assert!(world.session.entries() - before < 10, "only what retention says of itself");
    world.configure(|audit| {
        audit.when_full = WhenFull::Prune;
        audit.export = world.exporting();
    });
    world.round().await.unwrap();
    assert!(!world.retention.journal().is_full);
    assert!(world.minimum().await >= SEGMENT_ENTRIES);
    assert_eq!(world.objects().len() as u64, world.session.entries() / SEGMENT_ENTRIES);
    world.session.record(Draft::by_broker(Action::SecretRead, "x")).await.unwrap();
}

#[tokio::test]
async fn a_beginning_that_the_broker_did_not_make_removes_nothing() {
    let world = World::new().await;
    world.grow_to(2 * SEGMENT_ENTRIES + 300).await;
    let cut = Cut { first: 0, end: SEGMENT_ENTRIES, time_ms: 5, order: Order::Policy, exported: true };
    let forged = cutting::prepare(world.store.as_ref(), &world.log(), cut).await.unwrap();
    world.store.commit(forged.changes.into_writes()).await.unwrap();
    let rows = world.store.rows().len();
    let error = world.round().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Foreign, "{error}");
    assert_eq!(world.store.rows().len(), rows);
}

/// A server that takes connections and answers 500, or nothing.
async fn broken_bucket(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..64 {
            let (mut connection, _) = listener.accept().await.unwrap();
            if !answer.is_empty() {
                let _ = connection.read(&mut [0; 1024]).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
            held.push(connection);
        }
    });
    port
}

#[tokio::test]
async fn a_bucket_that_hangs_or_answers_500_keeps_nobody_and_loses_nothing() {
    for answer in ["", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"] {
        let mut world = World::new().await;
        world.grow_to(SEGMENT_ENTRIES + 300).await;
        world.pass(10 * DAY_MS);
        let second = Duration::from_secs(1);
        let mut retention = Retention::new(world.living.clone(), Arc::clone(&world.alarms));
        retention.patience = Patience { request: second, retry: second };
        world.retention = Arc::new(retention);
        world.retention.is_anchored(u64::MAX);
        let file = world.home.path().join("credential");
        std::fs::write(&file, "x").unwrap();
        let bucket = Bucket {
            endpoint: Some(format!("http://127.0.0.1:{}", broken_bucket(answer).await)),
            access_key_id_file: Some(file.clone()),
            secret_access_key_file: Some(file),
            ..Bucket::default()
        };
        world.configure(|audit| {
            audit.keep_days = Some(7);
            audit.export = Some("s3://bucket/log".to_owned());
            audit.bucket = Some(bucket);
        });
        let (ended, ()) = tokio::join!(world.round(), async {
            world.session.record(entries()).await.unwrap();
        });
        let error = ended.unwrap_err();
        assert_eq!((error.fault(), world.minimum().await), (Fault::Place, 0), "{error}");
        assert_eq!(world.retention.journal().counted_until, SEGMENT_ENTRIES);
    }
}
