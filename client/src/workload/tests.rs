#![allow(clippy::unwrap_used)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::testing::{Server, Told, later};

fn issued(token: &str, secs: u64) -> Told {
    (200, "", json!({ "access_token": token, "expires_in": secs }).to_string())
}

fn tokens(server: &Server) -> WorkloadTokens {
    let client = server.client().retry_within(Duration::ZERO).build().unwrap();
    WorkloadTokens::new(client, Evidence::text("a-proof").unwrap())
}

async fn token(tokens: &WorkloadTokens, audience: &str) -> Result<String, Error> {
    tokens.token(audience).await.map(|token| token.expose().to_owned())
}

#[tokio::test]
async fn a_token_is_used_for_four_fifths_of_its_life_by_its_audience() {
    let server = Server::start(|before, _| issued(&format!("t{before}"), 100)).await;
    let tokens = tokens(&server);
    assert_eq!(token(&tokens, "a").await.unwrap(), "t0");
    assert_eq!(token(&tokens, "a").await.unwrap(), "t0");
    assert_eq!(token(&tokens, "b").await.unwrap(), "t1");
    later(79).await;
    assert_eq!(token(&tokens, "a").await.unwrap(), "t0");
    later(2).await;
    assert_eq!(token(&tokens, "a").await.unwrap(), "t2");
}

#[tokio::test]
async fn while_one_caller_asks_for_another_token_the_rest_use_the_old_one() {
    let answers = |before, _: &_| if before == 0 { issued("t0", 100) } else { (0, "", String::new()) };
    let server = Server::start(answers).await;
    let tokens = Arc::new(tokens(&server));
    token(&tokens, "a").await.unwrap();
    later(81).await;
    let asks = Arc::clone(&tokens);
    let asking = tokio::spawn(async move { token(&asks, "a").await });
    server.has_been_asked(2).await;
    let quick = timeout(Duration::from_secs(5), token(&tokens, "a")).await;
    assert_eq!(quick.expect("nobody waits for the one who asks").unwrap(), "t0");
    asking.abort();
}

#[tokio::test]
async fn a_broker_that_gives_no_other_token_is_asked_now_and_then() {
    let status = Arc::new(AtomicU16::new(200));
    let now = Arc::clone(&status);
    let server = Server::start(move |before, _| match now.load(Ordering::SeqCst) {
        200 => issued(&format!("t{before}"), 100),
        failing => (failing, "", String::new()),
    })
    .await;
    let tokens = tokens(&server);
    token(&tokens, "a").await.unwrap();
    status.store(500, Ordering::SeqCst);
    later(81).await;
    for _ in 0..3 {
        assert_eq!(token(&tokens, "a").await.unwrap(), "t0", "whatever went wrong, the old one is good");
    }
    assert_eq!(server.asked().len(), 2);
    later(20).await;
    for _ in 0..3 {
        assert!(matches!(token(&tokens, "a").await, Err(Error::Failed(_))), "it has ended");
    }
    assert_eq!(server.asked().len(), 3);
    status.store(200, Ordering::SeqCst);
    later(5).await;
    assert_eq!(token(&tokens, "a").await.unwrap(), "t3");
}

#[tokio::test]
async fn an_absurd_lifetime_does_no_harm() {
    let server = Server::start(|before, _| issued(&format!("t{before}"), u64::MAX)).await;
    let tokens = tokens(&server);
    token(&tokens, "a").await.unwrap();
    later(1_000_000).await;
    assert_eq!(token(&tokens, "a").await.unwrap(), "t0");
}
