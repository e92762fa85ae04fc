//! Wrapped answers among rotations, on a clock that a test moves: opened once, and gone when nobody comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::http::Request;
use serde_json::{Value, json};
use symbolon_core::succession::Change;

use super::world::{NOW_MS, Site, World};
use crate::access::tokens::{ACCESSORS, TOKENS};
use crate::dialect::vault::envelope::Envelope;
use crate::dialect::vault::request::Head;
use crate::dialect::vault::{Answer, Call, Reply, Status, VaultError, VaultRequest};
use crate::error::{Absent, OpError};
use crate::keys::VERSION_CAPSULES;
use crate::wrapping::{self, ANSWER_BYTES_MAX};

const SECRET: &str = "what-only-one-may-see";
const GONE: OpError = OpError::invalid("wrapping token is not valid or does not exist");

fn request(path: &str, headers: &[(&str, &str)], body: &Value) -> VaultRequest {
    let mut builder = Request::builder().method("PUT").uri(format!("/v1/{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let head = Head::parse(path, parts).ok().unwrap();
    head.with_body(body.to_string().as_bytes(), "test".to_owned(), None).ok().unwrap()
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

/// Wraps an answer with the secret; answers the wrapping token.
async fn wrap(site: &Site, ttl: &str) -> Result<String, VaultError> {
    let request = request("secret/data/w", &[("x-vault-wrap-ttl", ttl)], &json!({}));
    let call = Call { session: &site.session, request: &request };
    let data = json!({ "k": SECRET }).as_object().unwrap().clone();
    let reply = wrapping::around(call, async { Ok(Envelope::object("origin", "kv", data).into_reply()) });
    let told = body(&reply.await?);
    assert_eq!(told["data"], Value::Null);
    Ok(told["wrap_info"]["token"].as_str().unwrap().to_owned())
}

async fn ask(site: &Site, what: &str, token: &str) -> Answer {
    let request = request(&format!("sys/wrapping/{what}"), &[("x-vault-token", token)], &json!({}));
    wrapping::route::route(Call { session: &site.session, request: &request }, &[what]).await
}

async fn unwrap(site: &Site, token: &str) -> Result<Value, OpError> {
    match ask(site, "unwrap", token).await {
        Ok(reply) => Ok(body(&reply)),
        Err(VaultError::Op(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Rows of tokens, accessors, facts, answers and keys.
async fn kept(site: &Site) -> [usize; 5] {
    let [facts, answers] = wrapping::TABLES else { unreachable!() };
    let mut counts = [0; 5];
    for (count, table) in counts.iter_mut().zip([TOKENS, ACCESSORS, *facts, *answers, VERSION_CAPSULES]) {
        *count = site.count(table).await;
    }
    counts
}

#[tokio::test]
async fn an_answer_is_opened_once_and_leaves_nothing() {
    let world = World::new().await;
    let site = world.open().await;
    let before = kept(&site).await;
    let token = wrap(&site, "60").await.unwrap();
    assert_eq!(kept(&site).await, before.map(|count| count + 1));
    for _ in 0..2 {
        let facts = body(&ask(&site, "lookup", &token).await.unwrap());
        let expected = json!({
            "creation_path": "secret/data/w", "creation_time": "2024-02-29T12:34:56Z", "creation_ttl": 60,
        });
        assert_eq!(facts["data"], expected, "a look spends nothing");
    }
    let answer = unwrap(&site, &token).await.unwrap();
    assert_eq!((&answer["request_id"], &answer["data"]["k"]), (&json!("origin"), &json!(SECRET)));
    assert_eq!(kept(&site).await, before, "nothing is left");
    for what in ["unwrap", "lookup"] {
        let again = ask(&site, what, &token).await.err().unwrap();
        assert_eq!(again.to_string(), GONE.to_string(), "{what}");
    }
}

#[tokio::test]
async fn of_two_who_come_at_once_one_wins() {
    let world = World::new().await;
    let site = Arc::new(world.open().await);
    for _ in 0..8 {
        let token = wrap(&site, "60").await.unwrap();
        let comers = (0..4).map(|_| {
            let (site, token) = (Arc::clone(&site), token.clone());
            tokio::spawn(async move { unwrap(&site, &token).await })
        });
        let comers: Vec<_> = comers.collect();
        let mut answers = 0;
        for comer in comers {
            match comer.await.unwrap() {
                Ok(answer) => {
                    assert_eq!(answer["data"]["k"], SECRET);
                    answers += 1;
                }
                Err(error) => assert_eq!(error, GONE),
            }
        }
        assert_eq!(answers, 1);
    }
}

#[tokio::test]
async fn rotations_leave_wrapped_answers_readable() {
    let world = World::filled(2).await;
    let site = world.open().await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(wrap(&site, "32h").await.unwrap());
    }
    let mut opened = async |site: &Site, when: &str| {
        let token = tokens.pop().unwrap();
        let answer = unwrap(site, &token).await.unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!(answer["data"]["k"], SECRET, "{when}");
    };
    site.rotate_keks().await.unwrap();
    site.finish().await.unwrap();
    opened(&site, "after a roll of all KEKs").await;
    site.rotate_remote().await.unwrap();
    site.finish().await.unwrap();
    site.retire().await.unwrap();
    opened(&site, "after a new epoch of the remote's key").await;
    world.change(site, &Change::Epoch).await.unwrap();
    let site = world.open().await;
    opened(&site, "after a new epoch of the fragment").await;
    site.finish().await.unwrap();
    site.all_settled("with a wrapped answer").await;
    opened(&site, "when everything is closed anew").await;
}

#[tokio::test]
async fn what_nobody_comes_for_is_removed() {
    let world = World::new().await;
    let site = world.open().await;
    let before = kept(&site).await;
    let late = wrap(&site, "60").await.unwrap();
    let revoked = wrap(&site, "3h").await.unwrap();
    let stays = wrap(&site, "3h").await.unwrap();
    let hash = crate::access::tokens::hash(&site.session, &revoked);
    let gone = crate::access::tokens::removal(&site.session, &hash, None, None);
    let draft = symbolon_core::audit::Draft::by_broker(symbolon_core::audit::Action::TokenRevoke, "test");
    drop(site.session.commit(gone, draft).await.unwrap());
    world.clock.0.store(NOW_MS + 60_000, Ordering::Relaxed);
    assert_eq!(unwrap(&site, &late).await, Err(GONE), "expired");
    assert_eq!(unwrap(&site, &revoked).await, Err(GONE), "revoked");
    site.collect().await;
    assert_eq!(kept(&site).await, before.map(|count| count + 1), "one of three is left");
    assert_eq!(unwrap(&site, &stays).await.unwrap()["data"]["k"], SECRET);
    assert_eq!(kept(&site).await, before);
}

#[tokio::test]
async fn without_the_remote_half_nothing_is_begun_and_nothing_is_spent() {
    let world = World::new().await;
    let site = world.open().await;
    let token = wrap(&site, "60").await.unwrap();
    site.kill().await;
    world.remote.leave_after(0);
    let site = world.open().await;
    let kept = site.count(TOKENS).await;
    assert!(matches!(unwrap(&site, &token).await, Err(OpError::Unavailable(_))));
    let request = request("secret/data/w", &[("x-vault-wrap-ttl", "60")], &json!({}));
    let call = Call { session: &site.session, request: &request };
    let refused = wrapping::around(call, async { panic!("the request must not begin") }).await;
    assert!(matches!(refused, Err(VaultError::Op(OpError::Unavailable(_)))));
    assert_eq!(site.count(TOKENS).await, kept);
    site.kill().await;
    world.remote.come_back();
    assert_eq!(unwrap(&world.open().await, &token).await.unwrap()["data"]["k"], SECRET);
}

#[tokio::test]
async fn answers_that_do_not_fit_and_those_without_envelope_are_refused() {
    let world = World::new().await;
    let site = world.open().await;
    let request = request("secret/data/w", &[("x-vault-wrap-ttl", "60")], &json!({}));
    let call = Call { session: &site.session, request: &request };
    let long = json!({ "k": "x".repeat(ANSWER_BYTES_MAX) }).as_object().unwrap().clone();
    let long = wrapping::around(call, async { Ok(Envelope::object("id", "kv", long).into_reply()) }).await;
    assert!(long.err().unwrap().to_string().contains("1 MiB"));
    let raw = async { Ok(Reply::json(Status::OK, &json!({ "a": 1 }))) };
    assert!(wrapping::around(call, raw).await.err().unwrap().to_string().contains("cannot be wrapped"));
    let nothing = wrapping::around(call, async { Ok(Reply::no_content()) }).await.ok().unwrap();
    assert_eq!(nothing.status, Status::NO_CONTENT);
    #[expect(clippy::disallowed_methods, reason = "no client sees it")]
    let status = Status::of_absent(Absent::witnessed());
    let absent = async { Ok(Reply::errors(status, None)) };
    assert_eq!(wrapping::around(call, absent).await.ok().unwrap().status, status);
}
