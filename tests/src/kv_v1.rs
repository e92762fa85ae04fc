//! KV version 1 over HTTP: as OpenBao answers, as policies judge it, and what is left on disk.

use serde_json::json;
use symbolon_broker::engines::kv::{ENTRIES, SECRETS, VERSIONS};
use symbolon_cli::demo::world::until;

use crate::rows;
use crate::site::{CALM, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_judge_the_path_as_it_is() {
    let site = Site::open(CALM).await;
    site.root_put("sys/mounts/judged", &json!({ "type": "kv" })).await.expect(204);
    let makes = site.token_with("makes", r#"path "judged/a/*" { capabilities = ["create"] }"#).await;
    let changes = site.token_with("changes", r#"path "judged/a/*" { capabilities = ["update"] }"#).await;
    let reads = site.token_with("reads", r#"path "judged/a/*" { capabilities = ["read", "list"] }"#).await;
    let body = r#"{"value":"one"}"#;
    for (method, path, token, status) in [
        ("PUT", "judged/a/x", &changes, 403), // it is not there yet
        ("PUT", "judged/a/x", &makes, 204),
        ("PUT", "judged/a/x", &makes, 403),
        ("PUT", "judged/a/x", &changes, 204),
        ("PUT", "judged/b/x", &makes, 403),
        ("GET", "judged/a/x", &reads, 200),
        ("GET", "judged/a/y", &reads, 404),
        ("GET", "judged/b/y", &reads, 403),
        ("GET", "judged/data/a/x", &reads, 403),
        ("LIST", "judged/a", &reads, 200),
        ("LIST", "judged", &reads, 403),
        ("DELETE", "judged/a/x", &reads, 403),
        ("PUT", "judged/a/x/", &makes, 400),
        ("PUT", "judged/b/x/", &makes, 403),
        ("GET", "judged", &reads, 403),
    ] {
        let body = if method == "PUT" { body } else { "" };
        let got = site.ask(method, path, token, body).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.text);
    }
    let patch = site.request("PATCH", "v1/judged/a/x").header("X-Vault-Token", &site.root);
    let patch = patch.header("Content-Type", "application/merge-patch+json").body(body);
    assert_eq!(site.send(patch).await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_value_and_nothing_of_the_one_before() {
    let mut site = Site::open(CALM).await;
    let before = stored(&mut site).await;
    for (mount, tier) in [("std", "standard"), ("top", "high")] {
        site.root_put(&format!("sys/mounts/{mount}"), &json!({ "type": "kv", "options": { "tier": tier } }))
            .await
            .expect(204);
        for value in ["one", "two", "three"] {
            site.root_put(&format!("{mount}/a/b"), &json!({ "value": value })).await.expect(204);
        }
        site.root_put(&format!("{mount}/gone/c"), &json!({ "value": "x" })).await.expect(204);
        site.ask("DELETE", &format!("{mount}/gone/c"), &site.root, "").await.expect(204);
    }
    let kept = stored(&mut site).await;
    let added: Vec<usize> = kept.iter().zip(before).map(|(now, before)| now - before).collect();
    assert_eq!(added, [2, 4, 2], "a mount has one secret, in one folder, with one payload");
    site.root_put("sys/symbolon/rotate/kek", &json!({})).await.expect(204);
    until("the end of the rolls", || async {
        let status = site.root_get("sys/symbolon/rotation").await.expect(200).json();
        let keks = &status["data"]["keks"];
        let done = |mount: &str| keks[mount]["state"] == "settled" && keks[mount]["kek_epoch"] == 2;
        Ok((done("std/") && done("top/")).then_some(()))
    })
    .await
    .unwrap();
    for mount in ["std", "top"] {
        let value = |got: serde_json::Value, at: &str| got.pointer(at).cloned().unwrap_or_default();
        let read = site.root_get(&format!("{mount}/a/b")).await.expect(200).json();
        assert_eq!(value(read, "/data/value"), "three");
        let upgrade = json!({ "options": { "version": "2" } });
        site.root_put(&format!("sys/mounts/{mount}/tune"), &upgrade).await.expect(204);
        let back = json!({ "options": { "version": "1" } });
        site.root_put(&format!("sys/mounts/{mount}/tune"), &back).await.expect(400);
        let read = site.root_get(&format!("{mount}/data/a/b")).await.expect(200).json();
        assert_eq!(value(read.clone(), "/data/data/value"), "three");
        assert_eq!(value(read, "/data/metadata/version"), 1);
        site.root_put(&format!("{mount}/data/a/b"), &json!({ "data": { "value": "four" } }))
            .await
            .expect(200);
        let first = site.root_get(&format!("{mount}/data/a/b?version=1")).await.expect(200).json();
        assert_eq!(value(first, "/data/data/value"), "three");
    }
}

/// Rows of secrets, of names and of payloads. The broker is open again afterwards.
async fn stored(site: &mut Site) -> [usize; 3] {
    let mut counts = [0; 3];
    site.restart(async |world| {
        let rows = rows::read(world).await;
        counts = [SECRETS, ENTRIES, VERSIONS].map(|table| rows::of(&rows, table).len());
    })
    .await;
    site.unseal().await;
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_payload_does_not_come_back() {
    let mut site = Site::open(CALM).await;
    site.root_put("sys/mounts/old", &json!({ "type": "kv" })).await.expect(204);
    site.root_put("old/a", &json!({ "value": "one" })).await.expect(204);
    let mut earlier = Vec::new();
    site.restart(async |world| {
        let rows = rows::read(world).await;
        earlier = rows::of(&rows, VERSIONS)[0].1.clone();
    })
    .await;
    site.unseal().await;
    site.root_put("old/a", &json!({ "value": "two" })).await.expect(204);
    site.restart(async |world| {
        let rows = rows::read(world).await;
        let key = rows::of(&rows, VERSIONS)[0].0.clone();
        rows::write(world, [(key, earlier)]).await;
    })
    .await;
    site.unseal().await;
    site.root_get("old/a").await.expect(500);
}
