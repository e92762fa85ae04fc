//! An init whose answer does not arrive, on real processes: the same command again has everything in hand.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[allow(dead_code)] // as above
mod support;

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use symbolon_proto::fingerprint::Fingerprint;

use crate::deployment::{Deployment, Programs, until};
use crate::support::run;

const HOLDERS: [&str; 8] = ["--shares", "2", "--threshold", "2", "--custodian", "Ann", "--custodian", "Bob"];
/// Exit code: sealed, unreachable or too slow.
const UNAVAILABLE: i32 = 5;

/// A network between a client and the broker that loses what the broker says.
struct Network {
    address: String,
    is_lossy: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Network {
    fn to(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (is_lossy, open) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let network = Self {
            address: format!("https://{}", listener.local_addr().unwrap()),
            is_lossy: Arc::clone(&is_lossy),
            open: Arc::clone(&open),
        };
        let broker = broker.trim_start_matches("https://").to_owned();
        apart(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&broker) else { continue };
                open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (to_server, from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                apart(move || carry(from_client, to_server, &AtomicBool::new(false)));
                let is_lossy = Arc::clone(&is_lossy);
                apart(move || carry(server, client, &is_lossy));
            }
        });
        network
    }

    /// From now on nothing that the broker says arrives.
    fn lose(&self) {
        self.is_lossy.store(true, Ordering::SeqCst);
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

/// An init that has been approved, over a network that has lost its answer.
struct Lost {
    deployment: Deployment,
    network: Network,
    client: Child,
}

impl Lost {
    fn now() -> Self {
        let deployment = Deployment::uninitialised(Programs::default(), |_| String::new());
        let network = Network::to(&deployment.address);
        let args = [&["operator", "init", "--recovery", "none"], &HOLDERS[..]].concat();
        let mut command = deployment.command(&args);
        command.env("SYMBOLON_ADDR", &network.address).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut client = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(client.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
        let fingerprint = told.find_map(|line| line.parse::<Fingerprint>().ok()).unwrap();
        network.lose();
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
