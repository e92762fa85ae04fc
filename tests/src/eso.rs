//! The provider of the External Secrets Operator, unmodified, against a broker in every state in which
//! something is missing (`tests/eso/`): what is absent, and what has failed.
//!
//! Its build takes minutes, so it runs where `SYMBOLON_ESO` is set: in `.ci/nightly`.

use serde_json::json;
use symbolon_cli::demo::world::Pace;
use symbolon_repository::machine;

use crate::site::{MOUNT, Site};
use crate::tools::go_in;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_provider_takes_nothing_for_absent_that_is_not() {
    if std::env::var_os("SYMBOLON_ESO").is_none() {
        return machine::skip("SYMBOLON_ESO, which .ci/nightly sets");
    }
    let site = Site::open(Pace { lease_secs: 600, heartbeat_secs: 1 }).await;
    fill(&site).await;
    let weak = site.token_with("weak", r#"path "other/*" { capabilities = ["read", "list"] }"#).await;
    ask(&site, "open", &weak).await;
    site.world.service().unwrap().suspend(None).unwrap();
    site.wait_for_read("app/db", 503, &[200]).await;
    ask(&site, "suspended", &weak).await;
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    ask(&site, "sealed", &weak).await;
}

/// Secrets of both versions, a deleted one, a destroyed one.
async fn fill(site: &Site) {
    for name in ["app/db", "app/deleted", "app/destroyed"] {
        site.write(name, "x").await;
    }
    let first = json!({ "versions": [1] });
    site.root_put(&format!("{MOUNT}/delete/app/deleted"), &first).await.expect(204);
    site.root_put(&format!("{MOUNT}/destroy/app/destroyed"), &first).await.expect(204);
    site.root_put("sys/mounts/old", &json!({ "type": "kv", "options": { "version": "1" } }))
        .await
        .expect(204);
    site.root_put("old/app/db", &json!({ "value": "x" })).await.expect(204);
}

async fn ask(site: &Site, state: &str, weak: &str) {
    let Some(mut run) = go_in("eso") else { return };
    run.args(["test", "-count=1", "-v", "./..."])
        .env("SYMBOLON_STATE", state)
        .env("SYMBOLON_ADDR", site.world.broker_url())
        .env("SYMBOLON_CACERT", site.world.ca_file())
        .env("SYMBOLON_ROOT", &site.root)
        .env("SYMBOLON_WEAK", weak)
        .env("SYMBOLON_NO_TOKEN", "hvs.unknown");
    let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{state}: {told}");
    assert!(
        output.status.success() && told.contains("--- PASS: TestAbsentOrFailed"),
        "{state}: {told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
