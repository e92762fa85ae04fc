//! HashiCorp's Go client library, unmodified, against a broker (`tests/go/`). It is what the External Secrets
//! Operator embeds.

use serde_json::{Value, json};

use crate::site::{CALM, MOUNT, Site};
use crate::tools::go;

/// What a PushSecret needs.
const PUSHER: &str = r#"path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_go_library_does_its_whole_round() {
    let Some(mut run) = go() else { return };
    let site = Site::open(CALM).await;
    site.prepare_machines().await;
    fill(&site).await;
    let (role_id, secret_id) = application(&site).await;
    let now = jsonwebtoken::get_current_timestamp();
    run.args(["test", "-count=1", "-v", "./..."])
        .env("SYMBOLON_ADDR", site.world.broker_url())
        .env("SYMBOLON_CACERT", site.world.ca_file())
        .env("SYMBOLON_ROOT", &site.root)
        .env("SYMBOLON_SHARES", format!("{} {}", *site.shares[0], *site.shares[1]))
        .env("SYMBOLON_JWT", &*site.cluster.token("apps", "reader", "symbolon", now).unwrap())
        .env("SYMBOLON_ROLE_ID", role_id)
        .env("SYMBOLON_SECRET_ID", secret_id);
    let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(
        output.status.success() && told.contains("--- PASS: TestVaultLibrary"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Two versions, a deleted one, a destroyed one, an odd name, and what the machine may not see.
async fn fill(site: &Site) {
    let first = json!({ "data": { "user": "first" } });
    site.root_put(&format!("{MOUNT}/data/app/db"), &first).await.expect(200);
    let odd = r#"{ "data": { "user": "app", "odd": "a<b>&\"é\u2028", "n": 12345678901234567890 } }"#;
    site.ask("PUT", &format!("{MOUNT}/data/app/db"), &site.root, odd).await.expect(200);
    for name in ["app/deleted", "app/destroyed", "closed/b"] {
        site.write(name, "x").await;
    }
    site.write("app/with%20space/%C3%BC%3F%2541", "odd name").await;
    let only = json!({ "versions": [1] });
    site.root_put(&format!("{MOUNT}/delete/app/deleted"), &only).await.expect(204);
    site.root_put(&format!("{MOUNT}/destroy/app/destroyed"), &only).await.expect(204);
}

/// An application role whose logins give service tokens that may write: role id and secret id.
async fn application(site: &Site) -> (String, String) {
    site.root_put("sys/policies/acl/pusher", &json!({ "policy": PUSHER })).await.expect(204);
    site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
    let role = json!({ "token_policies": ["pusher"], "token_ttl": "10m", "token_type": "service" });
    site.root_put("auth/approle/role/pusher", &role).await.expect(204);
    let text = |answer: Value, name: &str| answer["data"][name].as_str().unwrap().to_owned();
    let role_id = site.root_get("auth/approle/role/pusher/role-id").await.expect(200).json();
    let secret_id = site.root_put("auth/approle/role/pusher/secret-id", &json!({})).await.expect(200).json();
    (text(role_id, "role_id"), text(secret_id, "secret_id"))
}
