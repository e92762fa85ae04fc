//! Who has to wait for a round, what it does under settings that change, and what it believes of clocks.

use std::sync::Mutex;

use super::*;
use crate::audit::log::rows::segment_key;
use crate::audit::retention::reserve::Reserve;
use crate::store::{Answer, Row, Scan, Snapshot, Write};

/// A year.
const YEAR_MS: u64 = 365 * DAY_MS;
/// Nothing left.
const USED_UP: Option<Reserve> = Some(Reserve { left: 0, of: 0 });

impl World {
    /// With credentials of a bucket that never answers, and patience that outlasts every test.
    async fn export_to_a_bucket_that_hangs(&mut self) {
        let hour = Duration::from_secs(3600);
        let mut retention = Retention::new(self.living.clone(), Arc::clone(&self.alarms));
        retention.patience = Patience { request: hour, retry: hour };
        self.retention = Arc::new(retention);
        let file = self.home.path().join("credential");
        std::fs::write(&file, "x").unwrap();
        let bucket = Bucket {
            endpoint: Some(format!("http://127.0.0.1:{}", broken_bucket("").await)),
            access_key_id_file: Some(file.clone()),
            secret_access_key_file: Some(file),
            ..Bucket::default()
        };
        self.configure(|audit| {
            audit.export = Some("s3://bucket/log".to_owned());
            audit.bucket = Some(bucket);
        });
    }
}

async fn beside<T>(round: impl Future<Output = Result<(), RoundError>>, asked: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = round => panic!("the round ended first: {ended:?}"),
        answer = asked => answer,
    }
}

#[tokio::test]
async fn a_raised_budget_and_a_prune_by_hand_wait_for_no_place() {
    let mut world = World::new().await;
    world.grow_to(SEGMENT_ENTRIES + 300).await;
    world.session.limit_entries(USED_UP); // as an earlier round has told
    world.export_to_a_bucket_that_hangs().await;
    world.configure(|audit| audit.disk_budget_mib = Some(1000));
    let asked = async {
        let mut tries = 0;
        while world.session.record(entries()).await.is_err() {
            tries += 1;
            assert!(tries < 4000, "nobody told that the log may grow");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // the bucket is asked by now
        world.retention.turn().await
    };
    drop(beside(world.round(), asked).await);
}

#[tokio::test]
async fn where_the_log_begins_is_looked_at_in_turn_and_what_it_takes_is_told_all_the_same() {
    let world = World::new().await;
    world.configure(|audit| audit.disk_budget_mib = Some(1));
    world.grow_to(2 * SEGMENT_ENTRIES + 300).await;
    let cut = Cut { first: 0, end: SEGMENT_ENTRIES, time_ms: 5, order: Order::Policy, exported: true };
    let forged = cutting::prepare(world.store.as_ref(), &world.log(), cut).await.unwrap();
    let turn = world.retention.turn().await; // somebody cuts, and is between two rows
    world.store.commit(forged.changes.into_writes()).await.unwrap();
    beside(world.round(), tokio::time::sleep(Duration::from_millis(50))).await;
    drop(turn);
    let error = world.round().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Foreign, "{error}");
    assert!(world.retention.journal().is_full);
    assert!(world.session.record(entries()).await.is_err(), "it takes more than it may");
}

/// In the first round under an honest clock everything that a later one is judged by is stored.
#[tokio::test]
async fn a_start_under_a_wrong_clock_goes_on_from_the_time_that_was_judged() {
    let mut world = World::new().await;
    world.grow_to(SEGMENT_ENTRIES + 300).await;
    world.configure(|audit| {
        audit.keep_days = Some(30);
        audit.export = Some("none".to_owned());
    });
    world.retention.is_anchored(u64::MAX);
    world.round().await.unwrap();
    assert!(Ledger::read(&world.session).await.unwrap().judged_ms.is_some());
    world.restart().await;
    world.clock.0.fetch_add(YEAR_MS, Ordering::Relaxed);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, 0, "nothing has passed");
    assert!(world.retention.journal().is_clock_doubted);
    world.clock.0.fetch_sub(YEAR_MS, Ordering::Relaxed);
    let told = async || world.told().await.iter().filter(|what| what.contains("is judged by")).count();
    let before = told().await;
    for _ in 0..48 {
        world.pass(DAY_MS / 24);
        world.round().await.unwrap();
    }
    assert_eq!(told().await - before, 2, "stored once a day");
}

/// A store in which somebody does something right after a row of a segment was written.
struct Interrupted {
    rows: Arc<MemoryStore>,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Store for Interrupted {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>> {
        self.rows.get(key)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        self.rows.scan(scan)
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        self.rows.keys(scan)
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>> {
        self.rows.snapshot()
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        Box::pin(async move {
            let is_time = ops.iter().any(|op| op.key() == segment_key(0));
            self.rows.commit(ops).await?;
            if let Some(then) = self.then.lock().unwrap().take_if(|_| is_time) {
                then();
            }
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        self.rows.close()
    }
}

#[tokio::test]
async fn a_limit_that_is_taken_back_during_a_round_cuts_nothing() {
    for taken_back in [true, false] {
        let rows = Arc::new(Interrupted { rows: Arc::default(), then: Mutex::default() });
        let world = World::on(Arc::clone(&rows) as _).await;
        world.grow_to(SEGMENT_ENTRIES + 300).await;
        world.pass(10 * DAY_MS);
        world.retention.is_anchored(u64::MAX);
        world.configure(|audit| {
            audit.keep_days = Some(7);
            audit.export = world.exporting();
        });
        let (living, mut lives) = (world.living.clone(), Lives::clone(&world.living.now()));
        lives.audit.keep_days = None;
        *rows.then.lock().unwrap() = taken_back
            .then(|| Box::new(move || _ = living.replace(Arc::new(lives))) as Box<dyn FnOnce() + Send>);
        world.round().await.unwrap();
        let expected = if taken_back { 0 } else { SEGMENT_ENTRIES };
        assert_eq!((world.minimum().await, world.objects().len()), (expected, 1));
    }
}
