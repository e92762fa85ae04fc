use symbolon_proto::evaluate::Answer;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{Enrolment, ManifestAnswer, ManifestRequest, Presence, Status};
use symbolon_proto::id::RequestId;
use symbolon_proto::lease::KeyState;

use super::client::{Broker, Fixture};
use crate::AdminError;
use crate::rng::os_rng;

#[tokio::test]
async fn a_stranger_waits_until_its_fingerprint_is_approved() {
    let fixture = Fixture::start().await;
    let mut broker = Broker::new();
    broker.connect(fixture.address).await;
    assert_eq!(broker.enrol().await, Enrolment::Pending);
    assert_eq!(broker.enrol().await, Enrolment::Pending);
    let pending = fixture.service.pending();
    assert_eq!(pending.len(), 1, "asking twice is one request");
    assert_eq!(pending[0].fingerprint, broker.fingerprint().to_string());
    let other = Fingerprint::of(b"somebody else");
    assert!(matches!(fixture.service.approve(&other, false), Err(AdminError::NotPending)));
    assert_eq!(broker.enrol().await, Enrolment::Pending);
    let approved = fixture.service.approve(&broker.fingerprint(), false).unwrap();
    assert!(approved.created);
    broker.finish_enrolment(&fixture.root).await;
    assert!(fixture.service.pending().is_empty());
}

#[tokio::test]
async fn a_deployment_is_joined_only_on_purpose_and_then_shares_the_key() {
    let fixture = Fixture::start().await;
    let first = fixture.broker().await;
    let mut second = Broker { deployment: first.deployment, ..Broker::new() };
    second.connect(fixture.address).await;
    second.enrol().await;
    assert!(fixture.service.pending()[0].joins);
    let refused = fixture.service.approve(&second.fingerprint(), false);
    assert!(matches!(refused, Err(AdminError::WouldJoin)));
    assert!(!fixture.service.approve(&second.fingerprint(), true).unwrap().created);
    second.finish_enrolment(&fixture.root).await;
    assert_eq!(second.target(), first.target());
    assert!(matches!(second.hello(1).await, Presence::Lease(_)));
}

#[tokio::test]
async fn another_brokers_id_cannot_be_taken() {
    let fixture = Fixture::start().await;
    let first = fixture.broker().await;
    let mut thief = Broker { deployment: first.deployment, id: first.id, ..Broker::new() };
    thief.connect(fixture.address).await;
    thief.enrol().await;
    let refused = fixture.service.approve(&thief.fingerprint(), true);
    assert!(matches!(refused, Err(AdminError::BrokerIdTaken)));
}

#[tokio::test]
async fn an_enrolled_key_cannot_ask_under_another_name() {
    let fixture = Fixture::start().await;
    let mut broker = fixture.broker().await;
    broker.deployment = Broker::new().deployment;
    assert_eq!(broker.enrol().await, Enrolment::Refused);
}

#[tokio::test]
async fn what_was_enrolled_survives_a_restart_and_leases_go_on() {
    let fixture = Fixture::start().await;
    let mut broker = fixture.broker().await;
    let Presence::Lease(before) = broker.heartbeat().await else { panic!() };
    let manifest = broker.manifest.clone();
    let fixture = fixture.restart().await;
    broker.connect(fixture.address).await;
    assert!(matches!(broker.evaluate(1).await, Answer::Refused(_)), "a new connection has no generation yet");
    let Presence::Lease(after) = broker.hello(1).await else { panic!() };
    assert!(after.supersedes(&before), "sequence numbers rise across restarts");
    assert!(matches!(broker.evaluate(8).await, Answer::Evaluated(..)));
    broker.finish_enrolment(&fixture.root).await;
    assert_eq!(broker.manifest, manifest);
}

#[tokio::test]
async fn manifests_are_chained_and_renewed_in_time() {
    let fixture = Fixture::start().await;
    let mut broker = Broker::new();
    broker.connect(fixture.address).await;
    broker.enrol().await;
    fixture.service.approve(&broker.fingerprint(), false).unwrap();
    let root = broker.finish_enrolment(&fixture.root).await;
    fixture.clock.forward(16 * 24 * 3600);
    fixture.service.renew_manifests().unwrap();
    fixture.service.suspend(None).unwrap();
    let mut newest = broker.manifest.clone().unwrap();
    let key = newest.manifest().key;
    let request = ManifestRequest { key, after_seq: 1, nonce: RequestId::random(&mut os_rng()) };
    let (_, answer) = broker.post(request.to_bytes()).await;
    let answer = ManifestAnswer::parse(&answer).unwrap();
    assert_eq!((answer.status, answer.manifests.len()), (Status::Ok, 2));
    for bytes in &answer.manifests {
        newest = newest.next(bytes, &root).unwrap();
    }
    assert_eq!(newest.manifest().state, KeyState::Suspended);
    assert!(newest.check_time(1_760_000_000 + 40 * 24 * 3600).is_ok());
}
