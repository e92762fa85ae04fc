//! Initialisations that end otherwise than at once: cancelled, answered into the void, confirmed twice.

use std::sync::Arc;

use serde_json::json;
use symbolon_broker::access::Channel;
use symbolon_broker::custody::init::{Init, confirm, init};
use symbolon_broker::ops::seal::status;
use symbolon_broker::run::Broker;
use symbolon_cli::InitRequest;
use symbolon_cli::demo::world::{World, until};
use symbolon_proto::custody::receipt::Receipt;

use crate::site::{CALM, CUSTODIANS, Site};

/// Honest people who see two fingerprints must think of an attack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_was_cancelled_is_taken_up_under_the_same_fingerprint() {
    let mut world = World::new(CALM, None).unwrap();
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let client = world.client().unwrap();
    let enrolling = async || client.seal_status().await.unwrap().fact("enrolling").unwrap_or_default();
    let shown =
        until("a fingerprint", async || Ok(Some(enrolling().await).filter(|shown| !shown.is_empty())));
    let request = wish(false);
    let first = tokio::select! {
        shown = shown => shown.unwrap(),
        ended = client.init(&request) => panic!("nobody has approved it: {}", ended.is_ok()),
    };
    let gone = until("the end of it", async || Ok(enrolling().await.is_empty().then_some(())));
    gone.await.unwrap();
    let service = Arc::clone(world.service().unwrap());
    let pending = || service.pending().iter().map(|waiting| waiting.fingerprint.clone()).collect::<Vec<_>>();
    assert_eq!(pending(), [first.as_str()]);
    // Approves what the broker reads out, and nothing else.
    let site = Site::initialise(world).await;
    assert!(pending().is_empty(), "nobody is left who was never meant");
    site.begin().await;
}

/// An answer that may be lost must not be in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_init_answers_is_in_force_when_its_receipt_comes_and_not_before() {
    let mut world = World::new(CALM, None).unwrap();
    world.init_defaults("confirm_secs = 0");
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let (base, service, client) =
        (world.broker_url(), Arc::clone(world.service().unwrap()), world.client().unwrap());
    let request = InitRequest { await_receipt: true, ..InitRequest::two_of_people(&CUSTODIANS) };
    // The first answer is lost: all that is left of it is the approval.
    let (lost, _) = Site::initialise_for(world, &base, &[Arc::clone(&service)], &request).await;
    let initialised = async || client.seal_status().await.unwrap().initialized;
    assert!(!initialised().await);
    lost.ask("PUT", "sys/unseal", "", &json!({ "key": lost.shares[0].as_str() }).to_string())
        .await
        .expect(503);
    let second = client.init(&request).await.unwrap();
    let third = client.init(&request).await.unwrap();
    assert!(!initialised().await && third.receipt_awaited);
    let refused = client.confirm_init(&second.receipt()).await.unwrap_err();
    assert!(refused.to_string().contains("worth nothing"), "{refused}");
    lost.ask("PUT", "sys/init", "", r#"{"receipt":"00"}"#).await.expect(400);
    assert!(!initialised().await);
    for _ in ["confirmed", "confirmed again, by somebody who did not hear it"] {
        client.confirm_init(&third.receipt()).await.unwrap();
        assert!(initialised().await);
    }
    client.confirm_init(&second.receipt()).await.unwrap_err();
    assert!(client.init(&request).await.is_err());
    for share in &third.shares_text().unwrap()[1..] {
        client.unseal(share).await.unwrap();
    }
    lost.ask("GET", "auth/token/lookup-self", third.root_token.expose(), "").await.expect(200);
    lost.ask("GET", "auth/token/lookup-self", second.root_token.expose(), "").await.expect(403);
    assert_eq!((service.status().keys.len(), service.status().brokers.len()), (1, 1));
}

/// The approval was for whoever asked first: who asks while they write their answer down must not have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_makes_no_answer_void_while_its_owner_may_confirm_it() {
    let mut world = World::new(CALM, None).unwrap();
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let client = world.client().unwrap();
    let (answer, _) = world.init(&wish(true)).await.unwrap();
    for stranger in [wish(false), wish(true)] {
        let refused = client.init(&stranger).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("waits for its confirmation"), "{refused}");
        assert!(refused.retry_after().unwrap().as_secs() > 1, "{refused:?}");
    }
    let left = client.seal_status().await.unwrap().fact("unconfirmed_left_secs").unwrap();
    assert_ne!(left, "0");
    client.confirm_init(&answer.receipt()).await.unwrap();
    for share in answer.shares_text().unwrap() {
        client.unseal(&share).await.unwrap();
    }
    let status = client.seal_status().await.unwrap();
    assert_eq!((status.sealed, status.fact("unconfirmed_left_secs").as_deref()), (false, Some("0")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_confirms_gives_way_after_its_time() {
    let mut world = World::new(CALM, None).unwrap();
    world.init_defaults("confirm_secs = 1");
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let client = world.client().unwrap();
    let (lost, _) = world.init(&wish(true)).await.unwrap();
    let second = until("the turn", async || Ok(client.init(&wish(true)).await.ok())).await.unwrap();
    assert!(client.confirm_init(&lost.receipt()).await.is_err());
    client.confirm_init(&second.receipt()).await.unwrap();
}

fn wish(await_receipt: bool) -> InitRequest {
    InitRequest { await_receipt, ..InitRequest::two_of(2) }
}

/// A deployment that is stored must be one that the broker knows of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_has_begun_ends_although_its_caller_is_gone() {
    let mut world = World::new(CALM, None).unwrap();
    world.start_fragment().await.unwrap();
    let broker = Broker::bind(world.broker_config(true).unwrap()).await.unwrap();
    let (app, service) = (broker.app(), Arc::clone(world.service().unwrap()));
    let wish = Init {
        shares: 2,
        threshold: 2,
        custodians: Vec::new(),
        cards: Vec::new(),
        sources: Vec::new(),
        recovery: Some("none".to_owned()),
        channel: Channel::default(),
        awaits_receipt: true,
    };
    let approved = until("the approval", async || {
        let read_out = app.init.enrolling();
        let approved = read_out.parse().ok().map(|print| service.approve(&print, false).is_ok());
        Ok(approved.filter(|approved| *approved))
    });
    let (answer, approved) = tokio::join!(init(&app, &wish), approved);
    let answer = answer.unwrap();
    assert!(approved.unwrap());
    let shares = answer.shares.iter().map(|share| share.text.as_str());
    let receipt = Receipt::of(&answer.root_token, &answer.log_key, shares);
    tokio::select! {
        biased;
        confirmed = confirm(&app, &receipt) => panic!("nobody waited for it: {}", confirmed.is_ok()),
        () = std::future::ready(()) => {}
    }
    let in_force = until("the end of it", async || Ok(status(&app).initialized.then_some(())));
    in_force.await.unwrap();
    until("its word", async || Ok(confirm(&app, &receipt).await.ok())).await.unwrap();
}
