//! An init whose answer does not arrive, on real processes: the same command again has everything in hand.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[allow(dead_code)] // as above
mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use symbolon_proto::fingerprint::Fingerprint;

use crate::deployment::{Deployment, Programs, until};
use crate::support::{command, run};

const HOLDERS: [&str; 8] = ["--shares", "2", "--threshold", "2", "--custodian", "Ann", "--custodian", "Bob"];
/// The same with cards.
const ENVELOPES: [&str; 9] =
    ["--threshold", "2", "--card", "ann.card", "--card", "bob.card", "--envelopes", "handed", "--yes"];
const CARDS: [&str; 2] = ["ann", "bob"];
/// Exit code: sealed, unreachable or too slow.
const UNAVAILABLE: i32 = 5;

/// A network between a client and the broker that loses what one of them says.
struct Network {
    address: String,
    is_lossy: Arc<AtomicBool>,
    /// Loses what clients say.
    is_deaf: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Network {
    fn to(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (is_lossy, is_deaf) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let open = Arc::<Mutex<Vec<TcpStream>>>::default();
        let network = Self {
            address: format!("https://{}", listener.local_addr().unwrap()),
            is_lossy: Arc::clone(&is_lossy),
            is_deaf: Arc::clone(&is_deaf),
            open: Arc::clone(&open),
        };
        let broker = broker.trim_start_matches("https://").to_owned();
        apart(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&broker) else { continue };
                open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (to_server, from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (is_lossy, is_deaf) = (Arc::clone(&is_lossy), Arc::clone(&is_deaf));
                apart(move || carry(from_client, to_server, &is_deaf));
                apart(move || carry(server, client, &is_lossy));
            }
        });
        network
    }

    /// From now on nothing that the broker says arrives.
    fn lose(&self) {
        self.is_lossy.store(true, Ordering::SeqCst);
    }

    /// From now on nothing that clients say arrives.
    fn hear_nothing(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    fn hear_again(&self) {
        self.is_deaf.store(false, Ordering::SeqCst);
    }

    fn cut(&self) {
        self.open.lock().unwrap().iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

/// On a thread that ends with the connections of the test.
fn apart(work: impl FnOnce() + Send + 'static) {
    drop(thread::Builder::new().name("network".to_owned()).spawn(work).unwrap());
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_lossy: &AtomicBool) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !is_lossy.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Both servers. The broker keeps an answer that is not confirmed for as long as it takes to see it.
fn uninitialised() -> Deployment {
    let mut deployment = Deployment::uninitialised(Programs::default(), |home| {
        for name in CARDS {
            let out = format!("{name}.key");
            let keygen = ["custodian", "keygen", "--name", name, "--out", &out, "--memory", "64"];
            std::fs::write(home.join("phrase"), "correct horse battery staple\n").unwrap();
            let args = [&keygen[..], &["--passphrase-file", "phrase", "--output", "json"]].concat();
            let made = run(command(&args).current_dir(home), "").expect(0).stdout;
            let made: Value = serde_json::from_str(&made).unwrap();
            std::fs::write(home.join(format!("{name}.card")), made["card"].as_str().unwrap()).unwrap();
        }
        String::new()
    });
    deployment.restart_broker(|home| {
        let config = std::fs::read_to_string(home.join("broker.toml")).unwrap();
        let config = config.replace("allow = true", "allow = true\nconfirm_secs = 2");
        std::fs::write(home.join("broker.toml"), config).unwrap();
    });
    deployment
}

/// An init that has been approved, over a network that has lost its answer or, if that arrived, what the
/// client says to it.
struct Lost {
    deployment: Deployment,
    network: Network,
    client: Child,
}

impl Lost {
    fn now() -> Self {
        Self::at(&HOLDERS, Network::lose)
    }

    fn at(holders: &[&str], lose: impl FnOnce(&Network)) -> Self {
        let deployment = uninitialised();
        let network = Network::to(&deployment.address);
        let args = [&["operator", "init", "--recovery", "none"], holders].concat();
        let mut command = deployment.command(&args);
        command.env("SYMBOLON_ADDR", &network.address).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut client = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(client.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
        let fingerprint = told.find_map(|line| line.parse::<Fingerprint>().ok()).unwrap();
        lose(&network);
        let approve = ["fragment", "approve", &fingerprint.to_string()];
        until("the approval", || deployment.run(&approve, "").code == 0);
        let log = deployment.path("broker.log");
        until("the answer", || {
            let log = std::fs::read_to_string(&log).unwrap();
            log.contains("a deployment is made") || log.contains("initialised; the broker is sealed")
        });
        Self { deployment, network, client }
    }

    /// Waits for the client. It has shown nothing.
    fn end(self, code: Option<i32>) -> Deployment {
        let done = self.client.wait_with_output().unwrap();
        assert_eq!((done.status.code(), done.stdout.as_slice()), (code, &b""[..]));
        self.deployment
    }
}

/// Everything of an init is in hand: shares open the broker, and the root token reads.
fn check_in_hand(deployment: &Deployment) {
    assert_eq!(deployment.shares.len(), 2);
    deployment.unseal();
    let own = run(deployment.command(&["token", "lookup"]).env("SYMBOLON_TOKEN", &deployment.root_token), "");
    own.expect(0);
}

fn keys(deployment: &Deployment) -> usize {
    let status = deployment.run(&["fragment", "status"], "").expect(0).stdout;
    status.lines().filter(|line| line.starts_with("key ")).count()
}

#[test]
fn an_answer_that_the_network_loses_costs_one_more_init_and_no_approval() {
    let lost = Lost::now();
    lost.network.cut();
    let mut deployment = lost.end(Some(UNAVAILABLE));
    let status = deployment.run(&["operator", "status"], "").stdout;
    assert!(status.contains("not initialised"), "{status}");
    deployment.init(&HOLDERS);
    check_in_hand(&deployment);
    assert_eq!(keys(&deployment), 1, "the key that was approved is the one in use");
}

#[test]
fn a_client_that_is_killed_before_it_has_shown_the_answer_costs_nothing() {
    let mut lost = Lost::now();
    lost.client.kill().unwrap();
    let mut deployment = lost.end(None);
    deployment.init(&HOLDERS);
    check_in_hand(&deployment);
    assert_eq!(keys(&deployment), 1);
}

#[test]
fn a_broker_that_stops_before_the_receipt_has_lost_nothing_but_a_key_that_its_service_lists() {
    let mut lost = Lost::now();
    lost.deployment.restart_broker(|_| ());
    lost.network.cut();
    let mut deployment = lost.end(Some(UNAVAILABLE));
    deployment.init(&HOLDERS);
    check_in_hand(&deployment);
    assert_eq!(keys(&deployment), 2);
    let listed = deployment.run(&["fragment", "orphans", "--output", "json"], "").expect(0).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let remove = ["fragment", "orphans", "--remove", listed[0]["key"].as_str().unwrap()];
    deployment.run(&remove, "").expect(0);
    assert_eq!(keys(&deployment), 1);
    deployment.run(&["operator", "status"], "").expect(0);
}

/// Files in the folder for envelopes.
fn handed(deployment: &Deployment) -> BTreeSet<String> {
    let files = std::fs::read_dir(deployment.path("handed")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn names(ending: &str) -> BTreeSet<String> {
    (1..=2).map(|x| format!("custodian-{x}.envelope{ending}")).collect()
}

/// Both give the share of their envelope, by the fingerprint on the console.
fn check_envelopes(deployment: &Deployment) {
    let console = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
    let line = console.lines().rfind(|line| line.contains("custodians compare this")).unwrap();
    let fingerprint = line.split_once("fingerprint=").unwrap().1;
    for (name, x) in CARDS.iter().zip(1..) {
        let (key, envelope) = (format!("{name}.key"), format!("handed/custodian-{x}.envelope"));
        let submit =
            ["custodian", "submit", "--key", &key, "--passphrase-file", "phrase", "--envelope", &envelope];
        deployment.run(&[&submit[..], &["--expect-fingerprint", fingerprint]].concat(), "").expect(0);
    }
    deployment.run(&["operator", "status"], "").expect(0);
}

#[test]
fn envelopes_of_an_init_that_is_killed_before_the_receipt_are_named_and_replaced() {
    let mut lost = Lost::at(&ENVELOPES, Network::hear_nothing);
    let mut shown = BufReader::new(lost.client.stdout.take().unwrap()).lines().map_while(Result::ok);
    shown.find(|line| line.contains("ceremony begin drill")).unwrap(); // the last line
    lost.client.kill().unwrap();
    lost.client.wait().unwrap();
    let mut deployment = lost.deployment;
    assert_eq!(handed(&deployment), names(".unconfirmed"));
    let void = std::fs::read(deployment.path("handed/custodian-1.envelope.unconfirmed")).unwrap();
    let again = deployment.init(&ENVELOPES);
    assert!(again.contains("begins no other"), "{again}");
    for name in names(".unconfirmed") {
        assert!(again.contains(&format!("handed/{name}")), "{again}");
    }
    assert_eq!(handed(&deployment), names(""));
    assert_ne!(std::fs::read(deployment.path("handed/custodian-1.envelope")).unwrap(), void);
    check_envelopes(&deployment);
}

#[test]
fn envelopes_of_an_answer_that_is_void_go_and_are_made_again() {
    let mut lost = Lost::at(&ENVELOPES, Network::hear_nothing);
    until("the envelopes", || handed(&lost.deployment) == names(".unconfirmed"));
    lost.deployment.restart_broker(|_| ());
    lost.network.hear_again();
    lost.network.cut();
    let mut deployment = lost.deployment;
    let done = lost.client.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().contains("worth nothing"));
    assert_eq!(handed(&deployment), BTreeSet::new());
    deployment.init(&ENVELOPES);
    check_envelopes(&deployment);
}
