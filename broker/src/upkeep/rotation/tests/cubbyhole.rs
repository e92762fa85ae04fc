//! Cubbyholes: each token's own, through rotations of every key, and gone with the token whichever way it
//! goes.

use std::sync::atomic::Ordering;

use hyper::Request;
use serde_json::{Value, json};
use symbolon_core::audit::{Action, Draft};
use symbolon_core::succession::Change;
use symbolon_core::token::{TokenClaims, TokenHash, new_service_token};
use symbolon_proto::Zeroizing;

use super::world::{NOW_MS, Site, World};
use crate::access::{builtins, tokens};
use crate::auth::token::{self, Which};
use crate::dialect::vault::request::Head;
use crate::dialect::vault::{Call, VaultError};
use crate::engines;
use crate::engines::kv::{ENTRIES, SECRETS, VERSIONS};
use crate::random::os_rng;
use crate::store::Expect;

/// A world from before there were cubbyholes, opened by a version that has them.
async fn world() -> World {
    let world = World::new().await;
    let site = world.open().await;
    assert!(site.session.mounts().secrets.0.iter().all(|mount| mount.kind != "cubbyhole"));
    complete(&site).await;
    site.kill().await;
    world
}

/// What the commit of an unseal adds.
async fn complete(site: &Site) -> usize {
    let missing = builtins::missing(&site.session.rows, site.session.shape()).await.unwrap();
    let count = missing.len();
    drop(site.session.commit(missing, Draft::by_broker(Action::Unseal, "test")).await.unwrap());
    count
}

struct Holder {
    text: Zeroizing<String>,
    hash: TokenHash,
}

async fn token(site: &Site, claims: TokenClaims) -> Holder {
    let text = new_service_token(&mut os_rng());
    let index = site.session.unsealed().names().secret();
    let (row, changes) = tokens::service_rows(&site.session.rows, index, &text, claims).unwrap();
    drop(site.session.commit(changes, Draft::by_broker(Action::TokenCreate, "test")).await.unwrap());
    Holder { text, hash: row.hash }
}

fn claims() -> TokenClaims {
    TokenClaims { ttl_secs: 3600, ..TokenClaims::root(NOW_MS / 1000) }
}

async fn ask(site: &Site, who: &Holder, method: &str, path: &str, body: &str) -> (u16, Value) {
    let path = format!("cubbyhole/{path}");
    let request = Request::builder().method(method).uri("/").header("x-vault-token", who.text.as_str());
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let head = Head::parse(&path, parts).ok().unwrap();
    let request = head.with_body(body.as_bytes(), "test".to_owned(), None).ok().unwrap();
    let call = Call { session: &site.session, request: &request };
    let mounts = site.session.mounts();
    let (mount, rest) = mounts.secret(&request.path).unwrap();
    let answer = (engines::engine_of(mount).unwrap().route)(call, mount, rest).await;
    let reply = answer.unwrap_or_else(VaultError::into_reply);
    (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap_or_default())
}

async fn put(site: &Site, who: &Holder, path: &str, value: &str) {
    let body = json!({ "value": value }).to_string();
    assert_eq!(ask(site, who, "PUT", path, &body).await.0, 204);
}

async fn value(site: &Site, who: &Holder, path: &str) -> Option<String> {
    let (status, body) = ask(site, who, "GET", path, "").await;
    assert!(matches!(status, 200 | 404), "{body}");
    body["data"]["value"].as_str().map(str::to_owned)
}

/// Rows of secrets, names and payloads.
async fn rows(site: &Site) -> [usize; 3] {
    [site.count(SECRETS).await, site.count(ENTRIES).await, site.count(VERSIONS).await]
}

#[tokio::test]
async fn the_mount_comes_once_and_keeps_its_id() {
    let world = world().await;
    let site = world.open().await;
    let id = site.mount("cubbyhole").id;
    assert_eq!(complete(&site).await, 0);
    site.kill().await;
    assert_eq!(world.open().await.mount("cubbyhole").id, id);
}

#[tokio::test]
async fn each_token_sees_its_own_whatever_keys_change() {
    let world = world().await;
    let site = world.open().await;
    let parent = token(&site, claims()).await;
    let child = token(&site, TokenClaims { parent: Some(parent.hash), orphan: false, ..claims() }).await;
    put(&site, &parent, "a/x", "old").await;
    put(&site, &parent, "a/x", "of the parent").await;
    assert_eq!(value(&site, &child, "a/x").await, None);
    put(&site, &child, "a/x", "of the child").await;
    assert_eq!(ask(&site, &child, "LIST", "", "").await.1["data"]["keys"], json!(["a/"]));
    assert_eq!(ask(&site, &child, "LIST", "a", "").await.1["data"]["keys"], json!(["x"]));
    let stranger = token(&site, claims()).await;
    assert_eq!(ask(&site, &stranger, "LIST", "", "").await.0, 404);
    let guess = format!("{}/a/x", parent.hash);
    assert_eq!(ask(&site, &stranger, "GET", &guess, "").await.0, 404);

    site.rotate_remote().await.unwrap();
    site.rotate_keks().await.unwrap();
    site.finish().await.unwrap();
    site.all_settled("after the rolls").await;
    world.change(site, &Change::Epoch).await.unwrap();
    let site = world.open().await;
    site.finish().await.unwrap();
    site.all_of_this_fragment_epoch("after the epoch").await;
    assert_eq!(value(&site, &parent, "a/x").await.as_deref(), Some("of the parent"));
    assert_eq!(value(&site, &child, "a/x").await.as_deref(), Some("of the child"));
}

#[tokio::test]
async fn a_cubbyhole_of_any_size_goes_with_its_token_and_those_of_descendants() {
    let world = world().await;
    let site = world.open().await;
    let empty = rows(&site).await;
    let parent = token(&site, claims()).await;
    let child = token(&site, TokenClaims { parent: Some(parent.hash), orphan: false, ..claims() }).await;
    let other = token(&site, claims()).await;
    put(&site, &other, "kept", "x").await;
    let kept = rows(&site).await;
    for number in 0..150 {
        put(&site, &parent, &format!("many/{number}"), "x").await;
    }
    for path in ["a", "b/c", "b/d/e", "b/d/f/g"] {
        put(&site, &parent, path, "x").await;
        put(&site, &child, path, "x").await;
    }
    let which = Which::Token(&parent.text);
    site.as_root(async |who| token::revoke(&who, which).await).await.unwrap();
    assert_eq!(rows(&site).await, kept);
    assert_eq!(value(&site, &other, "kept").await.as_deref(), Some("x"));
    assert_eq!(ask(&site, &other, "DELETE", "kept", "").await.0, 204);
    assert_eq!(ask(&site, &other, "DELETE", "kept", "").await.0, 204);
    assert_eq!(rows(&site).await, empty);
}

#[tokio::test]
async fn it_goes_with_a_token_that_expires() {
    let world = world().await;
    let site = world.open().await;
    let empty = rows(&site).await;
    let brief = token(&site, TokenClaims { ttl_secs: 60, ..claims() }).await;
    put(&site, &brief, "x", "x").await;
    site.collect().await;
    assert_ne!(rows(&site).await, empty);
    world.clock.0.fetch_add(61_000, Ordering::SeqCst);
    site.collect().await;
    assert_eq!(rows(&site).await, empty);
}

/// Dead with the parent, and nobody could reach or remove what it has; but its own end is far.
#[tokio::test]
async fn it_goes_with_a_token_whose_parent_expires() {
    let world = world().await;
    let site = world.open().await;
    let empty = rows(&site).await;
    let parent = token(&site, TokenClaims { ttl_secs: 60, ..claims() }).await;
    let child = token(&site, TokenClaims { parent: Some(parent.hash), orphan: false, ..claims() }).await;
    put(&site, &child, "x", "x").await;
    world.clock.0.fetch_add(61_000, Ordering::SeqCst);
    for _ in 0..2 {
        site.collect().await; // whichever of the two lies first
    }
    assert_eq!(rows(&site).await, empty);
    assert!(tokens::find(&site.session, &child.hash).await.unwrap().is_none());
}

#[tokio::test]
async fn a_damaged_token_does_not_keep_those_that_expire() {
    let world = world().await;
    let site = world.open().await;
    let [damaged, brief] = [3600, 60].map(|ttl_secs| TokenClaims { ttl_secs, ..claims() });
    let (damaged, brief) = (token(&site, damaged).await, token(&site, brief).await);
    let address = tokens::Address::token(&damaged.hash);
    let row = site.session.rows.delete(address.place(), Expect::Any);
    world.store.tamper(row.key(), Some(b"damaged".to_vec()));
    world.clock.0.fetch_add(61_000, Ordering::SeqCst);
    site.collect().await;
    assert!(tokens::find(&site.session, &brief.hash).await.unwrap().is_none());
}

#[tokio::test]
async fn a_last_use_may_read_it_and_then_it_is_swept() {
    let world = world().await;
    let site = world.open().await;
    let empty = rows(&site).await;
    let counted = token(&site, TokenClaims { num_uses: 2, ..claims() }).await;
    put(&site, &counted, "x", "once").await;
    assert_eq!(value(&site, &counted, "x").await.as_deref(), Some("once"));
    assert_eq!(ask(&site, &counted, "GET", "x", "").await.0, 403);
    site.collect().await;
    assert_ne!(rows(&site).await, empty, "the request of the last use may still be reading");
    site.collect().await;
    assert_eq!(rows(&site).await, empty);
}

#[tokio::test]
async fn what_a_kill_leaves_behind_is_swept() {
    let world = world().await;
    let site = world.open().await;
    let empty = rows(&site).await;
    let (gone, living) = (token(&site, claims()).await, token(&site, claims()).await);
    put(&site, &gone, "a/b", "x").await;
    put(&site, &living, "a/b", "x").await;
    let row = tokens::Address::token(&gone.hash);
    let removed = site.session.rows.delete(row.place(), Expect::Any);
    drop(site.session.commit(vec![removed], Draft::by_broker(Action::TokenRevoke, "test")).await.unwrap());
    site.kill().await;
    let site = world.open().await;
    for _ in 0..2 {
        site.collect().await;
    }
    assert_eq!(value(&site, &living, "a/b").await.as_deref(), Some("x"));
    let which = Which::Token(&living.text);
    site.as_root(async |who| token::revoke(&who, which).await).await.unwrap();
    assert_eq!(rows(&site).await, empty);
}
