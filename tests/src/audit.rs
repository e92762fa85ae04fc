//! The audit log: one entry per request, durable before the answer, and nothing else left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use symbolon_broker::audit::log::rows::{
    TABLE_BUNDLES, TABLE_CHECKPOINT, TABLE_TILES, decode_bundle, encode_bundle,
};
use symbolon_broker::clock::SystemClock;
use symbolon_broker::faces::server::{ServerLimits, serve};
use symbolon_broker::run::assemble;
use symbolon_broker::store::memory::{Failure, MemoryStore};
use symbolon_cli::audit::{LogError, LogSource, verify};
use symbolon_cli::demo::world::World;
use symbolon_proto::log::{Checkpoint, VerifierKey};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::rows::{self, Rows};
use crate::site::{BRISK, CALM, Got, Site};

/// Entries that are signed for, as anybody may ask.
pub(crate) async fn size(site: &Site) -> u64 {
    let note = site.send(site.request("GET", "log/checkpoint")).await.expect(200).text;
    note.lines().nth(1).unwrap().parse().unwrap()
}

/// Entries from `from` on, with their details.
pub(crate) async fn entries(site: &Site, from: u64) -> Vec<Value> {
    let got = site.root_get(&format!("sys/symbolon/audit?from={from}&newest_first=false&limit=1000")).await;
    got.expect(200).json()["data"]["events"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_leaves_exactly_one_entry() {
    let site = Site::open(CALM).await;
    let own = site.root_get("auth/token/lookup-self").await.expect(200).json();
    let root = own["data"]["accessor"].as_str().unwrap();
    let first = entries(&site, 0).await.swap_remove(0);
    assert_eq!(
        (&first["type"], &first["target"]["object"]),
        (&json!("init"), &json!(format!("token {root} with policies root; recovery policy none")))
    );
    site.write("app/db", "one").await;
    site.prepare_machines().await;
    site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
    let team = site.token_with("team", r#"path "secret/data/app/*" { capabilities = ["read"] }"#).await;
    let machine = site.machine_login().await.expect(200).json();
    let machine = machine["auth"]["client_token"].as_str().unwrap();
    let (root, data) = (site.root.as_str(), r#"{"data":{"value":"two"}}"#);
    let (team, versions) = (team.as_str(), r#"{"versions":[1]}"#);
    let lease = r#"{"type":"kv"}"#;
    let good_policy = r#"{"policy":"path \"x\" { capabilities = [\"read\"] }"}"#;
    let jwt =
        site.cluster.token("apps", "reader", "symbolon", jsonwebtoken::get_current_timestamp()).unwrap();
    let login = |role: &str, jwt: &str| json!({ "role": role, "jwt": jwt }).to_string();
    let (admitted, unknown, forged) = (login("reader", &jwt), login("none", &jwt), login("reader", "a.b.c"));
    let requests = [
        ("GET", "secret/data/app/db", root, "", 200, "secret-read", "allowed"),
        ("GET", "secret/data/app/db", team, "", 200, "secret-read", "allowed"),
        ("GET", "secret/data/app/db", machine, "", 200, "secret-read", "allowed"),
        ("GET", "secret/data/app/db?version=9", root, "", 404, "secret-read", "failed"),
        ("GET", "secret/data/app/none", team, "", 404, "secret-read", "failed"),
        ("GET", "secret/data/other", team, "", 403, "secret-read", "denied"),
        ("GET", "secret/data/app/db", "", "", 403, "secret-read", "denied"),
        ("GET", "secret/data/app/db", "hvs.none", "", 403, "secret-read", "denied"),
        ("GET", "secret/subkeys/app/db", root, "", 200, "secret-read", "allowed"),
        ("PUT", "secret/data/app/db", root, data, 200, "secret-write", "allowed"),
        ("PUT", "secret/data/app/new", root, data, 200, "secret-write", "allowed"),
        ("PUT", "secret/data/app/db", team, data, 403, "secret-write", "denied"),
        (
            "PUT",
            "secret/data/app/db",
            root,
            r#"{"data":{},"options":{"cas":7}}"#,
            400,
            "secret-write",
            "failed",
        ),
        ("PUT", "secret/data/app/db", root, r#"{"data":1}"#, 400, "other", "failed"),
        ("PUT", "secret/data/app/", root, data, 400, "other", "failed"),
        ("DELETE", "secret/data/app/db", root, "", 204, "secret-delete", "allowed"),
        ("DELETE", "secret/data/none", root, "", 204, "secret-delete", "allowed"),
        ("PUT", "secret/delete/app/db", root, versions, 204, "secret-delete", "allowed"),
        ("PUT", "secret/undelete/app/db", root, versions, 204, "secret-undelete", "allowed"),
        ("PUT", "secret/destroy/app/db", root, versions, 204, "secret-destroy", "allowed"),
        ("GET", "secret/data/app/db?version=1", root, "", 404, "secret-read", "allowed"),
        ("GET", "secret/metadata/app/db", root, "", 200, "metadata-read", "allowed"),
        ("GET", "secret/metadata/none", root, "", 404, "metadata-read", "failed"),
        ("PUT", "secret/metadata/app/db", root, r#"{"max_versions":3}"#, 204, "metadata-write", "allowed"),
        ("DELETE", "secret/metadata/app/new", root, "", 204, "metadata-delete", "allowed"),
        ("LIST", "secret/metadata", root, "", 200, "list", "allowed"),
        ("GET", "secret/metadata/?list=true", root, "", 200, "list", "allowed"),
        ("LIST", "secret/metadata/none", root, "", 404, "list", "failed"),
        ("LIST", "secret/metadata", team, "", 403, "list", "denied"),
        ("GET", "secret/config", root, "", 200, "mount-read", "allowed"),
        ("GET", "sys/mounts", root, "", 200, "mount-read", "allowed"),
        ("PUT", "sys/mounts/more", root, lease, 204, "mount-write", "allowed"),
        ("PUT", "sys/mounts/more", root, lease, 400, "mount-write", "failed"),
        ("DELETE", "sys/mounts/more", root, "", 204, "mount-delete", "allowed"),
        ("GET", "sys/internal/ui/mounts/secret/x", root, "", 200, "mount-read", "allowed"),
        ("GET", "sys/internal/ui/mounts/secret/x", "", "", 403, "mount-read", "denied"),
        ("GET", "sys/internal/ui/mounts", "", "", 200, "mount-read", "allowed"),
        ("PUT", "sys/mounts/secret/tune", root, r#"{"description":"d"}"#, 204, "mount-write", "allowed"),
        (
            "PUT",
            "sys/mounts/auth/kubernetes/tune",
            root,
            r#"{"description":"d"}"#,
            204,
            "auth-write",
            "allowed",
        ),
        ("PUT", "sys/policies/acl/p", root, good_policy, 204, "policy-write", "allowed"),
        ("PUT", "sys/policies/acl/p", root, r#"{"policy":"path {"}"#, 400, "policy-write", "failed"),
        ("PUT", "sys/policies/acl/p", team, good_policy, 403, "policy-write", "denied"),
        ("GET", "sys/policies/acl/p", root, "", 200, "policy-read", "allowed"),
        ("GET", "sys/policies/acl/none", root, "", 404, "policy-read", "failed"),
        ("DELETE", "sys/policies/acl/p", root, "", 204, "policy-delete", "allowed"),
        ("PUT", "sys/capabilities-self", root, r#"{"paths":["x"]}"#, 200, "capabilities", "allowed"),
        ("PUT", "auth/token/create", root, "{}", 200, "token-create", "allowed"),
        ("PUT", "auth/token/create", root, r#"{"ttl":"x"}"#, 400, "other", "failed"),
        ("PUT", "auth/token/create", team, "{}", 403, "token-create", "denied"),
        ("GET", "auth/token/lookup-self", root, "", 200, "token-lookup", "allowed"),
        ("PUT", "auth/token/lookup", root, r#"{"token":"hvs.none"}"#, 403, "token-lookup", "failed"),
        ("PUT", "auth/token/renew-self", root, "{}", 400, "token-renew", "failed"),
        ("PUT", "auth/token/revoke", root, r#"{"token":"hvs.none"}"#, 204, "token-revoke", "allowed"),
        ("PUT", "auth/token/renew", root, r#"{"token":"hvs.none"}"#, 400, "token-renew", "failed"),
        ("GET", "auth/kubernetes/role/reader", root, "", 200, "auth-read", "allowed"),
        ("GET", "auth/kubernetes/role/none", root, "", 404, "auth-read", "failed"),
        ("PUT", "auth/approle/role/r", root, r#"{"token_policies":"team"}"#, 204, "auth-write", "allowed"),
        ("PUT", "auth/approle/role/r", root, r#"{"token_ttl":"x"}"#, 400, "other", "failed"),
        ("DELETE", "auth/approle/role/r", root, "", 204, "auth-delete", "allowed"),
        ("PUT", "auth/kubernetes/login", "", &admitted, 200, "login", "allowed"),
        ("PUT", "auth/kubernetes/login", "", &unknown, 400, "login", "denied"),
        ("PUT", "auth/kubernetes/login", "", &forged, 403, "login", "denied"),
        ("PUT", "auth/approle/login", "", r#"{"role_id":"x","secret_id":"y"}"#, 400, "login", "denied"),
        ("GET", "none/at/all", root, "", 400, "other", "failed"),
        ("GET", "none/at/all", team, "", 403, "other", "denied"),
        ("LIST", "secret/data/app", root, "", 405, "other", "failed"),
        ("LIST", "secret/data/app", "", "", 403, "other", "denied"),
        ("GET", "sys/symbolon/audit", root, "", 200, "audit-read", "allowed"),
        ("GET", "sys/symbolon/audit", team, "", 403, "audit-read", "denied"),
    ];
    let begin = size(&site).await;
    let mut wrong = Vec::new();
    let mut expected = Vec::new();
    for (last, (method, path, token, body, status, action, outcome)) in (10_u8..).zip(requests) {
        let before = size(&site).await;
        // each from a source of its own: of strangers, only the first request has an entry to itself
        let source = std::net::IpAddr::from([127, 0, 0, last]);
        let request = site.request_from(source, method, &format!("v1/{path}"));
        let request = if token.is_empty() { request } else { request.header("X-Vault-Token", token) };
        let got = site.send(request.body(body.to_owned())).await;
        let grown = size(&site).await - before;
        if got.status != status || grown != 1 {
            wrong.push(format!("{method} {path}: {} and {grown} entries: {}", got.status, got.text));
        }
        expected.extend(
            (0..grown)
                .map(|_| (format!("{method} {path}"), action, outcome, path.split('?').next().unwrap())),
        );
    }
    for path in ["sys/health", "sys/seal-status", "sys/leader", "sys/init"] {
        let before = size(&site).await;
        site.get(path, "").await.expect(200);
        assert_eq!(size(&site).await, before, "{path} is asked every second and leaves nothing");
    }
    for (entry, (request, action, outcome, path)) in entries(&site, begin).await.iter().zip(expected) {
        let found = (entry["type"].as_str().unwrap(), entry["outcome"].as_str().unwrap());
        if found != (action, outcome) {
            wrong.push(format!("{request}: {found:?} in place of {:?}", (action, outcome)));
        }
        let head = if outcome == "denied" { json!("refused") } else { Value::Null };
        if entry["head"] != head {
            wrong.push(format!("{request}: everybody reads {}", entry["head"]));
        }
        if entry["target"]["path"].as_str().unwrap() != path.trim_end_matches('/') {
            wrong.push(format!("{request}: the entry names {}", entry["target"]["path"]));
        }
        assert!(!entry["request_id"].as_str().unwrap().is_empty());
        assert!(entry["client"].as_str().unwrap().starts_with("127.0.0."));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn count(rows: &Rows) -> BTreeMap<u8, usize> {
    let mut tables = BTreeMap::new();
    rows.keys().for_each(|key| *tables.entry(rows::table(key)).or_default() += 1);
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_machine_logins_leave_a_thousand_entries_and_nothing_else() {
    let mut site = Site::open(CALM).await;
    site.write("app/db", "kept").await;
    site.prepare_machines().await;
    site.machine_login().await.expect(200);
    let mut before = BTreeMap::new();
    site.restart(async |world| before = count(&rows::read(world).await)).await;
    site.unseal().await;
    let begin = size(&site).await;
    let site = Arc::new(site);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let site = Arc::clone(&site);
        clients.spawn(async move {
            let mut last = String::new();
            for _ in 0..50 {
                let made = site.machine_login().await.expect(200).json();
                last = made["auth"]["client_token"].as_str().unwrap().to_owned();
            }
            last
        });
    }
    let tokens = clients.join_all().await;
    assert_eq!(size(&site).await - begin, 1000);
    let mut site = Arc::into_inner(site).unwrap();
    let mut after = BTreeMap::new();
    site.restart(async |world| after = count(&rows::read(world).await)).await;
    let log = [TABLE_BUNDLES, TABLE_TILES, TABLE_CHECKPOINT];
    let others = |tables: &BTreeMap<u8, usize>| -> BTreeMap<u8, usize> {
        tables.iter().filter(|(table, _)| !log.contains(table)).map(|(table, rows)| (*table, *rows)).collect()
    };
    assert_eq!(others(&before), others(&after));
    assert!(after[&TABLE_BUNDLES] < before[&TABLE_BUNDLES] + 1000, "a group of logins shares a bundle");
    // Nothing was stored for them, and yet they hold, also after a restart.
    site.unseal().await;
    for token in tokens {
        site.get("secret/data/app/db", &token).await.expect(200);
    }
}

/// A broker on a store that fails when told to, plain HTTP on loopback.
struct Frail {
    site: Site,
    store: Arc<MemoryStore>,
    base: String,
    _stop: oneshot::Sender<()>,
}

impl Frail {
    async fn start() -> Self {
        let mut world = World::new(CALM, None).unwrap();
        world.init_defaults("recovery = \"none\"");
        world.start_fragment().await.unwrap();
        let config = world.broker_config(true).unwrap();
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(SystemClock));
        let app = assemble(config, Arc::clone(&store) as _, clock, None);
        let router = symbolon_broker::faces::router(Arc::new(app), None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, None, router, ServerLimits::default(), async { drop(stopped.await) }));
        let site = Site::initialise_at(world, &base).await;
        let frail = Self { site, store, base, _stop: stop };
        for share in &frail.site.shares[..2] {
            frail.ask("PUT", "sys/unseal", json!({ "key": share.as_str() })).await.expect(200);
        }
        frail.ask("PUT", "sys/mounts/secret", json!({ "type": "kv-v2" })).await.expect(204);
        frail.write("one").await.expect(200);
        frail
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Got {
        let request = self.site.request_to(&self.base, method, &format!("v1/{path}"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.site.send(request.header("X-Vault-Token", &self.site.root).body(body)).await
    }

    async fn write(&self, value: &str) -> Got {
        self.ask("PUT", "secret/data/app/db", json!({ "data": { "value": value } })).await
    }

    async fn read(&self) -> Got {
        self.ask("GET", "secret/data/app/db", Value::Null).await
    }

    async fn value(&self) -> String {
        self.read().await.expect(200).json()["data"]["data"]["value"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_durable_entry_nothing_leaves() {
    let frail = Frail::start().await;
    let refused = |got: &Got| {
        assert_eq!(got.status, 500, "{}", got.text);
        assert!(
            got.text.contains("the audit log cannot be written; the request was refused"),
            "{}",
            got.text
        );
    };
    for failure in [Failure::Full, Failure::LostRequest, Failure::LostAnswer] {
        let before = frail.value().await;
        frail.store.fail_commit(0, failure);
        let read = frail.read().await;
        refused(&read);
        assert!(!read.text.contains(&before), "{failure:?}: a value left without an entry");
        assert_eq!(frail.value().await, before, "{failure:?}");

        frail.store.fail_commit(0, failure);
        let created = frail.ask("PUT", "auth/token/create", json!({})).await;
        refused(&created);
        assert!(!created.text.contains("hvs."), "{failure:?}: a token left without an entry");

        frail.store.fail_commit(0, failure);
        refused(&frail.ask("LIST", "secret/metadata", Value::Null).await);
        frail.store.fail_commit(0, failure);
        refused(&frail.ask("GET", "secret/data/app/none", Value::Null).await);
        frail.store.fail_commit(0, failure);
        let written = format!("after {failure:?}");
        refused(&frail.write(&written).await);
        // Of a lost answer nobody knows; of the others the caller was told the truth.
        let now = frail.value().await;
        assert!(now == before || (failure == Failure::LostAnswer && now == written), "{failure:?}: {now}");
    }
    frail.write("last").await.expect(200);
    assert_eq!(frail.value().await, "last");
    let key: VerifierKey = frail.site.log_key.parse().unwrap();
    let reader = symbolon_broker::audit::log::LogReader::new(Arc::clone(&frail.store) as _);
    reader.verify_all(&key).await.unwrap();
}

/// A kill takes back what is only in memory, and an auditor who has seen it would find a log that was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_stored_before_it_is_shown() {
    let frail = Frail::start().await;
    let shown = format!("{}/log/checkpoint", frail.base);
    let reader = symbolon_broker::audit::log::LogReader::new(Arc::clone(&frail.store) as _);
    for value in ["one", "two", "three"] {
        frail.write(value).await.expect(200);
        let entries = reader.size().await.unwrap();
        let shown = reqwest::get(&shown).await.unwrap().text().await.unwrap();
        let stored = reader.checkpoint().await.unwrap();
        assert!(log_size(&shown) >= entries, "everything that was answered before is covered");
        assert!(log_size(&stored.unwrap()) >= log_size(&shown));
    }
}

fn log_size(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_waits_for_its_entry() {
    let frail = Frail::start().await;
    let login = frail.ask("GET", "auth/token/lookup-self", Value::Null).await;
    login.expect(200);
    for (method, path) in
        [("GET", "secret/data/app/db"), ("PUT", "auth/token/create"), ("GET", "secret/data/none")]
    {
        frail.store.pause();
        let commits = frail.store.commits_begun();
        let mut asked = std::pin::pin!(frail.ask(method, path, json!({})));
        let early = timeout(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "{method} {path} was answered before its entry was durable");
        assert_eq!(frail.store.commits_begun(), commits);
        frail.store.resume();
        assert!(matches!(asked.await.status, 200 | 404));
    }
}

/// Changes of a stored log: what a hand on the disk might try.
fn tamperings(rows: &Rows) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let bundles: Vec<_> = rows.iter().filter(|(key, _)| rows::table(key) == TABLE_BUNDLES).collect();
    let (key, bundle) = bundles[bundles.len() / 2];
    let entries = decode_bundle(bundle).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<symbolon_broker::audit::log::rows::StoredEntry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        encode_bundle(&entries)
    };
    let leaf_of = symbolon_proto::log::tree::leaf_hash;
    let mut made = vec![
        ("a time", changed(&|entries| entries[0].bytes[16] ^= 1)),
        ("an action", changed(&|entries| entries[0].bytes[17] ^= 1)),
        ("an outcome", changed(&|entries| entries[0].bytes[18] ^= 1)),
        ("a detail", changed(&|entries| *entries[0].bytes.last_mut().unwrap() ^= 1)),
        (
            "an entry and its hash",
            changed(&|entries| {
                entries[0].bytes[18] ^= 1;
                entries[0].leaf = leaf_of(&entries[0].bytes);
            }),
        ),
        ("another bundle's entries", bundles[bundles.len() / 2 - 1].1.clone()),
        ("no bundle at all", vec![0]),
    ];
    made.push(("an entry more", changed(&|entries| entries.push(entries[0].clone()))));
    let checkpoint = rows.iter().find(|(key, _)| rows::table(key) == TABLE_CHECKPOINT).unwrap();
    let note = String::from_utf8(checkpoint.1.clone()).unwrap();
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    let shorter = note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1);
    let mut all: Vec<_> = made.into_iter().map(|(what, bytes)| (what, key.clone(), bytes)).collect();
    all.push(("a checkpoint that hides the last entry", checkpoint.0.clone(), shorter.into_bytes()));
    all.push(("no checkpoint", checkpoint.0.clone(), Vec::new()));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_log_is_found_by_who_has_only_its_key() {
    let mut site = Site::open(BRISK).await;
    for number in 0..20 {
        site.write("app/db", &number.to_string()).await;
    }
    let key: VerifierKey = site.log_key.parse().unwrap();
    let source = || LogSource::Broker(site.client());
    let earlier = Checkpoint::open(&source().checkpoint().await.unwrap(), &key).unwrap();
    site.read("app/db").await.expect(200);
    let whole = verify(&source(), &key, Some(&earlier), &mut |_, _| {}).await.unwrap();
    assert!(whole.verified.size > 20);
    let foreign: VerifierKey = {
        let mut other = site.log_key.clone();
        let last = other.pop().unwrap();
        other.push(if last == 'A' { 'B' } else { 'A' });
        other.parse().unwrap_or_else(|_| key.clone())
    };
    if foreign != key {
        verify(&source(), &foreign, None, &mut |_, _| {}).await.unwrap_err();
    }
    let mut all = Rows::new();
    site.restart(async |world| all = rows::read(world).await).await;
    for (what, row, bytes) in tamperings(&all) {
        let damaged = (row.clone(), bytes);
        site.restart(async |world| rows::write(world, [damaged]).await).await;
        // Sealed or not, the log is public: whoever holds its key needs nobody's leave.
        let source = LogSource::Broker(site.client());
        let verdict = verify(&source, &key, None, &mut |_, _| {}).await;
        assert!(!matches!(verdict, Err(LogError::File { .. } | LogError::Write { .. })));
        let found = verdict.err().unwrap_or_else(|| panic!("{what} was not found"));
        println!("{what}: {found}");
        // The broker itself goes on only from an end that its own signature confirms.
        assert!(!site.try_unseal().await, "{what}: the broker writes on");
        site.restart(async |world| rows::write(world, all.clone()).await).await;
        verify(&LogSource::Broker(site.client()), &key, None, &mut |_, _| {}).await.unwrap();
    }
    site.unseal().await;
    site.read("app/db").await.expect(200);
}

/// Cutting the end off, together with an older checkpoint, is a log that was true once. Who kept a later one
/// sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_cut_is_found_by_who_kept_a_checkpoint() {
    let mut site = Site::open(CALM).await;
    site.write("app/db", "early").await;
    let mut early = Rows::new();
    site.restart(async |world| early = rows::read(world).await).await;
    site.unseal().await;
    site.write("app/db", "late").await;
    let key: VerifierKey = site.log_key.parse().unwrap();
    let kept = LogSource::Broker(site.client()).checkpoint().await.unwrap();
    let kept = Checkpoint::open(&kept, &key).unwrap();
    site.restart(async |world| {
        std::fs::remove_file(world.path("store.redb")).unwrap();
        let store =
            symbolon_broker::store::embedded::EmbeddedStore::create(&world.path("store.redb"), 1 << 20)
                .unwrap();
        drop(store);
        rows::write(world, early).await;
    })
    .await;
    let source = LogSource::Broker(site.client());
    verify(&source, &key, None, &mut |_, _| {}).await.unwrap();
    let cut = verify(&source, &key, Some(&kept), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(cut, LogError::NotGrown { .. }), "{cut}");
}
