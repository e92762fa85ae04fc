//! A broker's memory, searched from outside for every key it knows (`docs/skb1.md` 12.3).
//!
//! The broker runs in a process of its own: this test binary, started again. Nothing is built into it for the
//! test. The parent is its client, holds all shares and the fragment service, and works out from a copy of
//! the store what to look for. A second broker that keeps copies of two keys shows that they would be found.

mod fragment;
mod scanner;
mod values;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use symbolon::Token;
use symbolon_broker::clock::SystemClock;
use symbolon_broker::config::Config;
use symbolon_broker::custody::App;
use symbolon_broker::custody::unseal::Unsealer;
use symbolon_broker::custody::unseal::alarm::Alarm;
use symbolon_broker::engines::kv::VERSIONS;
use symbolon_broker::keys::{Account, CAPSULES, FIRST_KEK_EPOCH, SYSTEM_SLOT};
use symbolon_broker::rows::SYSTEM;
use symbolon_broker::rows::{NO_SCOPE, prefix, seal_record_key};
use symbolon_broker::run::Broker;
use symbolon_broker::run::furnishing;
use symbolon_broker::store::Store;
use symbolon_broker::store::embedded::EmbeddedStore;
use symbolon_cli::demo::world::World;
use symbolon_core::keyring::KekSlot;
use symbolon_core::seal::{Sealed, Unsealed};
use symbolon_proto::context::{RecordContext, RecordKind, wrap_context};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::{DeploymentId, MountId, SecretId, TenantId};
use symbolon_proto::label;
use symbolon_proto::record;
use symbolon_proto::sealedbox;
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Share, shamir};

use self::scanner::{Needles, Process, Scan};
use crate::rows::{self, Rows};
use crate::site::{CALM, Site};

const READY: &str = "the server serves";

/// What the leaky broker keeps in ordinary memory.
const KEPT_VALUE: &str = "a value that careless code has kept, 31415926535897932384626";

/// A server in its own process.
struct Separate {
    child: Child,
    stdin: Option<ChildStdin>,
    process: Process,
}

impl Separate {
    /// Starts `program`, one of the ignored tests, which gets `line` on its standard input.
    fn start(program: &str, line: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", program, "--ignored", "--nocapture", "--test-threads=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::open(child.id());
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let output = BufReader::new(child.stdout.as_mut().unwrap());
        let serves = output.lines().map_while(Result::ok).any(|line| line.contains(READY));
        assert!(serves, "the server did not start: {:?}", child.wait());
        Self { child, stdin: Some(stdin), process }
    }
}

impl Drop for Separate {
    fn drop(&mut self) {
        drop(self.stdin.take()); // the broker's sign to end
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "a broker for the tests of this module, which start it as a process of its own"]
fn a_broker() {
    be_a_broker(|_| async {});
}

#[test]
#[ignore = "a leaky broker for the tests of this module, which start it as a process of its own"]
fn a_broker_that_leaks() {
    be_a_broker(|app| async move {
        let session = loop {
            match app.session() {
                Ok(session) => break session,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        // As careless code would: a key by value on the heap, and half of another one.
        let keys = session.unsealed().keys();
        Box::leak(Box::new(*keys.capsule.secret().expose()));
        Box::leak(Box::new(keys.index.secret().expose()[8..24].to_vec()));
        Box::leak(KEPT_VALUE.to_owned().into_boxed_str());
    });
}

/// Serves with the configuration whose path comes on the first line of standard input, until that ends.
fn be_a_broker<F: Future<Output = ()> + Send + 'static>(beside: impl FnOnce(Arc<App>) -> F) {
    be_a_server(async |line, ended| {
        let broker = Broker::bind(Config::load(Path::new(line)).unwrap()).await.unwrap();
        let beside = tokio::spawn(beside(broker.app()));
        println!("\n{READY}");
        broker.serve(ended).await.unwrap();
        beside.abort();
    });
}

/// Gives the first line of standard input to a server, and the future that ends with that input.
fn be_a_server(serve: impl AsyncFnOnce(&str, Pin<Box<dyn Future<Output = ()> + Send>>)) {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    if line.trim().is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        serve(line.trim(), Box::pin(async { drop(ended.await) })).await;
    });
}

/// A site whose broker is a process of its own.
async fn start(program: &str) -> (Site, Separate) {
    let mut world = World::new(CALM, None).unwrap();
    world.start_fragment().await.unwrap();
    world.broker_config(true).unwrap();
    let config = world.path("broker.toml").display().to_string();
    let program = program.to_owned();
    let broker = tokio::task::spawn_blocking(move || Separate::start(&program, &config)).await.unwrap();
    let site = Site::initialise(world).await;
    site.unseal().await;
    (site, broker)
}

/// What a broker does all day, so that every kind of key has been in use.
async fn work(site: &Site) {
    site.root_put("sys/mounts/secret", &json!({ "type": "kv-v2" })).await.expect(204);
    site.root_put("sys/mounts/other", &json!({ "type": "kv-v2" })).await.expect(204);
    site.prepare_machines().await;
    site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
    site.root_put("auth/approle/role/app", &json!({ "token_policies": ["reader"] })).await.expect(204);
    let issuer = site.world.broker_url();
    let rule = json!({
        "bound_service_account_names": ["writer"], "bound_service_account_namespaces": ["apps"],
        "audience": issuer, "workload_audiences": ["https://ledger"],
    });
    site.root_put("auth/kubernetes/role/workload", &rule).await.expect(204);
    for number in 0..20 {
        let now = jsonwebtoken::get_current_timestamp();
        let proof = Token::new(&site.cluster.token("apps", "writer", &issuer, now).unwrap()).unwrap();
        site.client().exchange_token(&proof, "https://ledger").await.unwrap();
        site.write(&format!("app/{number}"), &format!("value of {number}")).await;
        let body = json!({ "data": { "value": "x".repeat(number * 1000) } });
        site.root_put(&format!("other/data/app/{number}"), &body).await.expect(200);
        let login = site.machine_login().await.expect(200).json();
        let token = login["auth"]["client_token"].as_str().unwrap().to_owned();
        site.get(&format!("secret/data/app/{number}"), &token).await.expect(200);
        site.get(&format!("other/data/app/{number}"), &token).await.expect(403);
        site.root_get(&format!("other/data/app/{number}")).await.expect(200);
        site.root_put("auth/approle/role/app/secret-id", &json!({})).await.expect(200);
        site.root_get("secret/data/none").await.expect(404);
    }
    let tokens = tokio::task::JoinSet::from_iter((0..8).map(|number| {
        let request =
            site.request("GET", &format!("v1/secret/data/app/{number}")).header("X-Vault-Token", &site.root);
        async move { request.send().await.unwrap().status().as_u16() }
    }));
    assert!(tokens.join_all().await.iter().all(|status| *status == 200));
    site.send(site.request("GET", "oauth2/jwks")).await.expect(200);
    site.root_get("sys/symbolon/audit").await.expect(200);
}

/// The fragment, from two shares.
fn fragment(site: &Site) -> Fragment {
    let points: Vec<_> = site.shares[..2].iter().map(|text| point(&Share::parse(text).unwrap())).collect();
    Fragment::from_secret(shamir::recombine(&points.iter().collect::<Vec<_>>()).unwrap())
}

fn point(share: &Share) -> shamir::Point {
    shamir::Point {
        x: share.x(),
        y: Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(&share.to_bytes().expose()[12..])),
    }
}

/// Everything that two custodians, the disk and the remote together can know.
async fn needles(site: &Site) -> Needles {
    let mut needles = Needles::default();
    let path = site.world.path("copy.redb");
    rows::copy(&site.world.path("store.redb"), &path);
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path, 1 << 20).unwrap());
    let record = store.get(&seal_record_key()).await.unwrap().unwrap();
    let sealed = Sealed::open(serde_json::from_slice(&record.value).unwrap()).unwrap();
    let fragment = fragment(site);
    assert!(sealed.share_set().is_fragment(&fragment));
    let root = fragment.root(&sealed.deployment());
    needles.key("the fragment", fragment.secret().expose());
    for text in &site.shares[..2] {
        needles.key("a share", &Share::parse(text).unwrap().to_bytes().expose()[12..]);
    }
    let keys = root.purposes(1);
    for (name, key) in [
        ("the capsule key", keys.capsule.secret()),
        ("the index key", keys.index.secret()),
        ("the state key", keys.state.secret()),
        ("the network key", keys.net.secret()),
        ("the audit key", keys.audit.secret()),
        ("the check key", root.check().secret()),
    ] {
        needles.key(name, key.expose());
    }
    let unsealed = Unsealed::first(&fragment, &sealed);
    needles.key("the key of names", unsealed.names().secret().expose());
    let all = rows::rows_of(store.as_ref()).await;
    own_secrets(&mut needles, &all, &unsealed);
    let config = site.world.broker_config(false).unwrap();
    let session = Unsealer::new(
        Arc::clone(&store),
        Arc::new(SystemClock),
        config.remote,
        furnishing(&Arc::default(), &Arc::default()),
    );
    let session =
        session.open_with(&sealed, Arc::new(unsealed), "test", &Alarm::new().0).await.unwrap().session;
    let id = |bytes: &[u8]| -> [u8; 16] { bytes.try_into().unwrap() };
    let mut keks = BTreeMap::new();
    for (key, _) in rows::of(&all, CAPSULES) {
        let mount = MountId::from_bytes(id(&key[17..33]));
        let bucket = u32::from_be_bytes(key[33..37].try_into().unwrap());
        let slot = KekSlot { tenant: TenantId::SYSTEM, mount, bucket, epoch: FIRST_KEK_EPOCH };
        let kek = session.keys.kek(slot).await.unwrap();
        needles.key("a KEK", kek.kek.secret().expose());
        keks.insert(kek.capsule, kek);
    }
    let mut deks = 0;
    for (key, bytes) in rows::of(&all, VERSIONS) {
        let kek = &keks[&record::capsule_of(bytes).unwrap()];
        let place = RecordContext {
            kind: RecordKind::Value,
            mount: MountId::from_bytes(id(&key[17..33])),
            secret: SecretId::from_bytes(id(&key[33..49])),
            version: u64::from_be_bytes(key[49..57].try_into().unwrap()),
            ..own_place(sealed.deployment(), *b"................")
        };
        // Header 18 bytes, wrapped DEK 112, value.
        let (wrap, context) = (&bytes[18..130], wrap_context(&place, &kek.capsule));
        let dek = sealedbox::open(kek.kek.secret(), &context, wrap).unwrap();
        needles.key("a DEK", &dek);
        needles.key("a DEK's box key", &box_key(kek.kek.secret().expose(), &context, wrap));
        needles.key("a value's box key", &box_key(&dek, &place.encode(), &bytes[130..]));
        deks += 1;
    }
    assert!(keks.len() >= 4 && deks >= 40, "{} KEKs and {deks} DEKs", keks.len());
    let place = RecordContext {
        kind: RecordKind::Value,
        version: 1,
        ..own_place(sealed.deployment(), *b"workload-signing")
    };
    let signing = session
        .keys
        .open_record(SYSTEM_SLOT, Account::Broker, &place, &all[&own_row(*b"workload-signing")])
        .await
        .unwrap();
    let signing: Value = serde_json::from_slice(&signing).unwrap();
    let pkcs8 = STANDARD.decode(signing[0]["pkcs8"].as_str().unwrap()).unwrap();
    needles.text("the key that signs workload tokens", p256_scalar(&pkcs8));
    // Base64 of what precedes the number is the same for every such key, the API's own included.
    needles.text(
        "the key that signs workload tokens, as text",
        &signing[0]["pkcs8"].as_str().unwrap().as_bytes()[48..90],
    );
    drop(session.close());
    needles
}

/// What the network key seals: who the broker is to the fragment service, and what signs the log.
fn own_secrets(needles: &mut Needles, all: &Rows, unsealed: &Unsealed) {
    let open = |name: [u8; 16]| {
        let place = own_place(unsealed.deployment(), name).encode();
        sealedbox::open(unsealed.keys().net.secret(), &place, &all[&own_row(name)]).unwrap()
    };
    needles.key("the log's signing seed", &open(*b"log-signing-seed"));
    let identity = open(*b"network-identity"); // format, Ed25519 seed, length, PKCS#8
    needles.key("the broker's signing seed", &identity[1..33]);
    needles.text("the broker's TLS key", p256_scalar(&identity[35..]));
}

fn own_row(name: [u8; 16]) -> Vec<u8> {
    [&prefix(TenantId::SYSTEM, SYSTEM, NO_SCOPE)[..], &name].concat()
}

fn own_place(deployment: DeploymentId, name: [u8; 16]) -> RecordContext {
    RecordContext {
        kind: RecordKind::Metadata,
        deployment,
        tenant: TenantId::SYSTEM,
        mount: NO_SCOPE,
        secret: SecretId::from_bytes(name),
        version: SYSTEM.number().into(),
    }
}

/// The private number in a PKCS#8 document: an OCTET STRING of 32 bytes after the version of SEC 1.
fn p256_scalar(pkcs8: &[u8]) -> &[u8] {
    let before = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = pkcs8.windows(5).position(|window| window == before).unwrap() + 5;
    &pkcs8[at..at + 32]
}

/// The AES key of one box (`docs/skb1.md` 6.5). The first round keys of its schedule are its own halves.
fn box_key(key: &[u8], context: &[u8], boxed: &[u8]) -> [u8; 32] {
    let mut out = [0; 64];
    let length = u16::try_from(context.len()).unwrap().to_be_bytes();
    hkdf::Hkdf::<sha2::Sha512>::new(Some(&boxed[..32]), key)
        .expand_multi_info(&[label::SEAL, &length, context], &mut out)
        .unwrap();
    assert_eq!(out[32..], boxed[32..64], "the box commits to another key");
    *out.first_chunk().unwrap()
}

fn report(when: &str, scan: &Scan) {
    println!(
        "{when}: {} MiB read, {} KiB hidden, found {:?}",
        scan.read_bytes >> 20,
        scan.hidden_bytes >> 10,
        scan.found
    );
    assert!(scan.read_bytes > 4 << 20, "hardly anything could be read; the test has lost its subject");
}

async fn scan(broker: Separate, needles: Needles) -> (Separate, Needles, Scan) {
    let scanning = move || {
        let mut broker = broker;
        let found = broker.process.scan(&needles);
        (broker, needles, found)
    };
    tokio::task::spawn_blocking(scanning).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_in_secret_pages_only_and_nowhere_after_sealing() {
    let (site, broker) = start("memory::a_broker").await;
    work(&site).await;
    let mode = site.client().seal_status().await.unwrap().fact("memory").unwrap();
    let needles = needles(&site).await;
    assert!(!needles.is_empty());

    let (broker, needles, open) = scan(broker, needles).await;
    report(&format!("open ({mode})"), &open);
    assert_eq!(open.found, Default::default(), "while the broker is open");

    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let (broker, _, sealed) = scan(broker, needles).await;
    report("sealed", &sealed);
    assert_eq!(sealed.found, Default::default(), "after it was sealed");

    drop(broker);
}

/// Not promised (`SECURITY.md`): shares and tokens pass through HTTP buffers as text. What is left of them is
/// only shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_shares_may_stay_in_buffers_but_their_bytes_do_not() {
    let (site, broker) = start("memory::a_broker").await;
    let mut needles = Needles::default();
    for share in &site.shares[..2] {
        needles.text("a share's text", share.as_bytes());
        needles.key("a share", &Share::parse(share).unwrap().to_bytes().expose()[12..]);
    }
    needles.text("the root token", site.root.as_bytes());
    let (broker, needles, fresh) = scan(broker, needles).await;
    report("just unsealed", &fresh);
    work(&site).await;
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let (broker, _, sealed) = scan(broker, needles).await;
    report("after some work, sealed", &sealed);
    for scan in [fresh, sealed] {
        assert!(
            !scan.found.keys().any(|name| name.starts_with("a share in") || name.contains("HMAC")),
            "{scan:?}"
        );
    }
    drop(broker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceremony_for_a_new_fragment_leaves_neither_the_old_one_nor_the_new_one() {
    let (site, broker) = start("memory::a_broker").await;
    work(&site).await;
    let old = fragment(&site);
    let shares = crate::change::rekeyed(&site).await;
    let mut needles = Needles::default();
    let points: Vec<_> = shares.iter().map(point).collect();
    let new = Fragment::from_secret(shamir::recombine(&points.iter().collect::<Vec<_>>()).unwrap());
    for share in &shares {
        needles.key("a new share", &share.to_bytes().expose()[12..]);
    }
    let deployment = site.client().seal_status().await.unwrap().cluster_id.parse().unwrap();
    for (which, fragment, epoch) in [("old", &old, 1), ("new", &new, 2)] {
        let root = fragment.root(&deployment);
        let keys = root.purposes(epoch);
        needles.key(&format!("the {which} fragment"), fragment.secret().expose());
        needles.key(&format!("the {which} capsule key"), keys.capsule.secret().expose());
        needles.key(&format!("the {which} index key"), keys.index.secret().expose());
        needles.key(&format!("the {which} network key"), keys.net.secret().expose());
        needles.key(&format!("the {which} state key"), keys.state.secret().expose());
        needles.key(&format!("the {which} audit key"), keys.audit.secret().expose());
        needles.key(&format!("the {which} check key"), root.check().secret().expose());
    }
    let (broker, needles, open) = scan(broker, needles).await;
    report("open, after the ceremony", &open);
    assert_eq!(open.found, Default::default(), "while the broker is open");
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let (broker, _, sealed) = scan(broker, needles).await;
    report("sealed", &sealed);
    assert_eq!(sealed.found, Default::default(), "after it was sealed");
    drop(broker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_keeps_copies_is_found_out() {
    let (site, broker) = start("memory::a_broker_that_leaks").await;
    work(&site).await;
    let needles = needles(&site).await;
    let (broker, needles, open) = scan(broker, needles).await;
    report("open", &open);
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let (broker, _, sealed) = scan(broker, needles).await;
    report("sealed", &sealed);
    for scan in [open, sealed] {
        let names: Vec<&str> = scan.found.keys().map(|name| name.split(" in ").next().unwrap()).collect();
        assert_eq!(names, ["the capsule key", "the index key"], "both, and nothing else");
    }
    drop(broker);
}
