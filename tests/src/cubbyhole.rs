//! Cubbyholes over HTTP: as OpenBao answers, one for each service token, part of every deployment.

use serde_json::json;

use crate::site::{CALM, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_token_has_one_and_nobody_else_does() {
    let mut site = Site::open(CALM).await;
    let made = async |wish: serde_json::Value| {
        let made = site.root_put("auth/token/create", &wish).await.expect(200).json();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (one, other) = (made(json!({ "policies": ["default"] })).await, made(json!({ "ttl": "1h" })).await);
    let batch = made(json!({ "type": "batch", "policies": ["default"], "ttl": "1h" })).await;
    let barred = site.token_with("barred", r#"path "secret/*" { capabilities = ["read"] }"#).await;
    let body = r#"{"value":"mine"}"#;
    for (method, path, token, status) in [
        ("PUT", "cubbyhole/a/b", &one, 204),
        ("GET", "cubbyhole/a/b", &one, 200),
        ("LIST", "cubbyhole", &one, 200),
        ("GET", "cubbyhole/a/b", &other, 404),
        ("LIST", "cubbyhole", &other, 404),
        ("GET", "cubbyhole/a/b", &site.root, 404),
        ("LIST", "cubbyhole/a", &site.root, 404),
        ("DELETE", "cubbyhole/a/b", &other, 204), // its own, which is not there
        ("PUT", "cubbyhole/a/b", &batch, 400),
        ("GET", "cubbyhole/a/b", &batch, 400),
        ("LIST", "cubbyhole", &batch, 400),
        ("DELETE", "cubbyhole/a/b", &batch, 400),
        ("PUT", "cubbyhole/a/b", &barred, 403),
        ("GET", "cubbyhole/a/b", &barred, 403),
        ("PUT", "cubbyhole/a", &one, 204), // a name and a folder may be called the same
        ("PUT", "cubbyhole", &site.root, 400),
        ("GET", "cubbyhole", &site.root, 400),
    ] {
        let got = site.ask(method, path, token, if method == "PUT" { body } else { "" }).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.text);
    }
    site.ask("PUT", "cubbyhole/a/b", &one, "{}").await.expect(400);
    site.send_raw("GET", "/v1/cubbyhole/a/%2e%2e/b", &one).await.expect(400);
    site.restart(async |_| {}).await;
    site.get("cubbyhole/a/b", &one).await.expect(503);
    site.unseal().await;
    assert_eq!(site.get("cubbyhole/a/b", &one).await.expect(200).json()["data"], json!({ "value": "mine" }));
    site.ask("PUT", "auth/token/revoke-self", &one, "").await.expect(204);
    site.get("cubbyhole/a/b", &one).await.expect(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mount_is_part_of_the_system() {
    let site = Site::open(CALM).await;
    let mounts = site.root_get("sys/mounts").await.expect(200).json();
    let mount = &mounts["data"]["cubbyhole/"];
    assert_eq!((&mount["type"], &mount["options"]), (&json!("cubbyhole"), &json!(null)));
    site.ask("DELETE", "sys/mounts/cubbyhole", &site.root, "").await.expect(400);
    for path in ["cubbyhole", "cubbyhole/x", "mine"] {
        site.root_put(&format!("sys/mounts/{path}"), &json!({ "type": "cubbyhole" })).await.expect(400);
    }
    let tune = json!({ "options": { "version": "2" } });
    site.root_put("sys/mounts/cubbyhole/tune", &tune).await.expect(400);
}
