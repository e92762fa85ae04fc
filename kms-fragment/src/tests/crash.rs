//! The disk fails at every single write: afterwards everything is as before, or as after, and never between.

use std::sync::Arc;

use symbolon_proto::certificate::Certificate;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId};
use symbolon_proto::order::Action;
use symbolon_proto::signing::SigningSeed;

use super::client::TestClock;
use super::people::{People, any};
use crate::disk::fault::Fault;
use crate::rng::os_rng;
use crate::tables::{KeyState, Pending};
use crate::{Options, Sealing, Service};

const DAY: u64 = 86_400;

/// A service without sockets, with one broker.
struct Bench {
    dir: tempfile::TempDir,
    options: Options,
    clock: Arc<TestClock>,
    people: People,
    service: Option<Arc<Service>>,
    key: KeyId,
    broker: BrokerId,
}

impl Bench {
    fn new() -> Self {
        let (dir, people) = (tempfile::tempdir().unwrap(), People::new());
        let clock = Arc::new(TestClock::new());
        let mut options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
        people.enter(&mut options);
        let sealing = Sealing::KeyFile(dir.path().join("key"));
        let service = Service::init(&dir.path().join("state"), &sealing, options.clone()).unwrap();
        let (pending, broker) = pending();
        service.live().tables.enqueue(pending.clone());
        let key = service.approve(&pending.fingerprint, false).unwrap().key.parse().unwrap();
        Self { dir, options, clock, people, service: Some(service), key, broker }
    }

    fn service(&self) -> &Service {
        self.service.as_ref().unwrap()
    }

    fn fail(&self, at: u32, reached: bool) {
        *self.service().dir.fault.lock().unwrap() = Fault(Some((at, reached)));
    }

    /// The process is gone; another opens what the disk has.
    fn restart(&mut self) {
        drop(self.service.take());
        let sealing = Sealing::KeyFile(self.dir.path().join("key"));
        let service = Service::open(&self.dir.path().join("state"), &sealing, self.options.clone());
        self.service = Some(service.unwrap());
    }

    fn order(&self, action: Action) {
        let text = self.people.order(self.service(), action, &[0, 1]);
        self.service().carry_out(&text, any).unwrap();
    }

    /// What is to be as before or as after.
    fn summary(&self) -> String {
        let status = self.service().status();
        format!("{:?} {:?} {:?}", status.keys, status.brokers, status.destroyed)
    }
}

fn pending() -> (Pending, BrokerId) {
    let mut rng = os_rng();
    let (sign_key, broker) = (SigningSeed::random(&mut rng).public_key(), BrokerId::random(&mut rng));
    let spki = *DeploymentId::random(&mut rng).as_bytes();
    let spki = [spki, spki].concat().try_into().unwrap();
    let fingerprint = Fingerprint::of_broker(&spki, &sign_key);
    let deployment = DeploymentId::random(&mut rng);
    (Pending { deployment, broker, spki, sign_key, fingerprint, asked_at: 1_760_001_000 }, broker)
}

/// Runs `act` with the disk failing at its first, second, … write. Returns how many writes it makes.
fn at_every_write(
    prepare: impl Fn(&Bench),
    act: impl Fn(&Bench, &str) -> bool,
    text: impl Fn(&Bench) -> String,
) -> u32 {
    for reached in [false, true] {
        for at in 0.. {
            let mut bench = Bench::new();
            prepare(&bench);
            let text = text(&bench);
            bench.restart();
            let before = bench.summary();
            bench.fail(at, reached);
            let done = act(&bench, &text);
            let seen = bench.summary();
            bench.restart();
            let found = bench.summary();
            if done {
                assert_eq!(found, seen, "what was answered is on disk");
                if reached {
                    return at;
                }
                break;
            }
            if found == before {
                assert!(act(&bench, &text), "write {at}: refused after a crash");
                continue;
            }
            // After: doing it again says that it was done, and changes nothing.
            act(&bench, &text);
            assert_eq!(bench.summary(), found, "write {at}: neither before nor after");
        }
    }
    unreachable!("the loop ends when nothing fails")
}

#[test]
fn orders_are_carried_out_wholly_or_not() {
    let rotated = |bench: &Bench| {
        bench.service().new_epoch(bench.key, 2).unwrap();
        bench.service().ask_retire(bench.key, 1).unwrap();
    };
    let retired = |bench: &Bench| {
        rotated(bench);
        bench.order(Action::Retire { key: bench.key, key_epoch: 1 });
    };
    let registered = |bench: &Bench| {
        bench.service().live().tables.brokers.get_mut(&bench.broker).unwrap().generation = 5;
        bench.service().write_tables(&bench.service().live().tables).unwrap();
    };
    type Step<'a> = &'a dyn Fn(&Bench);
    type Make = fn(&Bench) -> Action;
    let cases: [(Step<'_>, Make); 6] = [
        (&|_| (), |bench| Action::Destroy { key: bench.key }),
        (&|bench| bench.order(Action::Destroy { key: bench.key }), |bench| Action::Cancel { key: bench.key }),
        (&rotated, |bench| Action::Retire { key: bench.key, key_epoch: 1 }),
        (&retired, |bench| Action::Restore { key: bench.key, key_epoch: 1 }),
        (&retired, |bench| Action::DestroyEpoch { key: bench.key, key_epoch: 1 }),
        (&registered, |bench| Action::Admit { broker: bench.broker, generation: 5 }),
    ];
    for (prepare, action) in cases {
        let text = |bench: &Bench| bench.people.order(bench.service(), action(bench), &[0, 2]);
        let act = |bench: &Bench, text: &str| bench.service().carry_out(text, any).is_ok();
        assert_eq!(at_every_write(prepare, act, text), 1, "an order is one write");
    }
}

#[test]
fn a_new_epoch_is_made_wholly_or_not() {
    let act = |bench: &Bench, _: &str| bench.service().new_epoch(bench.key, 2).is_ok();
    assert_eq!(at_every_write(|_| (), act, |_| String::new()), 2, "the key, then the tables");
}

#[test]
fn a_destruction_that_was_interrupted_is_finished() {
    for reached in [false, true] {
        for at in 0.. {
            let mut bench = Bench::new();
            bench.service().new_epoch(bench.key, 2).unwrap();
            bench.order(Action::Destroy { key: bench.key });
            bench.clock.forward(14 * DAY);
            bench.fail(at, reached);
            let done = bench.service().tend_destructions().is_ok();
            let state = bench.service().status().keys[0].state;
            assert_ne!(state, KeyState::Active, "write {at}");
            bench.restart();
            assert_eq!(bench.service().status().keys[0].state, KeyState::Destroyed, "write {at}");
            assert!(bench.service().dir.list("keys").unwrap().is_empty(), "write {at}");
            let certificates = bench.service().certificates(bench.key).unwrap();
            assert_eq!(certificates.len(), 1, "write {at}");
            let root = bench.service().root_fingerprint();
            let certificate = Certificate::from_text(&certificates[0].text, &root).unwrap();
            assert_eq!(certificate.destruction().shares.len(), 2, "write {at}");
            if done {
                assert_eq!(at, 5, "tombstone, tables, two files, certificate");
                break;
            }
        }
    }
}

#[test]
fn suspending_holds_at_once_even_if_the_disk_is_full() {
    let bench = Bench::new();
    bench.fail(0, false);
    assert!(bench.service().suspend(None).is_err());
    assert_eq!(bench.service().status().keys[0].state, KeyState::Suspended);
    assert!(bench.service().remove(bench.broker).is_err());
    assert!(bench.service().status().brokers.is_empty());
}
