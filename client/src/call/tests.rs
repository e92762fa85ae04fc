#![allow(clippy::unwrap_used)]
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::client::Client;
use crate::error::Unavailable;
use crate::testing::Server;

const SEALED: &str = r#"{"errors":["Vault is sealed"]}"#;

#[tokio::test]
async fn a_read_comes_back_when_the_broker_asks_for_it() {
    let server = Server::start(|before, _| match before {
        0 => (503, "Retry-After: 1\r\n", SEALED.to_owned()),
        1 => (429, "", r#"{"errors":["busy"]}"#.to_owned()),
        _ => (200, "", r#"{"data":{"a":1}}"#.to_owned()),
    })
    .await;
    let begun = tokio::time::Instant::now();
    let got: Value = server.client().build().unwrap().read("x").await.unwrap();
    assert_eq!(got, json!({ "a": 1 }));
    assert!(begun.elapsed() >= Duration::from_secs(1), "not before the second that was asked for");
}

#[tokio::test]
async fn a_wait_beyond_the_bound_is_not_begun() {
    let server = Server::start(|_, _| (503, "Retry-After: 3600\r\n", SEALED.to_owned())).await;
    let begun = tokio::time::Instant::now();
    let error = server.client().build().unwrap().read::<Value>("x").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(Unavailable::Sealed(_))), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_write_is_sent_once() {
    let server = Server::start(|_, _| (503, "", SEALED.to_owned())).await;
    let error = server.client().build().unwrap().write("x", &json!({})).await.unwrap_err();
    assert!(error.is_temporary());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_has_a_bound() {
    let server = Server::start(|_, _| (200, "", "x".repeat(1000))).await;
    let client = server.client().build().unwrap();
    let got = client.public(Method::GET, "log/checkpoint").limit(999).send().await;
    assert!(matches!(got, Err(Error::TooLarge { limit: 999 })));
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let client = Client::builder("http://127.0.0.1:1").build().unwrap();
    let error = client.read::<Value>("x").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(Unavailable::Unreachable(_))), "{error:?}");
    assert!(!format!("{error:?}").contains("/v1/x"), "a path may name a secret");
}
