use std::sync::Arc;

use symbolon_proto::evaluate::{Answer, Refusal};
use symbolon_proto::frame::{
    AnchorAnswer, AnchorRequest, AnchorValue, EvaluateOutcome, EvaluateResponse, Presence, Status, Target,
};
use symbolon_proto::id::RequestId;
use symbolon_proto::lease::Standing;

use super::client::{Broker, Fixture};
use crate::Quota;
use crate::rng::os_rng;

fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        Answer::Evaluated(..) => panic!("was evaluated"),
    }
}

#[tokio::test]
async fn batches_are_evaluated_proven_and_logged_as_counts() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    for count in [1, 8, 64] {
        let Answer::Evaluated(_, lease) = broker.evaluate(count).await else { panic!("refused") };
        assert_eq!(lease.standing(), Standing::Active);
    }
    let log = std::fs::read_to_string(fixture.state_dir().join("evaluations.log")).unwrap();
    let counts: Vec<_> = log.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
    assert_eq!(counts, ["1", "8", "64"]);
    assert_eq!(fixture.service.status().keys[0].quota_left, 16_384 - 73);
}

#[tokio::test]
async fn nothing_is_evaluated_before_a_hello() {
    let fixture = Fixture::start().await;
    let mut broker = fixture.broker().await;
    broker.connect(fixture.address).await;
    assert_eq!(refusal(broker.evaluate(1).await), Refusal::Busy);
    assert!(matches!(broker.heartbeat().await, Presence::Refused(Refusal::Busy)));
}

#[tokio::test]
async fn suspension_is_signed_and_resuming_ends_it() {
    let fixture = Fixture::start().await;
    let mut broker = fixture.broker().await;
    assert_eq!(fixture.service.suspend(None).unwrap(), 1);
    assert_eq!(fixture.service.suspend(None).unwrap(), 0, "it was suspended already");
    assert!(matches!(refusal(broker.evaluate(1).await), Refusal::Suspended(_)));
    assert!(matches!(broker.heartbeat().await, Presence::Refused(Refusal::Suspended(_))));
    assert!(matches!(broker.hello(2).await, Presence::Refused(Refusal::Suspended(_))));
    let fixture = fixture.restart().await;
    broker.connect(fixture.address).await;
    assert!(
        matches!(broker.hello(2).await, Presence::Refused(Refusal::Suspended(_))),
        "restarting is no way out"
    );
    assert_eq!(fixture.service.resume(Some(broker.target().key)).unwrap(), 1);
    assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
}

#[tokio::test]
async fn the_quota_counts_elements_and_refills_with_time() {
    let quota = Quota { burst: 64, per_hour: 3600 };
    let fixture = Fixture::with(|options| options.grants.quota = quota).await;
    let mut broker = fixture.broker().await;
    assert!(matches!(broker.evaluate(64).await, Answer::Evaluated(..)));
    assert_eq!(refusal(broker.evaluate(1).await), Refusal::QuotaExhausted);
    let fixture = fixture.restart().await;
    broker.connect(fixture.address).await;
    broker.hello(1).await;
    assert_eq!(refusal(broker.evaluate(1).await), Refusal::QuotaExhausted, "a restart refills nothing");
    fixture.clock.forward(8);
    assert!(matches!(broker.evaluate(8).await, Answer::Evaluated(..)));
    assert_eq!(refusal(broker.evaluate(1).await), Refusal::QuotaExhausted);
}

#[tokio::test]
async fn a_newer_generation_fences_the_older_under_signature() {
    let fixture = Fixture::start().await;
    let mut old = fixture.broker().await;
    let old_sender = old.sender.take();
    old.connect(fixture.address).await;
    assert!(matches!(old.hello(2).await, Presence::Lease(_)));
    old.sender = old_sender;
    old.generation = 1;
    assert!(matches!(refusal(old.evaluate(1).await), Refusal::StaleGeneration(_)));
    assert!(matches!(old.heartbeat().await, Presence::Refused(Refusal::StaleGeneration(_))));
    let fixture = fixture.restart().await;
    old.connect(fixture.address).await;
    assert!(matches!(old.hello(1).await, Presence::Refused(Refusal::StaleGeneration(_))), "it is remembered");
}

/// A copy of a running broker's machine has its generation, too. What is not built (`docs/skb1.md` 16.70):
/// whoever tells the two apart turns the first half of this test around.
#[tokio::test]
async fn a_live_twin_is_served_until_one_of_the_two_unseals() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let mut twin = broker.twin();
    twin.connect(fixture.address).await;
    assert!(matches!(twin.hello(broker.generation).await, Presence::Lease(_)));
    for _ in 0..5 {
        assert!(matches!(twin.evaluate(1).await, Answer::Evaluated(..)));
        assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
    }
    assert!(matches!(twin.hello(broker.generation + 1).await, Presence::Lease(_)));
    assert!(matches!(refusal(broker.evaluate(1).await), Refusal::StaleGeneration(_)));
    assert!(matches!(twin.evaluate(1).await, Answer::Evaluated(..)));
}

#[tokio::test]
async fn keys_of_others_are_unknown_and_epochs_must_fit() {
    let fixture = Fixture::start().await;
    let (broker, other) = (fixture.broker().await, fixture.broker().await);
    let own = broker.target();
    let cases = [
        (Target { key: other.target().key, ..own }, Refusal::UnknownKey),
        (Target { key_epoch: 2, ..own }, Refusal::WrongKeyEpoch),
        (Target { share_epoch: 2, ..own }, Refusal::WrongShareEpoch),
    ];
    for (target, expected) in cases {
        assert_eq!(refusal(broker.send(&broker.request(target, 1)).await), expected);
    }
    assert_eq!(refusal(broker.send(&broker.request(own, 1).for_restore()).await), Refusal::WrongKeyEpoch);
    assert_eq!(fixture.service.status().keys[0].quota_left, 16_384, "refusals cost no quota");
}

#[tokio::test]
async fn one_bad_element_refuses_the_whole_batch() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let good = broker.request(broker.target(), 8).to_bytes();
    let identity = [0; 32];
    let non_canonical = [0xff; 32];
    for bad in [identity, non_canonical] {
        let mut frame = good.clone();
        let last = frame.len() - 32;
        frame[last..].copy_from_slice(&bad);
        let (_, answer) = broker.post(frame).await;
        let response = EvaluateResponse::parse(&answer).unwrap();
        assert_eq!(response.outcome, EvaluateOutcome::Refused { status: Status::Malformed, lease: None });
    }
    assert_eq!(fixture.service.status().log.records, 0);
    assert_eq!(fixture.service.status().keys[0].quota_left, 16_384);
}

#[tokio::test]
async fn evaluations_in_parallel_all_count() {
    let fixture = Fixture::start().await;
    let broker = Arc::new(fixture.broker().await);
    let tasks = (0..32).map(|_| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { matches!(broker.evaluate(8).await, Answer::Evaluated(..)) })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    assert_eq!(fixture.service.status().log.records, 32);
    assert_eq!(fixture.service.status().keys[0].quota_left, 16_384 - 32 * 8);
}

#[tokio::test]
async fn without_a_log_nothing_is_evaluated() {
    let fixture = Fixture::with(|options| options.limits.evaluations_max = 1).await;
    let broker = fixture.broker().await;
    fixture.service.log.break_for_test();
    assert_eq!(refusal(broker.evaluate(8).await), Refusal::Busy);
    assert_eq!(fixture.service.status().keys[0].quota_left, 16_384, "what was not given is not counted");
}

#[tokio::test]
async fn an_anchor_only_moves_forward() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let ask = async |broker: &Broker, put: Option<u64>| {
        let put = put.map(|counter| AnchorValue { counter, value: [9; 32] });
        let nonce = RequestId::random(&mut os_rng());
        let (deployment, key) = (broker.deployment, broker.target().key);
        let frame = AnchorRequest { deployment, broker: broker.id, key, put, nonce }.to_bytes();
        let answer = AnchorAnswer::parse(&broker.post(frame).await.1).unwrap();
        (answer.status, answer.stored.map(|stored| stored.counter))
    };
    assert_eq!(ask(&broker, None).await, (Status::Ok, None));
    assert_eq!(ask(&broker, Some(5)).await, (Status::Ok, Some(5)));
    assert_eq!(ask(&broker, Some(5)).await, (Status::StaleAnchor, Some(5)));
    assert_eq!(ask(&broker, Some(4)).await, (Status::StaleAnchor, Some(5)));
    let fixture = fixture.restart().await;
    let mut broker = broker;
    broker.connect(fixture.address).await;
    assert_eq!(ask(&broker, None).await, (Status::Ok, Some(5)));
    assert_eq!(ask(&broker, Some(6)).await, (Status::Busy, Some(5)), "nobody knows which generation speaks");
    broker.hello(9).await;
    broker.hello(8).await;
    assert_eq!(ask(&broker, Some(6)).await, (Status::StaleGeneration, Some(5)), "a clone must not move it");
    broker.hello(9).await;
    assert_eq!(ask(&broker, Some(6)).await, (Status::Ok, Some(6)));
}
