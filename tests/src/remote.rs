//! The fragment service is silent, suspended, somebody else or late: what the broker answers, and that it
//! recovers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use symbolon_broker::keys::CAPSULES;
use symbolon_cli::demo::world::until;
use symbolon_kms_fragment::{Options, Sealing, Service};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::rows;
use crate::site::{BRISK, CALM, Site};

/// The broker's deadline for one evaluation is 2 s; an answer to its client comes soon after.
const PROMPT: Duration = Duration::from_secs(6);

fn fragment_address(site: &Site) -> SocketAddr {
    site.world.fragment_url().replace("https://", "").parse().unwrap()
}

async fn lease(site: &Site) -> String {
    site.client().seal_status().await.unwrap().fact("lease").unwrap()
}

/// No question is answered with 404, and those that need a key with 503 and a sentence that says `why`.
async fn nothing_is_called_absent(site: &Site, why: &str) {
    let machine = site.machine_token.as_str();
    for (method, path, token) in [
        ("GET", "secret/data/app/db", site.root.as_str()),
        ("GET", "secret/data/app/none", &site.root),
        ("GET", "secret/data/none", &site.root),
        ("GET", "secret/data/app/db?version=7", &site.root),
        ("PUT", "secret/data/app/db", &site.root),
        ("PUT", "secret/data/app/new", &site.root),
        ("GET", "secret/metadata/none", &site.root),
        ("LIST", "secret/metadata/none", &site.root),
        ("GET", "secret/data/app/db", machine),
        ("GET", "secret/data/app/none", machine),
        ("GET", "auth/token/lookup-self", machine),
        ("GET", "nomount/data/app/db", &site.root),
        ("GET", "secret/app/db", &site.root),
        ("LIST", "auth/nomount/role", &site.root),
    ] {
        let asked = site.ask(method, path, token, r#"{"data":{"value":"x"}}"#);
        let got =
            timeout(PROMPT, asked).await.unwrap_or_else(|_| panic!("{method} {path}: no answer in time"));
        assert_eq!(got.status, 503, "{method} {path}: {}", got.text);
        let text = got.json()["errors"][0].as_str().unwrap().to_owned();
        assert!(text.contains(why), "{method} {path}: {text}");
        assert!(got.headers.contains("retry-after"), "{method} {path}");
    }
    // What needs no key goes on: operators can look, and seal.
    site.root_get("sys/mounts").await.expect(200);
    assert_eq!(
        site.ask("LIST", "secret/metadata", &site.root, "").await.expect(200).json()["data"]["keys"],
        json!(["app/"])
    );
}

async fn site_with_a_secret() -> Site {
    let mut site = Site::open(BRISK).await;
    site.write("app/db", "kept").await;
    site.prepare_machines().await;
    let login = site.machine_login().await.expect(200).json();
    site.machine_token = login["auth"]["client_token"].as_str().unwrap().to_owned();
    site
}

async fn reads_as_before(site: &Site) {
    let got = site.wait_for_read("app/db", 200, &[503]).await;
    assert_eq!(got.json()["data"]["data"], json!({ "value": "kept" }));
    site.root_get("secret/data/app/none").await.expect(404);
    site.ask("LIST", "secret/metadata/none", &site.root, "").await.expect(404);
    site.ask("GET", "auth/token/lookup-self", &site.machine_token, "").await.expect(200);
    site.write("app/new", "written again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_remote_costs_a_deadline_and_nothing_is_lost() {
    let mut site = site_with_a_secret().await;
    site.world.stop_fragment().await.unwrap();
    site.read("app/db").await.expect(200); // the lease lasts
    site.wait_for_read("app/db", 503, &[200]).await;
    assert_eq!(lease(&site).await, "expired");
    nothing_is_called_absent(&site, "a key fragment is unavailable").await;

    // Worse than nobody: somebody who takes the connection and says nothing.
    let hole = TcpListener::bind(fragment_address(&site)).await.unwrap();
    let (stop, mut stopped) = oneshot::channel::<()>();
    let swallowing = tokio::spawn(async move {
        let mut taken = Vec::new();
        loop {
            tokio::select! {
                connection = hole.accept() => taken.push(connection),
                _ = &mut stopped => return taken.len(),
            }
        }
    });
    for name in ["app/db", "app/none"] {
        let got =
            timeout(PROMPT, site.read(name)).await.expect("an answer soon after the deadline").expect(503);
        assert!(got.text.contains("the fragment service does not answer"), "{}", got.text);
    }
    drop(stop);
    assert!(swallowing.await.unwrap() > 0, "nobody asked; the test has lost its subject");

    site.world.start_fragment().await.unwrap();
    reads_as_before(&site).await;
}

/// An open broker whose reads fail is alive and not ready, and says why.
async fn readiness_is_told(site: &Site, status: u16, reason: &str) {
    for (path, status) in
        [("v1/sys/health", status), ("v1/sys/health?degradedok", 200), ("readyz", status), ("livez", 200)]
    {
        let got = site.send(site.request("GET", path)).await.expect(status);
        assert!(!path.ends_with('z') || status == 200 || got.text.contains(reason), "{path}: {}", got.text);
    }
    let told = site.client().seal_status().await.unwrap().fact("degraded").unwrap();
    assert!(told.starts_with(reason) && told.is_empty() == reason.is_empty(), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_key_closes_everything_and_a_resumed_one_opens_it() {
    let site = site_with_a_secret().await;
    site.world.service().unwrap().suspend(None).unwrap();
    site.wait_for_read("app/db", 503, &[200]).await;
    assert_eq!(lease(&site).await, "suspended");
    readiness_is_told(&site, 503, "no lease of the fragment service (suspended)").await;
    nothing_is_called_absent(&site, "suspended this key; its operator must resume it").await;
    let status = site.client().seal_status().await.unwrap();
    assert!(!status.sealed, "the kill switch needs no custodian to be undone");

    // A new engine has no key yet, and gets none: nothing may be encrypted to a remote that might never
    // answer again.
    site.root_put("sys/mounts/fresh", &json!({ "type": "kv-v2" })).await.expect(204);
    let body = json!({ "data": { "value": "x" } });
    let refused = site.root_put("fresh/data/a", &body).await.expect(503);
    assert!(refused.text.contains("canary") || refused.text.contains("suspended"), "{}", refused.text);

    site.world.service().unwrap().resume(None).unwrap();
    reads_as_before(&site).await;
    readiness_is_told(&site, 200, "").await;
    site.root_get("fresh/data/a").await.expect(404);
    // Old keys open at once; for new ones the next heartbeat fetches the manifest that says ACTIVE again.
    let written = until("a new key", || async {
        let got = site.root_put("fresh/data/a", &body).await;
        assert!(matches!(got.status, 200 | 503), "{}: {}", got.status, got.text);
        Ok((got.status == 200).then_some(()))
    });
    written.await.unwrap();
    let read = site.root_get("fresh/data/a").await.expect(200).json();
    assert_eq!(read["data"]["metadata"]["version"], 1, "a refused write left something behind");
}

/// Heartbeats are a minute apart here, and nobody waits that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_returns_is_noticed_before_the_next_heartbeat() {
    let mut site = Site::open(CALM).await;
    site.write("app/db", "x").await;
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    site.world.stop_fragment().await.unwrap();
    site.unseal().await;
    site.read("app/db").await.expect(503);
    site.world.start_fragment().await.unwrap();
    site.wait_for_read("app/db", 200, &[503]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unseal_without_the_remote_is_healed_by_a_heartbeat() {
    let mut site = site_with_a_secret().await;
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    site.world.stop_fragment().await.unwrap();
    site.unseal().await;
    assert_eq!(lease(&site).await, "unknown");
    nothing_is_called_absent(&site, "a key fragment is unavailable").await;
    site.root_put("sys/mounts/fresh", &json!({ "type": "kv-v2" })).await.expect(204);
    let body = json!({ "data": { "value": "x" } });
    let refused = site.root_put("fresh/data/a", &body).await.expect(503);
    assert!(refused.text.contains("does not answer"), "{}", refused.text);

    site.world.start_fragment().await.unwrap();
    let healed = until("a lease", || async { Ok((lease(&site).await == "active").then_some(())) });
    healed.await.unwrap();
    reads_as_before(&site).await;
    site.root_put("fresh/data/a", &body).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_service_at_its_address_is_not_believed() {
    let mut site = site_with_a_secret().await;
    site.world.stop_fragment().await.unwrap();
    let sealing = Sealing::KeyFile(site.world.path("impostor.key"));
    let impostor = Service::init(&site.world.path("impostor"), &sealing, Options::default()).unwrap();
    let socket = TcpListener::bind(fragment_address(&site)).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = std::sync::Arc::clone(&impostor);
    let task = tokio::spawn(async move { serving.serve(socket, async { drop(stopped.await) }).await });
    site.wait_for_read("app/db", 503, &[200]).await;
    for _ in 0..3 {
        site.read("app/db").await.expect(503);
    }
    nothing_is_called_absent(&site, "a key fragment is unavailable").await;
    assert_eq!(impostor.pending().len(), 0, "the broker offered itself to a stranger");
    drop(stop);
    task.await.unwrap().unwrap();
    site.world.start_fragment().await.unwrap();
    reads_as_before(&site).await;
}

/// A capsule that claims another epoch of the remote's key cannot be asked for; the others of its batch can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capsule_of_another_epoch_fails_alone() {
    let mut site = site_with_a_secret().await;
    let engines = ["one", "two", "three"];
    for engine in engines {
        site.root_put(&format!("sys/mounts/{engine}"), &json!({ "type": "kv-v2" })).await.expect(204);
        site.root_put(&format!("{engine}/data/a"), &json!({ "data": { "value": engine } })).await.expect(200);
    }
    site.restart(async |world| {
        let all = rows::read(world).await;
        // One of the four engines' capsules; which, its random mount id decides. The deployment's own have no
        // mount.
        let (key, capsule) =
            *rows::of(&all, CAPSULES).iter().find(|(key, _)| key[17..33] != [0; 16]).unwrap();
        let mut capsule = capsule.clone();
        capsule[21] ^= 2; // the key epoch's last byte, after format, suite and key id
        rows::write(world, [(key.clone(), capsule)]).await;
    })
    .await;
    site.unseal().await;
    let (a, b, c, d) = tokio::join!(
        site.read("app/db"),
        site.root_get("one/data/a"),
        site.root_get("two/data/a"),
        site.root_get("three/data/a")
    );
    let mut answers = [a, b, c, d];
    answers.sort_unstable_by_key(|got| got.status);
    assert_eq!(answers.each_ref().map(|got| got.status), [200, 200, 200, 500]);
    assert!(answers[3].text.contains("failed its integrity check"), "{}", answers[3].text);
}
