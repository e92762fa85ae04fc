//! Certificates and settings that change again and again under load, and signals: nobody notices, on real
//! processes.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[path = "support/secrets.rs"]
mod secrets;
#[allow(dead_code)] // as above
mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use symbolon::{Cas, Client, Token};
use symbolon_cli::Operator;
use symbolon_cli::demo::pki::ServerIdentity;
use symbolon_cli::demo::world;

use crate::deployment::{Deployment, Programs, until};

const RENEWALS: usize = 100;
/// Reads a second, of so many readers.
const READS_PER_SEC: u32 = 1000;
const READERS: u32 = 8;

fn hang_up(pid: u32) {
    assert!(Command::new("kill").args(["-HUP", &pid.to_string()]).status().unwrap().success());
}

/// Puts a pair where the broker looks for it. Not at once: as with most tools, the two files do not fit for a
/// moment.
fn put(deployment: &Deployment, identity: &ServerIdentity) {
    std::fs::write(deployment.path("broker.key"), identity.key_pem.as_bytes()).unwrap();
    std::fs::write(deployment.path("broker.pem"), &identity.cert_pem).unwrap();
}

/// Changes a setting that needs no restart.
fn set_version(deployment: &Deployment, version: &str) {
    let path = deployment.path("broker.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let others: Vec<&str> = config.lines().filter(|line| !line.starts_with("vault_compat")).collect();
    let changed = format!("vault_compatibility_version = \"{version}\"\n{}\n", others.join("\n"));
    std::fs::write(&path, changed).unwrap();
}

/// How many renewals, and changes of settings, the broker has taken over: the lower of both.
fn noticed(deployment: &Deployment) -> usize {
    let log = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
    let told = ["new connections get the renewed certificate", "the changed settings of the configuration"];
    told.map(|told| log.matches(told).count()).into_iter().min().unwrap()
}

/// Reads at an even pace until it is over; how many. Every tenth time somebody new reads.
async fn read_on(client: impl Fn() -> Client, over: Arc<AtomicBool>) -> u32 {
    let mut kept = client();
    let mut pace = tokio::time::interval(Duration::from_secs(1) * READERS / READS_PER_SEC);
    let mut reads = 0;
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        let read = kept.kv("secret").get::<Map<String, Value>>("app/db").await.expect("every read succeeds");
        assert_eq!(read.data["value"], "right");
        reads += 1;
        if reads % 10 == 0 {
            kept = client();
        }
    }
    reads
}

#[test]
fn certificates_and_settings_are_renewed_under_load() {
    let mut deployment = Deployment::start(Programs::default(), |_| String::new());
    deployment.unseal();
    secrets::mount(&deployment);
    let first_ca = std::fs::read_to_string(deployment.path("ca.pem")).unwrap();
    let other = ServerIdentity::for_loopback("renewed").unwrap();
    let pairs = [ServerIdentity::for_loopback("renewed again").unwrap(), other];
    let bundle = [first_ca.as_str(), &pairs[0].ca_pem, &pairs[1].ca_pem].concat().into_bytes();
    std::fs::write(deployment.path("ca.pem"), &bundle).unwrap();
    let (address, token) = (deployment.address.clone(), deployment.root_token.clone());
    let client = move || {
        let builder = Client::builder(&address).ca_pem(&bundle).token(Token::new(&token).unwrap());
        builder.retry_within(Duration::ZERO).build().unwrap()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let value = json!({ "value": "right" });
    runtime.block_on(client().kv("secret").put("app/db", &value, Cas::Any)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let began = tokio::time::Instant::now();
    let readers: Vec<_> =
        (0..READERS).map(|_| runtime.spawn(read_on(client.clone(), Arc::clone(&over)))).collect();
    for renewal in 0..RENEWALS {
        set_version(&deployment, &format!("1.16.{renewal}"));
        put(&deployment, &pairs[renewal % 2]);
        hang_up(deployment.pids()[0]);
        until("the renewal", || noticed(&deployment) > renewal);
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(40)).await });
    }
    over.store(true, Ordering::Relaxed);
    let reads: u32 = readers.into_iter().map(|reader| runtime.block_on(reader).unwrap()).sum();
    eprintln!("{reads} reads in {:.1} s", began.elapsed().as_secs_f64());
    assert!(reads > 1000, "{reads}");
    let status = runtime.block_on(Operator::from(client()).seal_status()).unwrap();
    assert_eq!(status.version, format!("1.16.{}", RENEWALS - 1));
    // Only the last one is served.
    std::fs::write(deployment.path("ca.pem"), &pairs[(RENEWALS - 1) % 2].ca_pem).unwrap();
    deployment.run(&["operator", "status"], "").expect(0);
    deployment.restart_broker(|_| ());
}

#[test]
fn a_hang_up_ends_no_server_and_what_cannot_be_used_is_in_the_status() {
    let deployment = Deployment::start(Programs::default(), |_| String::new());
    deployment.unseal();
    let status = || deployment.run(&["operator", "status"], "").expect(0).stdout;
    assert!(!status().contains("alarm"));
    std::fs::write(deployment.path("broker.pem"), "no certificate").unwrap();
    deployment.pids().into_iter().for_each(hang_up);
    until("the alarm", || status().contains("the certificate of before is served"));
    deployment.run(&["fragment", "status"], "").expect(0);
}

#[test]
fn numbers_are_opened_and_closed_without_a_restart() {
    let deployment = Deployment::start(Programs::default(), |_| String::new());
    let ca = reqwest::Certificate::from_pem(&std::fs::read(deployment.path("ca.pem")).unwrap()).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // for this client alone
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = async || {
        let asked = http.get(format!("{}/metrics", deployment.address)).send();
        asked.await.unwrap().status().as_u16()
    };
    assert_eq!(runtime.block_on(told()), 404);
    let closed = std::fs::read_to_string(deployment.path("broker.toml")).unwrap();
    for (config, status) in [(format!("{closed}[metrics]\nopen = true\n"), 200), (closed, 404)] {
        std::fs::write(deployment.path("broker.toml"), config).unwrap();
        hang_up(deployment.pids()[0]);
        let answered = world::until("another answer", async || Ok((told().await == status).then_some(())));
        runtime.block_on(answered).unwrap();
    }
}
