use symbolon_proto::certificate::{Certificate, CertificateError};
use symbolon_proto::evaluate::{Answer, Refusal};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{AnchorValue, Enrolment, GroupAnswer, GroupOp, GroupRequest, Presence, Status};
use symbolon_proto::id::{DeploymentId, KeyId, NodeId, RequestId};
use symbolon_proto::lease;
use symbolon_proto::order::{Action, Order, OrderError, OrderNonce, SignedOrder};

use super::client::{Broker, Fixture};
use super::people::{People, any};
use crate::AdminError;
use crate::rng::os_rng;
use crate::tables::KeyState;

const DAY: u64 = 86_400;

struct Scene {
    fixture: Fixture,
    people: People,
    broker: Broker,
    key: KeyId,
}

async fn scene() -> Scene {
    let people = People::new();
    let fixture = Fixture::with(|options| people.enter(options)).await;
    let broker = fixture.broker().await;
    let key = broker.target().key;
    Scene { fixture, people, broker, key }
}

impl Scene {
    fn order(&self, action: Action) -> String {
        self.people.order(&self.fixture.service, action, &[0, 1])
    }

    fn destroy(&self) -> String {
        self.order(Action::Destroy { key: self.key })
    }

    fn hand_in(&self, text: &str) -> Result<crate::report::Carried, AdminError> {
        self.fixture.service.carry_out(text, any)
    }

    fn state(&self) -> KeyState {
        self.fixture.service.status().keys[0].state
    }

    fn key_files(&self) -> Vec<String> {
        self.fixture.service.dir.list("keys").unwrap()
    }
}

fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        Answer::Evaluated(..) => panic!("was evaluated"),
    }
}

#[tokio::test]
async fn two_officers_destroy_after_the_cooling_off_and_the_certificate_says_so() {
    let scene = scene().await;
    let carried = scene.hand_in(&scene.destroy()).unwrap();
    assert_eq!(carried.officers, ["ana", "boris"]);
    assert_eq!(scene.state(), KeyState::PendingDestroy);
    let Refusal::Suspended(lease) = refusal(scene.broker.evaluate(1).await) else { panic!() };
    assert_eq!(lease.terms().status, lease::KeyState::PendingDestroy);
    scene.fixture.clock.forward(14 * DAY - 1);
    scene.fixture.service.tend_destructions().unwrap();
    assert_eq!(scene.state(), KeyState::PendingDestroy, "one second early");
    assert_eq!(scene.key_files().len(), 1);
    scene.fixture.clock.forward(1);
    scene.fixture.service.tend_destructions().unwrap();
    assert!(matches!(refusal(scene.broker.evaluate(1).await), Refusal::Destroyed(_)));
    assert!(matches!(scene.broker.heartbeat().await, Presence::Refused(Refusal::Destroyed(_))));
    assert!(scene.key_files().is_empty());
    let certificates = scene.fixture.service.certificates(scene.key).unwrap();
    let certificate = Certificate::from_text(&certificates[0].text, &scene.fixture.root).unwrap();
    let said = certificate.destruction();
    assert!(said.whole && said.key == scene.key);
    assert_eq!(said.shares[0].public, scene.broker.manifest.as_ref().unwrap().manifest().public);
    assert_eq!(said.backups_until_secs - said.destroyed_secs, 90 * DAY);
    assert_eq!(said.destroyed_secs - said.ordered_secs, 14 * DAY);
    let other = Certificate::from_text(&certificates[0].text, &Fingerprint::of(b"other"));
    assert!(matches!(other, Err(CertificateError::OtherRoot { .. })));
}

#[tokio::test]
async fn the_last_manifest_says_destroyed_and_a_restart_forgets_nothing() {
    let mut scene = scene().await;
    let root = scene.broker.finish_enrolment(&scene.fixture.root).await;
    scene.hand_in(&scene.destroy()).unwrap();
    scene.fixture.clock.forward(14 * DAY);
    scene.fixture = scene.fixture.restart().await;
    assert_eq!(scene.state(), KeyState::Destroyed, "due destructions happen at the start");
    scene.broker.connect(scene.fixture.address).await;
    assert!(matches!(scene.broker.hello(2).await, Presence::Refused(Refusal::Destroyed(_))));
    let live = scene.fixture.service.live();
    let mut newest = scene.broker.manifest.clone().unwrap();
    for (_, bytes) in &live.tables.keys[&scene.key].manifests[1..] {
        newest = newest.next(bytes, &root).unwrap();
    }
    assert_eq!(newest.manifest().state, lease::KeyState::Destroyed);
}

#[tokio::test]
async fn a_restored_key_file_or_table_does_not_bring_a_key_back() {
    let mut scene = scene().await;
    let dir = scene.fixture.state_dir();
    let file = dir.join(format!("keys/{}", scene.key));
    let (key_backup, tables_backup) =
        (std::fs::read(&file).unwrap(), std::fs::read(dir.join("tables")).unwrap());
    scene.hand_in(&scene.destroy()).unwrap();
    scene.fixture.clock.forward(14 * DAY);
    scene.fixture.service.tend_destructions().unwrap();
    scene.fixture.stop().await.unwrap();
    std::fs::write(&file, &key_backup).unwrap();
    std::fs::write(dir.join("tables"), &tables_backup).unwrap();
    scene.fixture = scene.fixture.reopen().await;
    assert_eq!(scene.state(), KeyState::Destroyed);
    assert!(scene.key_files().is_empty(), "erased again");
    scene.broker.connect(scene.fixture.address).await;
    assert!(matches!(scene.broker.hello(2).await, Presence::Refused(Refusal::Destroyed(_))));
}

#[tokio::test]
async fn an_older_list_of_tombstones_is_noticed() {
    let mut scene = scene().await;
    scene.hand_in(&scene.destroy()).unwrap();
    scene.fixture.clock.forward(14 * DAY);
    scene.fixture.service.tend_destructions().unwrap();
    scene.fixture.stop().await.unwrap();
    std::fs::remove_file(scene.fixture.state_dir().join("tombstones")).unwrap();
    let error = scene.fixture.open_error().await;
    assert!(error.to_string().contains("newest `tombstones`"), "{error}");
}

#[tokio::test]
async fn cancelling_leaves_the_key_suspended_and_the_order_used() {
    let scene = scene().await;
    let destroy = scene.destroy();
    scene.hand_in(&destroy).unwrap();
    assert!(matches!(scene.fixture.service.resume(Some(scene.key)), Err(AdminError::PendingDestroy)));
    assert_eq!(scene.fixture.service.resume(None).unwrap(), 0, "one person cannot undo what two ordered");
    scene.hand_in(&scene.order(Action::Cancel { key: scene.key })).unwrap();
    assert_eq!(scene.state(), KeyState::Suspended);
    assert!(matches!(scene.hand_in(&destroy), Err(AdminError::Order(OrderError::Used))));
    scene.fixture.clock.forward(60 * DAY);
    scene.fixture.service.tend_destructions().unwrap();
    scene.fixture.service.resume(None).unwrap();
    assert!(matches!(scene.broker.evaluate(1).await, Answer::Evaluated(..)));
    let nothing = scene.hand_in(&scene.order(Action::Cancel { key: scene.key }));
    assert!(matches!(nothing, Err(AdminError::NothingPending)));
}

#[tokio::test]
async fn orders_that_are_not_orders_change_nothing() {
    let scene = scene().await;
    let service = &scene.fixture.service;
    let draft = service.draft(Action::Destroy { key: scene.key }, 7).unwrap();
    let now = service.now().unix_secs;
    let base = *SignedOrder::from_text(&draft).unwrap().order();
    let made = |order: Order| scene.people.sign(&SignedOrder::new(order).unwrap().to_text(), &[1, 2]);
    let fresh = |order: Order| Order { nonce: OrderNonce::random(&mut os_rng()), ..order };
    let cases = [
        (scene.people.sign(&draft, &[0]), "1 of 2"),
        (draft.clone(), "0 of 2"),
        (People::new().sign(&draft, &[0, 1]), "0 of 2"),
        (made(fresh(Order { node: NodeId::from_bytes([9; 16]), ..base })), "another"),
        (made(fresh(Order { deployment: DeploymentId::from_bytes([9; 16]), ..base })), "another deployment"),
        (made(fresh(Order { not_before_secs: now - 10, not_after_secs: now, ..base })), "expired"),
        (made(fresh(Order { not_before_secs: now + 1, ..base })), "not valid yet"),
        (
            made(fresh(Order { action: Action::Destroy { key: KeyId::from_bytes([9; 16]) }, ..base })),
            "no such key",
        ),
        (
            made(fresh(Order { action: Action::Retire { key: scene.key, key_epoch: 1 }, ..base })),
            "newest epoch",
        ),
        (
            made(fresh(Order { action: Action::Retire { key: scene.key, key_epoch: 2 }, ..base })),
            "no such epoch",
        ),
        (
            made(fresh(Order { action: Action::Restore { key: scene.key, key_epoch: 1 }, ..base })),
            "not retired",
        ),
        ("nonsense".to_owned(), "BEGIN SYMBOLON ORDER"),
    ];
    let before = service.live().tables.clone();
    for (text, expected) in cases {
        let error = scene.hand_in(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(service.live().tables, before);
    }
    let other = service.carry_out(&scene.destroy(), |action| matches!(action, Action::Cancel { .. }));
    assert!(matches!(other, Err(AdminError::OtherAction { .. })));
    assert!(matches!(scene.broker.evaluate(1).await, Answer::Evaluated(..)));
}

#[tokio::test]
async fn without_officers_nothing_is_ordered() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let draft = fixture.service.draft(Action::Destroy { key: broker.target().key }, 7).unwrap();
    let refused = fixture.service.carry_out(&People::new().sign(&draft, &[0, 1]), any);
    assert!(matches!(refused, Err(AdminError::NoOfficers)));
}

#[tokio::test]
async fn officers_admit_a_restored_broker_and_the_old_generation_stays_out() {
    let mut scene = scene().await;
    assert!(matches!(scene.broker.hello(9 << 32).await, Presence::Lease(_)));
    let text = scene.order(Action::Admit { broker: scene.broker.id, generation: 9 << 32 });
    let mut restored = Broker { generation: 0, ..scene.broker.twin() };
    restored.connect(scene.fixture.address).await;
    assert!(matches!(restored.hello(3 << 32).await, Presence::Refused(Refusal::StaleGeneration(_))));
    scene.hand_in(&text).unwrap();
    assert!(matches!(restored.hello(3 << 32).await, Presence::Lease(_)));
    assert!(matches!(restored.evaluate(1).await, Answer::Evaluated(..)));
    assert!(matches!(refusal(scene.broker.evaluate(1).await), Refusal::Busy), "its generation is barred");
    assert!(matches!(scene.hand_in(&text), Err(AdminError::Order(OrderError::Used))));
    let report = &scene.fixture.service.status().brokers[0];
    assert_eq!((report.generation, report.barred_generation), (3 << 32, Some(9 << 32)));
    let stale = scene.order(Action::Admit { broker: scene.broker.id, generation: 9 << 32 });
    assert!(
        matches!(scene.hand_in(&stale), Err(AdminError::OtherGeneration { registered }) if registered == 3 << 32)
    );
}

#[tokio::test]
async fn every_generation_that_officers_replaced_stays_out() {
    let mut scene = scene().await;
    for generation in [9 << 32, 5 << 32] {
        assert!(matches!(scene.broker.hello(generation).await, Presence::Lease(_)));
        scene.hand_in(&scene.order(Action::Admit { broker: scene.broker.id, generation })).unwrap();
    }
    scene.fixture = scene.fixture.restart().await;
    scene.broker.connect(scene.fixture.address).await;
    for generation in [9 << 32, 5 << 32] {
        assert!(matches!(scene.broker.hello(generation).await, Presence::Refused(Refusal::Busy)));
    }
    // Who has said no hello may be the one that is barred.
    assert_eq!(step(&scene).await, Status::Busy);
    assert!(matches!(scene.broker.hello(6 << 32).await, Presence::Lease(_)));
    assert_ne!(step(&scene).await, Status::Busy);
}

/// How a step is refused that a broker may take at all.
async fn step(scene: &Scene) -> Status {
    let op = GroupOp::NewEpoch { key: scene.key, key_epoch: 9 };
    let request = GroupRequest { nonce: RequestId::random(&mut os_rng()), op };
    let answer = scene.broker.frame(request.to_bytes()).await;
    GroupAnswer::parse(&answer).unwrap().outcome.unwrap_err().status
}

#[tokio::test]
async fn a_broker_that_was_removed_comes_back_with_what_it_left() {
    let mut scene = scene().await;
    assert!(matches!(scene.broker.hello(9 << 32).await, Presence::Lease(_)));
    scene.hand_in(&scene.order(Action::Admit { broker: scene.broker.id, generation: 9 << 32 })).unwrap();
    assert!(matches!(scene.broker.hello(5 << 32).await, Presence::Refused(_) | Presence::Lease(_)));
    let anchor = AnchorValue { counter: 7, value: [7; 32] };
    let id = scene.broker.id;
    scene.fixture.service.live().tables.brokers.get_mut(&id).unwrap().anchor = Some(anchor);
    let before = scene.fixture.service.live().tables.brokers[&id].clone();
    scene.fixture.service.remove(id).unwrap();
    scene.fixture = scene.fixture.restart().await;
    scene.broker.connect(scene.fixture.address).await;
    assert_eq!(scene.broker.enrol().await, Enrolment::Pending);
    scene.fixture.service.approve(&scene.broker.fingerprint(), true).unwrap();
    let after = scene.fixture.service.live().tables.brokers[&id].clone();
    assert_eq!(before.generation, 5 << 32);
    assert_eq!((after.generation, after.anchor, after.admitted), (5 << 32, Some(anchor), before.admitted));
    assert!(scene.fixture.service.live().tables.removed.is_empty());
    let older = scene.broker.hello(3 << 32).await;
    assert!(matches!(older, Presence::Refused(Refusal::StaleGeneration(_))));
}

#[tokio::test]
async fn a_removed_broker_is_a_stranger() {
    let scene = scene().await;
    scene.fixture.service.remove(scene.broker.id).unwrap();
    let request = scene.broker.request(scene.broker.target(), 1);
    let (status, _) = scene.broker.post(request.to_bytes()).await;
    assert_eq!(status, hyper::StatusCode::FORBIDDEN);
    assert!(matches!(scene.fixture.service.remove(scene.broker.id), Err(AdminError::UnknownBroker)));
}
