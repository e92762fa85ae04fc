#![allow(clippy::unwrap_used)]
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::client::Client;
use crate::testing::{Asked, Server, Told, later};

fn issued(token: &str, secs: u64, renewable: bool) -> Told {
    let auth = json!({ "client_token": token, "lease_duration": secs, "renewable": renewable });
    (200, "", json!({ "auth": auth }).to_string())
}

fn data() -> Told {
    (200, "", json!({ "data": { "a": 1 } }).to_string())
}

fn refusal(status: u16) -> Told {
    (status, "", json!({ "errors": ["no"] }).to_string())
}

fn secret_id() -> Evidence {
    Evidence::text("a-secret-id").unwrap()
}

async fn read(client: &Client) -> Result<Value, Error> {
    client.read("x/y").await
}

fn logins_are_numbered(secs: u64, renewable: bool) -> impl Fn(usize, &Asked) -> Told {
    move |before, asked| match asked.line.as_str() {
        line if line.contains("/login") => issued(&format!("t{before}"), secs, renewable),
        line if line.contains("renew-self") => issued("renewed", secs, renewable),
        _ => data(),
    }
}

#[tokio::test]
async fn many_callers_cause_one_login() {
    let server = Server::start(logins_are_numbered(60, false)).await;
    let client = server.client().token_source(TokenSource::app_role("role", secret_id())).build().unwrap();
    let calls = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { read(&client).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!((server.count("/login"), server.count("/x/y")), (1, 20));
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!(body, json!({ "role_id": "role", "secret_id": "a-secret-id" }));
    assert!(server.asked().iter().skip(1).all(|asked| asked.token == "t0"));
}

#[tokio::test]
async fn callers_who_wait_for_one_login_share_its_error() {
    let server = Server::start(|_, _| refusal(403)).await;
    let client = server.client().token_source(TokenSource::app_role("role", secret_id())).build().unwrap();
    let results = tokio::join!(read(&client), read(&client), read(&client));
    assert!([results.0, results.1, results.2].iter().all(|got| matches!(got, Err(Error::Denied(_)))));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_login_that_failed_is_not_repeated_by_each_call() {
    let server = Server::start(|_, _| refusal(403)).await;
    let client = server.client().token_source(TokenSource::app_role("role", secret_id())).build().unwrap();
    for _ in 0..3 {
        assert!(matches!(read(&client).await, Err(Error::Denied(_))));
    }
    assert_eq!(server.asked().len(), 1);
    later(5).await;
    assert!(matches!(read(&client).await, Err(Error::Denied(_))));
    assert_eq!(server.asked().len(), 2, "but it is tried again");
}

#[tokio::test]
async fn a_missing_permission_is_named_although_no_other_token_can_be_had() {
    let server = Server::start(|before, asked| match asked.token.as_str() {
        "" if before == 0 => issued("t0", 0, false),
        "" => (429, "", json!({ "errors": ["too many logins"] }).to_string()),
        _ => (403, "", json!({ "errors": ["no policy"] }).to_string()),
    })
    .await;
    let source = TokenSource::app_role("role", secret_id());
    let client = server.client().retry_within(Duration::ZERO).token_source(source).build().unwrap();
    read(&client).await.unwrap_err();
    later(11).await;
    for _ in 0..3 {
        match read(&client).await {
            Err(Error::Denied(refusal)) => assert_eq!(refusal.messages(), ["no policy"]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.count("/login"), 2, "one more, not one with each call");
}

#[tokio::test]
async fn an_absurd_lifetime_does_no_harm() {
    let server = Server::start(|before, asked| match asked.line.as_str() {
        line if line.contains("/login") => issued("t0", if before == 0 { 90 } else { u64::MAX }, true),
        line if line.contains("renew-self") => issued("t1", u64::MAX, true),
        _ => data(),
    })
    .await;
    let source = TokenSource::app_role("role", secret_id());
    let client = server.client().token_source(source).build().unwrap();
    read(&client).await.unwrap();
    later(61).await;
    read(&client).await.unwrap();
    assert_eq!(server.asked().last().unwrap().token, "t1");
    let other = client.with_source(TokenSource::app_role("role", secret_id()));
    read(&other).await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_or_replaced_before_its_end() {
    for (renewable, way) in [(true, "renew-self"), (false, "/login")] {
        let server = Server::start(logins_are_numbered(90, renewable)).await;
        let source = TokenSource::kubernetes("role", secret_id()).at("/clusters/west/");
        let client = server.client().token_source(source).build().unwrap();
        read(&client).await.unwrap();
        later(59).await;
        read(&client).await.unwrap();
        assert_eq!(server.asked().len(), 3, "two thirds are not over");
        later(2).await;
        read(&client).await.unwrap();
        let asked = server.asked();
        assert!(asked[0].line.starts_with("PUT /v1/auth/clusters/west/login"), "{}", asked[0].line);
        assert!(asked[3].line.contains(way), "{}", asked[3].line);
        assert_ne!(asked[4].token, "t0");
    }
}

#[tokio::test]
async fn a_broker_that_gives_no_other_token_is_served_with_the_old_one_until_its_end() {
    let fails = Arc::new(AtomicBool::new(false));
    let now_fails = Arc::clone(&fails);
    let server = Server::start(move |before, asked| {
        let is_login = asked.line.contains("/login");
        if is_login && now_fails.load(Ordering::SeqCst) {
            return refusal(503);
        }
        if is_login { issued(&format!("t{before}"), 90, false) } else { data() }
    })
    .await;
    let source = TokenSource::jwt("", secret_id());
    let client = server.client().retry_within(Duration::ZERO).token_source(source).build().unwrap();
    read(&client).await.unwrap();
    fails.store(true, Ordering::SeqCst);
    later(70).await;
    read(&client).await.unwrap();
    read(&client).await.unwrap();
    assert_eq!(server.count("/login"), 2, "not with each call");
    later(21).await;
    assert!(read(&client).await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_a_missing_permission_is_not_mistaken_for_it() {
    let server = Server::start(|before, asked| match asked.token.as_str() {
        "" => issued(&format!("t{before}"), 0, false),
        "t0" => refusal(403),
        _ => data(),
    })
    .await;
    let client = server.client().token_source(TokenSource::app_role("role", secret_id())).build().unwrap();
    assert!(matches!(read(&client).await, Err(Error::Denied(_))), "a token just issued has not ended");
    assert_eq!(server.asked().len(), 2);
    later(11).await;
    client.write("x/y", &json!({ "b": 2 })).await.unwrap();
    let asked = server.asked();
    assert_eq!(
        asked.iter().map(|asked| asked.token.as_str()).collect::<Vec<_>>(),
        ["", "t0", "t0", "", "t3"]
    );
    assert_eq!((asked[2].body.as_str(), asked[4].body.as_str()), (r#"{"b":2}"#, r#"{"b":2}"#));
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes_or_its_token_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "one").unwrap();
    let server = Server::start(|_, asked| if asked.token == "two" { refusal(403) } else { data() }).await;
    let client = server.client().token_source(TokenSource::file(file.path())).build().unwrap();
    let used = || server.asked().last().unwrap().token.clone();
    read(&client).await.unwrap();
    std::fs::write(file.path(), "two").unwrap();
    read(&client).await.unwrap();
    assert_eq!(used(), "one", "within a second it is not looked at");
    later(2).await;
    assert!(matches!(read(&client).await, Err(Error::Denied(_))));
    assert_eq!(used(), "two");
    std::fs::write(file.path(), "three").unwrap();
    read(&client).await.unwrap();
    assert_eq!(used(), "three", "the refused one was looked for at once");
    std::fs::remove_file(file.path()).unwrap();
    later(2).await;
    read(&client).await.unwrap();
    assert_eq!(used(), "three", "a file that is gone for a moment does not matter");
}

#[tokio::test]
async fn a_fixed_token_is_all_there_is() {
    let server = Server::start(|_, _| refusal(403)).await;
    let client = server.client().token(Token::new("hvs.x").unwrap()).build().unwrap();
    assert!(matches!(read(&client).await, Err(Error::Denied(_))));
    assert_eq!(server.asked().len(), 1);
    assert!(!format!("{client:?}").contains("hvs.x"));
}
