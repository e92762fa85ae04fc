use std::os::unix::fs::PermissionsExt;

use symbolon_proto::evaluate::Answer;
use symbolon_proto::frame::{Enrolment, Presence};

use super::client::{Broker, Fixture};
use super::people::People;
use crate::admin::{Ask, AskError, Draft, OrderKind, Reply, SOCKET, ask};
use crate::tables::KeyState;

async fn said(fixture: &Fixture, question: Ask) -> Reply {
    while !fixture.state_dir().join(SOCKET).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    ask(&fixture.state_dir(), &question).await.unwrap()
}

#[tokio::test]
async fn the_operator_approves_suspends_and_resumes_over_the_socket() {
    let fixture = Fixture::start().await;
    let mut broker = Broker::new();
    broker.connect(fixture.address).await;
    assert_eq!(broker.enrol().await, Enrolment::Pending);
    let Reply::Pending(pending) = said(&fixture, Ask::Pending).await else { panic!() };
    let fingerprint = pending[0].fingerprint.replace(' ', "-");
    let Reply::Approved(approved) = said(&fixture, Ask::Approve { fingerprint, join: false }).await else {
        panic!()
    };
    broker.finish_enrolment(&fixture.root).await;
    assert!(matches!(broker.hello(1).await, Presence::Lease(_)));
    assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
    let Reply::Changed(1) = said(&fixture, Ask::Suspend { key: Some(approved.key) }).await else { panic!() };
    assert!(matches!(broker.evaluate(1).await, Answer::Refused(_)));
    let Reply::Status(status) = said(&fixture, Ask::Status).await else { panic!() };
    assert_eq!(status.keys[0].state, KeyState::Suspended);
    assert_eq!(status.brokers[0].generation, 1);
    assert_eq!(status.log.records, 2, "one evaluation and one refusal");
    let Reply::Changed(1) = said(&fixture, Ask::Resume { key: None }).await else { panic!() };
    assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
}

#[tokio::test]
async fn requests_that_cannot_be_met_are_explained() {
    let fixture = Fixture::start().await;
    let requests = [
        (Ask::Approve { fingerprint: "12345".to_owned(), join: false }, "twelve groups"),
        (Ask::Approve { fingerprint: "1".repeat(60), join: false }, "waits for approval"),
        (Ask::Suspend { key: Some("0".repeat(32)) }, "no such key"),
        (Ask::Resume { key: Some("x".to_owned()) }, "no such key"),
    ];
    for (request, expected) in requests {
        let Reply::Refused(text) = said(&fixture, request).await else { panic!() };
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn officers_act_over_the_socket() {
    let people = People::new();
    let fixture = Fixture::with(|options| people.enter(options)).await;
    let broker = fixture.broker().await;
    let key = broker.target().key.to_string();
    let draft = Draft::Destroy { key: key.clone(), epoch: None };
    let Reply::Drafted(draft) = said(&fixture, Ask::Draft { draft, days: 3 }).await else { panic!() };
    let text = people.sign(&draft, &[0, 2]);
    let other = said(&fixture, Ask::Order { kind: OrderKind::Admit, text: text.clone() }).await;
    let Reply::Refused(why) = other else { panic!() };
    assert!(why.contains("not what this command does"), "{why}");
    let carried = said(&fixture, Ask::Order { kind: OrderKind::Destroy, text: text.clone() }).await;
    let Reply::Carried(carried) = carried else { panic!() };
    assert_eq!(carried.officers, ["ana", "carla"]);
    let Reply::Refused(why) = said(&fixture, Ask::Order { kind: OrderKind::Destroy, text }).await else {
        panic!()
    };
    assert!(why.contains("already"), "{why}");
    let Reply::Status(status) = said(&fixture, Ask::Status).await else { panic!() };
    assert_eq!((status.keys[0].destroy_at, status.officers.len()), (carried.due_secs, 3));
    let Reply::Refused(why) = said(&fixture, Ask::Certificates { key: key.clone() }).await else { panic!() };
    assert!(why.contains("nothing"), "{why}");
    fixture.clock.forward(14 * 86_400);
    fixture.service.tend_destructions().unwrap();
    let Reply::Certificates(found) = said(&fixture, Ask::Certificates { key }).await else { panic!() };
    assert!(found[0].text.starts_with("-----BEGIN SYMBOLON CERTIFICATE OF DESTRUCTION-----"));
    let remove = Ask::Remove { broker: broker.id.to_string() };
    assert!(matches!(said(&fixture, remove).await, Reply::Changed(1)));
}

#[tokio::test]
async fn the_socket_is_the_operators_alone_and_gone_afterwards() {
    let mut fixture = Fixture::start().await;
    said(&fixture, Ask::Status).await;
    let socket = fixture.state_dir().join(SOCKET);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    fixture.stop().await.unwrap();
    let error = ask(&fixture.state_dir(), &Ask::Status).await.unwrap_err();
    assert!(matches!(error, AskError::NotRunning), "{error}");
}

#[tokio::test]
async fn nothing_on_disk_is_readable_without_the_key() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let names = [broker.id.to_string(), broker.deployment.to_string()];
    for entry in std::fs::read_dir(fixture.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let content = std::fs::read(&path).unwrap();
        for name in &names {
            let found = content.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!found, "{} names a broker", path.display());
        }
    }
}
