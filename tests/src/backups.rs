//! Backups of a broker that serves: what is in them, where they go, and what a bucket's server says.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use symbolon_broker::access::session::{Parts, Session};
use symbolon_broker::access::{Configuration, Requester};
use symbolon_broker::audit::log::{Filter, LogReader, Range};
use symbolon_broker::audit::writer::{LogKeys, Writer};
use symbolon_broker::backup::checking::check;
use symbolon_broker::backup::place::{Place, file};
use symbolon_broker::backup::restoring::restore;
use symbolon_broker::clock::SystemClock;
use symbolon_broker::config::Bucket;
use symbolon_broker::custody::deployment::Deployment;
use symbolon_broker::engines::kv::{self, KvTarget};
use symbolon_broker::rows::Rows;
use symbolon_broker::store::Store;
use symbolon_broker::store::embedded::{CACHE_BYTES_DEFAULT, EmbeddedStore};
use symbolon_cli::Operator;
use symbolon_cli::demo::world::{World, free_port, until};
use symbolon_core::audit::{Action, Outcome};
use symbolon_core::clock::Clock;
use symbolon_core::dead_man::DeadMan;
use symbolon_core::json::Map;
use symbolon_core::path::{MountPath, SecretPath};
use symbolon_proto::custodian::{KeyKind, KeyPair};
use symbolon_proto::log::VerifierKey;
use symbolon_repository::machine::needs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::{CALM, MOUNT, Site};
use crate::tools;

const BACKUPS: usize = 100;
const WRITERS: usize = 4;
/// Between two writes of one of them.
const PAUSE: Duration = Duration::from_millis(40);

/// Somebody who can open backups.
pub fn recipient() -> (KeyPair, String) {
    let keys = KeyPair::generate(KeyKind::Custodian, &mut rand_core::UnwrapErr(getrandom::SysRng));
    let card = keys.card("ops").unwrap().to_text();
    (keys, card)
}

/// Versions of each writer's secret that were begun and that were acknowledged.
#[derive(Default)]
struct History {
    begun: [AtomicU64; WRITERS],
    answered: [AtomicU64; WRITERS],
    over: AtomicBool,
}

impl History {
    fn seen(counts: &[AtomicU64; WRITERS]) -> [u64; WRITERS] {
        std::array::from_fn(|writer| counts[writer].load(Ordering::SeqCst))
    }

    async fn write_on(&self, client: &Operator, writer: usize) {
        while !self.over.load(Ordering::SeqCst) {
            let version = self.begun[writer].fetch_add(1, Ordering::SeqCst) + 1;
            let data = json!({ "data": { "n": version }, "options": { "cas": version - 1 } });
            client.write(&format!("{MOUNT}/data/w{writer}"), &data).await.unwrap();
            self.answered[writer].store(version, Ordering::SeqCst);
            tokio::time::sleep(PAUSE).await; // a store that grows without end makes each restore longer
        }
    }
}

/// A restored store, opened beside the running broker with its keys and without asking anybody.
async fn open_alone(live: &Session, store: Arc<dyn Store>) -> Arc<Session> {
    let unsealed = Arc::clone(live.shared_unsealed());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = Deployment::read(store.as_ref(), &unsealed).await.unwrap().log;
    let keys = LogKeys {
        audit: unsealed.audit(),
        signer: log.signer(unsealed.deployment()).unwrap(),
        deployment: unsealed.deployment(),
        broker: unsealed.broker(),
    };
    let writer = Writer::start(Arc::clone(&store), Arc::clone(&clock), keys).await.unwrap();
    let rows = Rows::new(store, Arc::clone(&unsealed));
    Session::assemble(Parts {
        configuration: Configuration::read(&rows).await.unwrap(),
        keys: live.keys.clone(),
        dead_man: DeadMan::new(72, clock.now()),
        generation: live.generation(),
        shape: Arc::clone(live.shape()),
        rows,
        clock,
        unsealed,
        writer,
    })
}

/// The newest version of each writer's secret.
async fn versions(session: &Arc<Session>, root: &str) -> [u64; WRITERS] {
    let parameters = Map::new();
    let requester = Requester {
        token: Some(root),
        request_id: "t",
        remote: None,
        parameters: &parameters,
        wrap_ttl_secs: 0,
    };
    let mounts = session.mounts();
    let mount = mounts.secrets.at(&MountPath::parse(MOUNT).unwrap()).unwrap();
    let mut found = [0; WRITERS];
    for (writer, version) in found.iter_mut().enumerate() {
        let target = KvTarget::new(mount.clone(), SecretPath::parse(&format!("w{writer}")).unwrap());
        *version = kv::read_metadata(&requester.of(session), &target).await.unwrap().current;
    }
    found
}

/// Entries of writes in a log.
async fn writes(session: &Session, entries: u64) -> u64 {
    let filter =
        Filter { actions: vec![Action::SecretWrite], outcome: Some(Outcome::Allowed), ..Filter::default() };
    let reader = LogReader::new(session.rows.shared_store());
    let (unsealed, mut count, mut from) = (session.unsealed(), 0, 0);
    loop {
        let range = Range { from, until: entries, newest_first: false, limit: 1000, counts_only: false };
        let page = reader.search(&unsealed.audit(), unsealed.deployment(), &filter, range).await.unwrap();
        count += page.found.len() as u64;
        match page.rest {
            Some(rest) => from = rest.from,
            None => return count,
        }
    }
}

async fn take(client: &Operator, card: &str, to: &Path) {
    let mut pieces = client.backup(&[card.to_owned()]).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    std::fs::write(to, bytes).unwrap();
}

/// Rows and entries of one moment: every write that was acknowledged before, none that came later, and as
/// many entries as versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_backups_under_load_are_each_a_prefix_of_what_was_acknowledged() {
    let site = Site::open(CALM).await;
    for writer in 0..WRITERS {
        site.write(&format!("w{writer}"), "the first").await;
    }
    let history = Arc::new(History::default());
    history.begun.iter().chain(&history.answered).for_each(|count| count.store(1, Ordering::SeqCst));
    let root = site.world.client_as(&site.root).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (history, root) = (Arc::clone(&history), root.clone());
            tokio::spawn(async move { history.write_on(&root, writer).await })
        })
        .collect();
    let (keys, card) = recipient();
    let log_key: VerifierKey = site.log_key.parse().unwrap();
    let live = site.world.session().unwrap();
    let (backup, store) = (site.world.path("b.backup"), site.world.path("restored.redb"));
    for round in 0..BACKUPS {
        let before = History::seen(&history.answered);
        take(&root, &card, &backup).await;
        let after = History::seen(&history.begun);
        let whole = check(file(&backup).await.unwrap(), None).await.unwrap();
        let restored = restore(file(&backup).await.unwrap(), keys.sealing().unwrap(), Some(&log_key), &store)
            .await
            .unwrap();
        assert_eq!(whole.bytes, restored.whole.bytes);
        let opened = Arc::new(EmbeddedStore::open(&store, CACHE_BYTES_DEFAULT).unwrap());
        let session = open_alone(&live, Arc::clone(&opened) as _).await;
        let found = versions(&session, &site.root).await;
        for writer in 0..WRITERS {
            let (least, most) = (before[writer], after[writer]);
            assert!(
                (least..=most).contains(&found[writer]),
                "round {round}: {found:?}, {before:?} to {after:?}"
            );
        }
        let logged = writes(&session, restored.entries).await;
        assert_eq!(logged, found.iter().sum::<u64>(), "round {round}: an entry for each version");
        drop(session);
        opened.close().await.unwrap();
        std::fs::remove_file(&store).unwrap();
    }
    history.over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
}

/// A broker with this plan, whose recipient's card lies in its directory.
async fn planned(plan: &str) -> (Site, KeyPair) {
    let (keys, card) = recipient();
    let mut world = World::new(CALM, None).unwrap();
    std::fs::write(world.path("ops.card"), card).unwrap();
    let path = world.path("ops.card");
    world.tables(&format!("[metrics]\nopen = true\n[backup]\nrecipients = [{:?}]\n{plan}", path));
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let site = Site::initialise(world).await;
    site.begin().await;
    (site, keys)
}

async fn last(site: &Site) -> Value {
    site.get("sys/seal-status", "").await.expect(200).json()["backup"].clone()
}

pub async fn until_backup(site: &Site, name_before: &Value) -> Value {
    let looking = until("a backup in its place", || async {
        let backup = last(site).await;
        Ok((!backup["last"].is_null() && backup["last"]["name"] != *name_before).then_some(backup))
    });
    looking.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_fills_its_place_and_prunes_the_oldest() {
    let place = tempfile::tempdir().unwrap();
    let (mut site, _) = planned(&format!("to = {:?}\nkeep = 2", place.path())).await;
    let first = until_backup(&site, &Value::Null).await;
    assert_eq!(first["failed"], "");
    let told = site.send(site.request("GET", "metrics")).await.expect(200).text;
    let newest = told.lines().find_map(|line| line.strip_prefix("symbolon_backup_timestamp_seconds "));
    assert!(newest.is_some_and(|at| at.parse::<f64>().unwrap() > 1.7e9), "{told}");
    assert!(told.contains("symbolon_backup_failed 0"), "{told}");
    let mut name = first["last"]["name"].clone();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1100)).await; // names are to the second
        site.root_put("sys/symbolon/backup", &json!({})).await.expect(204);
        name = until_backup(&site, &name).await["last"]["name"].clone();
    }
    let names = Place::open(place.path().to_str().unwrap(), None).unwrap().names().await.unwrap();
    assert_eq!((names.len(), names.last().unwrap().as_str()), (2, name.as_str().unwrap()));
    site.restart(async |_| ()).await;
    assert!(last(&site).await["last"].is_null(), "a sealed broker cannot know");
    site.unseal().await;
    assert_eq!(until_backup(&site, &Value::Null).await["last"]["name"], name, "and no second one is made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_written_is_an_alarm() {
    let place = tempfile::tempdir().unwrap();
    let gone = place.path().join("not mounted");
    let (site, _) = planned(&format!("to = {gone:?}")).await;
    let waiting = until("the alarm", || async {
        let status = site.get("sys/seal-status", "").await.expect(200).json();
        let alarm = status["alarms"]
            .as_array()
            .unwrap()
            .iter()
            .any(|alarm| alarm.as_str().unwrap().contains("backup"));
        Ok((alarm && status["backup"]["failed"] != "").then_some(()))
    });
    waiting.await.unwrap();
    site.write("app/db", "served all the same").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_need_sudo_and_leave_entries_before_and_after() {
    let site = Site::open(CALM).await;
    let (_, card) = recipient();
    let body = json!({ "cards": [card] }).to_string();
    let token = site.token_with("b", r#"path "sys/symbolon/backup/*" { capabilities = ["update"] }"#).await;
    site.ask("PUT", "sys/symbolon/backup/stream", &token, &body).await.expect(403);
    site.ask("PUT", "sys/symbolon/backup/stream", "", &body).await.expect(403);
    let nobody = site.ask("PUT", "sys/symbolon/backup/stream", &site.root, "{}").await.expect(400);
    assert!(nobody.text.contains("nobody could open"), "{}", nobody.text);
    let none = site.root_put("sys/symbolon/backup", &json!({})).await;
    assert!(none.status == 400 && none.text.contains("no place"), "{}", none.text);
    let token =
        site.token_with("c", r#"path "sys/symbolon/backup/*" { capabilities = ["update", "sudo"] }"#).await;
    take(&site.world.client_as(&token).unwrap(), &card, &site.world.path("b.backup")).await;
    let waiting = until("the entry after it", || async {
        let found =
            site.root_get("sys/symbolon/audit?action=backup&outcome=allowed").await.expect(200).json();
        let entries = found["data"]["events"].as_array().unwrap().clone();
        Ok((entries.len() == 2).then_some(entries))
    });
    let entries = waiting.await.unwrap();
    assert!(entries[1]["target"]["object"].as_str().unwrap().contains("for ops ("), "{entries:?}");
    assert!(entries[0]["target"]["object"].as_str().unwrap().contains("was given out whole"), "{entries:?}");
}

/// moto: a server that speaks S3, in its own process.
struct Moto {
    server: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Moto {
    async fn start() -> Option<Self> {
        let server = tools::python()?.with_file_name("moto_server");
        let found = server.exists().then_some(server);
        let server = needs("moto", "run ./test, which installs tests/hvac/requirements.txt", found)?;
        let address = free_port().unwrap();
        let mut command = Command::new(server);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto = Self { server, endpoint: format!("http://{address}") };
        let http = reqwest::Client::new();
        let bucket = until("a bucket", || async {
            let made = http.put(format!("{}/vault", moto.endpoint)).send().await;
            Ok(made.is_ok_and(|made| made.status().is_success()).then_some(()))
        });
        bucket.await.unwrap();
        Some(moto)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_backups_as_a_directory_does() {
    let Some(moto) = Moto::start().await else { return };
    let home = tempfile::tempdir().unwrap();
    let (id, secret) = (home.path().join("id"), home.path().join("secret"));
    std::fs::write(&id, "AKIATEST\n").unwrap();
    std::fs::write(&secret, "not a secret\n").unwrap();
    let plan = format!(
        "to = \"s3://vault/brokers/home\"\nkeep = 1\n[backup.bucket]\nendpoint = {:?}\naccess_key_id_file = {id:?}\nsecret_access_key_file = {secret:?}\n",
        moto.endpoint
    );
    let (site, keys) = planned(&plan).await;
    let first = until_backup(&site, &Value::Null).await;
    for number in 0..12 {
        site.write(&format!("large/{number}"), &"x".repeat(700_000)).await; // more than one part
    }
    site.root_put("sys/symbolon/backup", &json!({})).await.expect(204);
    let second = until_backup(&site, &first["last"]["name"]).await;
    let bucket = Bucket {
        endpoint: Some(moto.endpoint.clone()),
        access_key_id_file: Some(id),
        secret_access_key_file: Some(secret),
        ..Bucket::default()
    };
    let place = Place::open("s3://vault/brokers/home", Some(&bucket)).unwrap();
    let name = second["last"]["name"].as_str().unwrap();
    let pruned = until("the end of the first one", || async {
        Ok((place.names().await.unwrap() == [name]).then_some(()))
    });
    pruned.await.unwrap();
    let listed = place.list().await.unwrap();
    assert_eq!(listed[0].about.as_ref().unwrap().entries, second["last"]["entries"]);
    assert!(listed[0].bytes > 8 << 20, "{}", listed[0].bytes);
    let store = home.path().join("restored.redb");
    let key: VerifierKey = site.log_key.parse().unwrap();
    restore(place.get(name).await.unwrap(), keys.sealing().unwrap(), Some(&key), &store).await.unwrap();
    drop(moto);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    site.root_put("sys/symbolon/backup", &json!({})).await.expect(204);
    site.write("app/db", "served while the bucket is away").await;
}

/// A server that takes everything and gives back something else. Who asked for what, in order.
async fn forgetful() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, asked) =
        (format!("http://{}", listener.local_addr().unwrap()), Arc::<Mutex<Vec<_>>>::default());
    let said = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_wrongly(stream, Arc::clone(&said)));
        }
    });
    (endpoint, asked)
}

async fn answer_wrongly(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    let method = head.split(' ').next().unwrap().to_owned();
    let modified = "last-modified: Mon, 30 Nov 2026 12:00:00 GMT\r\netag: \"x\"";
    let answer = match method.as_str() {
        "PUT" => "HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HEAD" => format!("HTTP/1.1 200 OK\r\n{modified}\r\ncontent-length: 7\r\n\r\n"),
        "GET" => format!(
            "HTTP/1.1 206 Partial\r\n{modified}\r\ncontent-range: bytes 0-6/7\r\ncontent-length: 7\r\n\r\nnothing"
        ),
        _ => "HTTP/1.1 204 None\r\n\r\n".to_owned(),
    };
    asked.lock().unwrap().push(method);
    let closing = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    stream.write_all(closing.as_bytes()).await.unwrap();
}

/// It would be counted among the newest otherwise, and older ones be removed for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_back_whole_does_not_stay_and_strangers_learn_no_address() {
    let home = tempfile::tempdir().unwrap();
    let (id, secret) = (home.path().join("id"), home.path().join("secret"));
    std::fs::write(&id, "AKIATEST\n").unwrap();
    std::fs::write(&secret, "not a secret\n").unwrap();
    let (endpoint, asked) = forgetful().await;
    let plan = format!(
        "to = \"s3://vault\"\n[backup.bucket]\nendpoint = {endpoint:?}\naccess_key_id_file = {id:?}\nsecret_access_key_file = {secret:?}\n"
    );
    let (site, _) = planned(&plan).await;
    let failing = until("the failure", || async {
        let backup = last(&site).await;
        Ok((backup["failed"] != "").then_some(backup))
    });
    let told = failing.await.unwrap();
    assert!(told["failed"].as_str().unwrap().contains("read back whole"), "{told}");
    assert!(!told.to_string().contains("127.0.0.1") && told["last"].is_null(), "{told}");
    assert_eq!(*asked.lock().unwrap(), ["PUT", "HEAD", "GET", "DELETE"]);
    let state = site.root_get("sys/symbolon/backup").await.expect(200).json();
    assert!(state["data"]["failed"].as_str().unwrap().contains("not a backup"), "{state}");
    let entered = until("the entry", || async {
        let entries = site.root_get("sys/symbolon/audit?action=backup").await.expect(200).json();
        Ok(entries.to_string().contains("no backup was made: it could not be read back").then_some(()))
    });
    entered.await.unwrap();
}
