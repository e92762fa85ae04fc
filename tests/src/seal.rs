//! Custodians and their shares, what a start on the wrong store does, and what happens to a second broker.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};
use symbolon_broker::config::{Config, ConfigError};
use symbolon_broker::rows::seal_record_key;
use symbolon_broker::run::{Broker, RunError};
use symbolon_broker::store::embedded::EmbeddedStore;
use symbolon_broker::store::{Expect, Store, Write};
use symbolon_cli::demo::world::World;
use symbolon_proto::share::{SHARE_BYTES, Share};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::site::{BRISK, CALM, CUSTODIANS, Got, MOUNT, Site};

/// A share with one bit changed and a checksum that fits; `None` if that is no share at all.
fn changed(text: &str, byte: usize, bit: u8) -> Option<String> {
    let mut bytes = *Share::parse(text).unwrap().to_bytes().expose();
    bytes[byte] ^= 1 << bit;
    Some(Share::from_bytes(&bytes).ok()?.to_text().to_string())
}

async fn give(site: &Site, share: &str) -> Got {
    site.ask("PUT", "sys/unseal", "", &json!({ "key": share }).to_string()).await
}

/// The same from another address of this machine, by its last byte: refusals count against their sender.
async fn give_from(site: &Site, source: u8, share: &str) -> Got {
    let request = site.request_from(IpAddr::from([127, 0, 0, source]), "PUT", "v1/sys/unseal");
    site.send(request.body(json!({ "key": share }).to_string())).await
}

/// Ceremony, progress and names as anybody sees them.
async fn progress(site: &Site) -> Value {
    let status = site.get("sys/seal-status", "").await.expect(200).json();
    json!([status["sealed"], status["nonce"], status["progress"], status["given"]])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_shares_name_their_custodian_and_change_nothing() {
    let (site, other) = tokio::join!(Site::sealed(CALM), Site::sealed(CALM));
    let accepted = give(&site, &site.shares[0]).await.expect(200).json();
    assert_eq!((&accepted["progress"], &accepted["given"]), (&json!(1), &json!(["ana"])));
    let before = progress(&site).await;
    let sources = AtomicU8::new(2);
    let refused = async |share: &str, words: &[&str]| {
        let got = give_from(&site, sources.fetch_add(1, Ordering::Relaxed), share).await.expect(400);
        let text = got.json()["errors"][0].as_str().unwrap().to_owned();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        assert!(share.is_empty() || !text.contains(share), "an error repeats a share");
        assert_eq!(progress(&site).await, before, "{text}");
    };
    // Version, set, number, threshold, total, then 32 secret bytes: all but the version are the holder's to
    // answer for.
    for byte in 1..SHARE_BYTES {
        let Some(wrong) = changed(&site.shares[1], byte, u8::try_from(byte % 8).unwrap()) else { continue };
        refused(&wrong, &[CUSTODIANS[1], "wrong or tampered"]).await;
    }
    refused(&site.shares[0], &["ana", "already given", "1 more"]).await;
    refused(&other.shares[0], &["foreign share"]).await;
    refused(&other.shares[1], &["foreign share"]).await;
    // At this place, and not wherever its letter stands first: "skf" is not the part that has a checksum.
    let other_letter = if &site.shares[1][30..31] == "q" { "p" } else { "q" };
    let mistyped = [&site.shares[1][..30], other_letter, &site.shares[1][31..]].concat();
    refused(&mistyped, &["checksum"]).await;
    refused(&site.shares[1][..80], &["81 characters"]).await;
    refused("hunter2", &["81 characters"]).await;
    refused("", &["'key' must be specified"]).await;
    refused(&"x".repeat(90_000), &["81 characters"]).await;
    let opened = give(&site, &site.shares[1]).await.expect(200).json();
    assert_eq!(opened["sealed"], false);
    // Too late is no mistake: as with Vault, a share for an open broker only shows the status.
    assert_eq!(give(&site, &site.shares[2]).await.expect(200).json()["sealed"], false);
    site.root_get("auth/token/lookup-self").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_two_of_three_open_it_and_read_the_same() {
    let site = Site::open(CALM).await;
    site.write("app/db", "the same for ever").await;
    let weak = site.token_with("weak", r#"path "sys/seal" { capabilities = ["update"] }"#).await;
    site.ask("PUT", "sys/seal", &weak, "").await.expect(403);
    site.ask("PUT", "sys/seal", "", "").await.expect(403);
    site.read("app/db").await.expect(200);
    let (hex, base64) = (as_hex(&site.shares[2]), as_base64(&site.shares[0]));
    for (first, second) in [
        (site.shares[0].as_str(), site.shares[2].as_str()),
        (&site.shares[1], &site.shares[2]),
        (&site.shares[1], &base64),
        (&hex, &site.shares[0].to_uppercase()),
    ] {
        site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
        nothing_is_told_while_sealed(&site).await;
        assert_eq!(give(&site, first).await.expect(200).json()["sealed"], true);
        nothing_is_told_while_sealed(&site).await;
        assert_eq!(give(&site, second).await.expect(200).json()["sealed"], false);
        let read = site.read("app/db").await.expect(200).json();
        assert_eq!(read["data"]["data"], json!({ "value": "the same for ever" }));
    }
}

fn as_hex(share: &str) -> String {
    Share::parse(share).unwrap().to_bytes().expose().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_base64(share: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(Share::parse(share).unwrap().to_bytes().expose())
}

/// 503 for whatever is asked: a sealed broker knows neither callers nor paths, so it can call nothing
/// forbidden or absent.
async fn nothing_is_told_while_sealed(site: &Site) {
    for (method, path) in [
        ("GET", "secret/data/app/db"),
        ("GET", "secret/data/none"),
        ("PUT", "secret/data/app/db"),
        ("DELETE", "secret/metadata/app/db"),
        ("LIST", "secret/metadata"),
        ("GET", "none/at/all"),
        ("GET", "sys/mounts"),
        ("GET", "sys/policies/acl/none"),
        ("PUT", "sys/seal"),
        ("PUT", "auth/token/create"),
        ("GET", "auth/token/lookup-self"),
        ("PUT", "auth/kubernetes/login"),
        ("GET", "auth/none/role/x"),
        ("GET", "sys/internal/ui/mounts"),
    ] {
        for token in [site.root.as_str(), "hvs.unknown", ""] {
            let got = site.ask(method, path, token, r#"{"data":{}}"#).await;
            assert_eq!(
                (got.status, got.json()),
                (503, json!({ "errors": ["Vault is sealed"] })),
                "{method} {path}"
            );
        }
    }
    let leader = site.get("sys/leader", "").await.expect(200).json();
    assert_eq!((&leader["ha_enabled"], &leader["is_self"]), (&json!(false), &json!(false)));
    let health = site.get("sys/health", "").await.expect(503);
    assert_eq!((&health.json()["sealed"], &health.json()["initialized"]), (&json!(true), &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_forgets_the_shares_and_an_init_happens_once() {
    let site = Site::sealed(CALM).await;
    let reset = || site.ask("PUT", "sys/unseal", "", r#"{"reset":true}"#);
    give(&site, &site.shares[0]).await.expect(200);
    let before = progress(&site).await;
    assert_eq!(reset().await.expect(200).json()["progress"], 0);
    assert_eq!(progress(&site).await, json!([true, "", 0, []]));
    give(&site, &site.shares[0]).await.expect(200);
    assert_ne!(progress(&site).await, before, "another ceremony has another nonce");
    reset().await.expect(200);
    // What was given before the reset counts no more.
    assert_eq!(give(&site, &site.shares[1]).await.expect(200).json()["sealed"], true);
    assert_eq!(give(&site, &site.shares[2]).await.expect(200).json()["sealed"], false);
    reset().await.expect(400);
    let again = json!({ "secret_shares": 3, "secret_threshold": 2, "recovery": "none" });
    let refused = site.root_put("sys/init", &again).await.expect(400);
    assert_eq!(refused.json(), json!({ "errors": ["Vault is already initialized"] }));
    site.root_get("auth/token/lookup-self").await.expect(200);
}

async fn refusal(config: Config) -> String {
    match Broker::bind(config).await {
        Ok(_) => panic!("the broker starts"),
        Err(error) => {
            assert!(!matches!(error, RunError::Listen { .. } | RunError::Certificate(_)), "{error}");
            error.to_string()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_the_wrong_store_is_refused_and_touches_nothing() {
    let mut site = Site::open(CALM).await;
    site.write("app/db", "kept").await;
    site.world.stop_broker().await.unwrap();
    let good = site.world.path("store.redb");
    let at = |name: &str, allow: bool| {
        let mut config = site.world.broker_config(allow).unwrap();
        config.store.path = site.world.path(name);
        config
    };
    let missing = refusal(at("unmounted/store.redb", false)).await;
    assert!(missing.starts_with("there is no deployment in "), "{missing}");
    for advice in ["init.allow = true", "symbolon operator init", "check the volume"] {
        assert!(missing.contains(advice), "{missing}");
    }
    assert!(!site.world.path("unmounted").exists(), "a refused start made something");

    let truncated = std::fs::read(&good).unwrap();
    let files: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("garbage", (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("sqlite", [b"SQLite format 3\0".as_slice(), &[0; 8176]].concat()),
        ("truncated", truncated[..truncated.len() / 2].to_vec()),
        ("header-only", truncated[..64].to_vec()),
    ];
    for (name, bytes) in &files {
        std::fs::write(site.world.path(name), bytes).unwrap();
        for allow in [false, true] {
            let error = refusal(at(name, allow)).await;
            assert!(error.starts_with("the store ") && error.contains(name), "{name}: {error}");
            assert_eq!(&std::fs::read(site.world.path(name)).unwrap(), bytes, "{name} was written to");
        }
    }
    std::fs::create_dir(site.world.path("directory")).unwrap();
    refusal(at("directory", true)).await;

    drop(EmbeddedStore::create(&site.world.path("blank"), 1 << 20).unwrap());
    assert!(refusal(at("blank", false)).await.starts_with("there is no deployment in "));
    for (name, key, value) in [
        ("foreign-rows", vec![7; 40], b"something".to_vec()),
        ("foreign-record", seal_record_key(), b"{}".to_vec()),
        ("newer-record", seal_record_key(), newer_record(&good).await),
    ] {
        let store = EmbeddedStore::create(&site.world.path(name), 1 << 20).unwrap();
        store.commit(vec![Write::Put { key, value, expect: Expect::Absent }]).await.unwrap();
        drop(store);
        for allow in [false, true] {
            let error = refusal(at(name, allow)).await;
            assert!(error.contains("seal record is not one of this version"), "{name}: {error}");
        }
    }
    // The right store still opens, sealed, and holds what it held.
    site.start_again().await;
    site.unseal().await;
    site.read("app/db").await.expect(200);
}

async fn newer_record(store: &Path) -> Vec<u8> {
    let store = EmbeddedStore::open(store, 1 << 20).unwrap();
    let row = store.get(&seal_record_key()).await.unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&row.value).unwrap();
    record["format"] = json!(symbolon_core::seal::SEAL_RECORD_FORMAT + 1);
    serde_json::to_vec(&record).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_store_has_one_broker_at_a_time() {
    let mut site = Site::open(CALM).await;
    site.write("app/db", "kept").await;
    for allow in [false, true] {
        let mut config = site.world.broker_config(allow).unwrap();
        config.listen.set_port(0);
        let error = refusal(config).await;
        assert!(error.contains("in use by another broker"), "{error}");
    }
    site.read("app/db").await.expect(200);
    site.world.stop_broker().await.unwrap();
    site.start_again().await;
    nothing_is_told_while_sealed(&site).await;
    site.unseal().await;
    site.read("app/db").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_with_mistakes_are_refused_by_name() {
    let mut world = World::new(CALM, None).unwrap();
    world.start_fragment().await.unwrap();
    world.broker_config(false).unwrap();
    let right = std::fs::read_to_string(world.path("broker.toml")).unwrap();
    let load = |text: String| {
        std::fs::write(world.path("other.toml"), text).unwrap();
        Config::load(&world.path("other.toml"))
    };
    assert!(load(right.clone()).is_ok());
    for (from, to, name) in [
        ("listen =", "lisen = 1\nlisten =", "lisen"),
        ("[tls]", "[tls]\nclient_auth = true", "client_auth"),
        ("[store]", "[store]\nmode = \"memory\"", "mode"),
        ("[remote]", "[remote]\ntoken = \"x\"", "token"),
        ("[init]", "[init]\nunattended = true", "unattended"),
        ("[init]", "[seal]\n[init]", "seal"),
        ("allow = false", "allow = \"false\"", "allow"),
        ("listen =", "allow_insecure_memory = 1\nlisten =", "allow_insecure_memory"),
    ] {
        let error = load(right.replacen(from, to, 1)).unwrap_err();
        assert!(matches!(error, ConfigError::Parse { .. }));
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("other.toml"), "{name}: {text}");
    }
    world.stop_fragment().await.unwrap();
}

/// A broker beside the one of the world, on a store of its own.
struct Clone {
    base: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Clone {
    async fn start(site: &Site, store: PathBuf) -> Self {
        let mut config = site.world.broker_config(false).unwrap();
        config.store.path = store;
        config.listen.set_port(0);
        let broker = Broker::bind(config).await.unwrap();
        let base = format!("https://{}", broker.address().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move { broker.serve(async { drop(stopped.await) }).await.unwrap() });
        Self { base, stop, task }
    }

    async fn ask(&self, site: &Site, method: &str, path: &str, body: Value) -> Got {
        let request = site.request_to(&self.base, method, path).header("X-Vault-Token", &site.root);
        site.send(request.body(body.to_string())).await
    }

    async fn try_unseal(&self, site: &Site) {
        for share in &site.shares[1..] {
            drop(self.ask(site, "PUT", "v1/sys/unseal", json!({ "key": share.as_str() })).await);
        }
    }

    async fn read(&self, site: &Site) -> u16 {
        self.ask(site, "GET", &format!("v1/{MOUNT}/data/app/db"), Value::Null).await.status
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

/// Who holds the disk and enough shares can start a copy. The service remembers how far the log of the first
/// one came, so a copy is refused before it opens a key or registers anything, and the first one does not
/// notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_brokers_on_copies_of_a_store_only_the_first_is_served() {
    let mut site = Site::open(BRISK).await;
    site.write("app/db", "kept").await;
    site.world.stop_broker().await.unwrap();
    let copy = |name: &str| {
        std::fs::copy(site.world.path("store.redb"), site.world.path(name)).unwrap();
        site.world.path(name)
    };
    let (same_age, older) = (copy("same-age.redb"), copy("older.redb"));
    site.start_again().await;
    site.unseal().await;
    only_the_original_is_served(&site, same_age).await;
    for _ in 0..2 {
        site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
        site.unseal().await;
    }
    site.wait_for_read("app/db", 200, &[503]).await;
    only_the_original_is_served(&site, older).await;
}

async fn only_the_original_is_served(site: &Site, store: PathBuf) {
    let clone = Clone::start(site, store).await;
    clone.try_unseal(site).await;
    for _ in 0..5 {
        assert_eq!(clone.read(site).await, 503);
        let write = json!({ "data": { "value": "x" } });
        assert_eq!(clone.ask(site, "PUT", &format!("v1/{MOUNT}/data/app/db"), write).await.status, 503);
        site.read("app/db").await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    let status = clone.ask(site, "GET", "v1/sys/seal-status", Value::Null).await.expect(200).json();
    assert_eq!(status["sealed"], true);
    let because = status["sealed_because"].as_str().unwrap();
    assert!(because.contains("old copy"), "{because}");
    clone.stop().await;
}

/// A reset makes nobody forget: whoever recorded the connection has the share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_shares_over_a_classical_connection_are_named_in_the_log() {
    let site = Site::sealed(CALM).await;
    let body = |at: usize| json!({ "key": site.shares[at].as_str() }).to_string();
    site.ask_classically("PUT", "sys/unseal", &body(2)).await.expect(200);
    site.ask("PUT", "sys/unseal", "", r#"{"reset":true}"#).await.expect(200);
    site.ask_classically("PUT", "sys/unseal", &body(0)).await.expect(200);
    site.ask("PUT", "sys/unseal", "", &body(1)).await.expect(200);
    assert_eq!(exposed(&site).await, ["shares came as text over TLS without X25519MLKEM768: ana, carla"]);

    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    site.unseal().await;
    assert_eq!(exposed(&site).await.len(), 1, "once, and nothing of shares over the hybrid group");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_entry_of_an_unseal_names_who_opened_the_broker() {
    let site = Site::sealed(CALM).await;
    for x in [2, 0] {
        site.client().unseal(&site.shares[x]).await.unwrap();
    }
    let told = unseals(&site).await;
    assert!(told.len() == 1 && told[0].starts_with("shares given by "), "{told:?}");
    assert!(["ana", "carla"].iter().all(|name| told[0].contains(name)) && !told[0].contains("boris"));
}

/// What the entries of unseals say.
async fn unseals(site: &Site) -> Vec<String> {
    let found = site.root_get("sys/symbolon/audit?action=unseal&limit=100").await.expect(200).json();
    let entries = found["data"]["events"].as_array().unwrap().iter();
    entries.filter_map(|entry| entry["target"]["object"].as_str()).map(str::to_owned).collect()
}

/// The same of exposed shares.
async fn exposed(site: &Site) -> Vec<String> {
    unseals(site).await.into_iter().filter(|role| role.contains("X25519MLKEM768")).collect()
}
