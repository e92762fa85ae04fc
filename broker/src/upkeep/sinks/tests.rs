#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use symbolon_core::audit::{Action, Detail, Draft, Outcome};
use symbolon_core::clock::{Clock, Now};
use symbolon_core::event::Event;
use symbolon_core::seal::Unsealed;
use tokio::task::JoinSet;

use super::Pace;
use crate::access::Session;
use crate::access::mounts::Mounts;
use crate::access::shape::Shape;
use crate::alarms::{Alarm, Alarms};
use crate::audit::retention::journal::Retention;
use crate::audit::sinks::Patience;
use crate::audit::sinks::journal::{Shipping, State};
use crate::config::{Config, Lives, Living, SMALL};
use crate::remote::Leases;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::testing::{Away, Ground, unsealed};

mod begins;
mod ends;
mod faults;
mod kinds;
mod peer;
mod rsyslog;

/// A path that a caller has chosen, and who it was.
const NAMES: [&str; 5] = ["zanzibar", "wally", "team-blue", "192.0.2.77", "acc-123"];

/// Everything quicker, as it would be after some time.
const QUICK: Pace = Pace {
    patience: Patience {
        connect: Duration::from_secs(5),
        answer: Duration::from_millis(1500),
        index: Duration::from_millis(1500),
    },
    look: Duration::from_millis(20),
    tick: Duration::from_millis(10),
    linger: Duration::from_millis(30),
    mark: Duration::from_millis(20),
    again: Duration::from_millis(20),
    again_max: Duration::from_millis(100),
};

/// The time stands still unless somebody waits.
struct Hands(tokio::time::Instant);

impl Clock for Hands {
    fn now(&self) -> Now {
        let ms = u64::try_from(self.0.elapsed().as_millis()).unwrap();
        Now { unix_ms: 1_800_000_000_000 + ms, boot_ms: ms }
    }
}

/// A broker that has only a log, and sinks.
struct World {
    rows: Arc<dyn Store>,
    clock: Arc<Hands>,
    unsealed: Arc<Unsealed>,
    session: Arc<Session>,
    living: Living,
    alarms: Arc<Alarms>,
    retention: Arc<Retention>,
    tasks: JoinSet<()>,
    home: tempfile::TempDir,
}

async fn open(store: &Arc<dyn Store>, clock: &Arc<Hands>, unsealed: &Arc<Unsealed>) -> Arc<Session> {
    let (store, clock) = (Arc::clone(store), Arc::clone(clock) as _);
    let (unsealed, shape) = (Arc::clone(unsealed), Arc::new(Shape::default()));
    let ground = Ground { store, clock, unsealed, shape };
    let keys = ground.keys(Arc::new(Away), Leases::default());
    ground.session(keys, Mounts::default()).await
}

/// What a read of somebody leaves.
fn read() -> Draft {
    let detail = Detail {
        caller: "wally".into(),
        accessor: "acc-123".into(),
        path: "secret/data/zanzibar".into(),
        mount_bytes: 6,
        remote: "192.0.2.77".into(),
        request_id: "r-1".into(),
        policies: [symbolon_core::path::PolicyName::parse("team-blue").unwrap()].into(),
        ..Detail::default()
    };
    Draft { action: Action::SecretRead, outcome: Outcome::Allowed, detail }
}

impl World {
    /// With these sinks, that do not run yet.
    async fn new(sinks: &str) -> Self {
        let rows: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(Hands(tokio::time::Instant::now()));
        let unsealed = Arc::new(unsealed());
        let session = open(&rows, &clock, &unsealed).await;
        let (living, alarms) = (Config::parse(SMALL).unwrap().lives, Arc::new(Alarms::default()));
        let retention = Arc::new(Retention::new(living.clone(), Arc::clone(&alarms)));
        let (home, tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
        let world = Self { rows, clock, unsealed, session, living, alarms, retention, tasks, home };
        world.configure(sinks);
        world
    }

    /// The same with sinks that run.
    async fn running(sinks: &str) -> Self {
        let mut world = Self::new(sinks).await;
        world.run();
        world
    }

    fn run(&mut self) {
        self.run_at(QUICK);
    }

    fn run_at(&mut self, pace: Pace) {
        let session = Arc::downgrade(&self.session);
        self.tasks.spawn(super::run(session, Arc::clone(&self.retention.sinks), pace));
    }

    fn shipping(&self) -> &Shipping {
        &self.retention.sinks
    }

    /// Other settings, as a file that has changed. `$HOME` is a folder of the test.
    fn configure(&self, sinks: &str) {
        let sinks = sinks.replace("$HOME", self.home.path().to_str().unwrap());
        let config = Config::parse(&format!("{SMALL}\n{sinks}")).unwrap();
        crate::audit::sinks::check(&config.lives.now().audit).unwrap();
        let mut lives = Lives::clone(&self.living.now());
        lives.audit.sinks.clone_from(&config.lives.now().audit.sinks);
        self.living.replace(Arc::new(lives));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The same store after everything in memory is gone.
    async fn restart(&mut self) {
        self.tasks.shutdown().await;
        self.session = open(&self.rows, &self.clock, &self.unsealed).await;
        self.retention = Arc::new(Retention::new(self.living.clone(), Arc::clone(&self.alarms)));
    }

    /// So many reads, some in each commit.
    async fn grow(&self, entries: usize) {
        let mut left = entries;
        while left > 0 {
            let some = left.min(64);
            let commits = (0..some).map(|_| self.session.record(read()));
            for done in futures_util::future::join_all(commits).await {
                done.unwrap();
            }
            left -= some;
        }
    }

    fn state(&self) -> State {
        self.shipping().states().into_iter().next().unwrap()
    }

    /// Until every sink has everything that is there when this is called.
    async fn arrive(&self) {
        let all = self.session.entries();
        self.wait("everything has arrived", || {
            let states = self.shipping().states();
            states.iter().all(|state| state.next.is_some_and(|next| next >= all))
        })
        .await;
    }

    async fn wait(&self, what: &str, is: impl Fn() -> bool) {
        for _ in 0..6000 {
            if is() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not so after half a minute: {what}; {:?}", self.shipping().states());
    }

    /// What the log says of sinks.
    async fn told(&self) -> Vec<String> {
        let log = crate::audit::log::LogReader::new(Arc::clone(&self.rows));
        let audit = self.unsealed.audit();
        let filter = crate::audit::log::Filter { actions: vec![Action::Retention], ..Default::default() };
        let range = crate::audit::log::Range {
            from: 0,
            until: u64::MAX,
            newest_first: false,
            limit: 1000,
            counts_only: false,
        };
        let page = log.search(&audit, self.unsealed.deployment(), &filter, range).await.unwrap();
        page.found.iter().map(|found| Event::of(&found.entry, found.detail.as_ref()).target.object).collect()
    }
}

/// The events of lines of JSON.
fn events(text: &str) -> Vec<Event> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Nothing is missing and nothing out of order, whatever came twice. How many there are.
fn whole(indices: impl IntoIterator<Item = u64>) -> u64 {
    let mut seen = BTreeSet::new();
    let mut next = None;
    for index in indices {
        if seen.insert(index) {
            assert!(next.is_none_or(|next| next == index), "{index} came where {next:?} was to come");
            next = Some(index + 1);
        }
    }
    seen.len() as u64
}

fn index(event: &Value) -> u64 {
    event["index"].as_u64().unwrap()
}

/// That no name is in a text.
fn names_nobody(text: &str) {
    for name in NAMES {
        assert!(!text.contains(name), "{name}: {text}");
    }
}
