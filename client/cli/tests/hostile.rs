//! A thousand hostile connections against both servers, and a good client that does not notice.
//!
//! Real processes: what they have in memory is theirs alone. A short round runs with all tests, a long one in
//! `.ci/nightly`: `SYMBOLON_SOAK_SECS` says how long, `SYMBOLON_SOAK_P99_MS` what the good client may wait.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[path = "hostile/mod.rs"]
mod hostile;
#[path = "support/secrets.rs"]
mod secrets;
#[allow(dead_code)] // as above
mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::{Map, Value, json};
use symbolon::{Cas, Client, SecretData, Token};
use symbolon_repository::machine;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::deployment::{Deployment, Programs};
use crate::hostile::Target;

/// Hostile connections at once.
const HOSTILE: usize = 1000;
/// Most that either server may ever have in memory, in KiB.
const RESIDENT_KIB_MAX: u64 = 96 << 10;
/// Reads a second of the good client, on so many connections.
const READS_PER_SEC: u32 = 200;
const READERS: u32 = 4;

#[allow(clippy::disallowed_methods)] // nobody configures a test
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The most that a process has had in memory since it began, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// An address of this machine that is not loopback. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

/// Listens on every address, so that attackers come from elsewhere than the operator. With the token of a
/// neighbour who has a place for one secret.
fn open_to_all() -> (Deployment, String) {
    let mut deployment = Deployment::start(Programs::default(), |_| String::new());
    deployment.restart_broker(|home| {
        let path = home.join("broker.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:")).unwrap();
    });
    deployment.unseal();
    secrets::mount(&deployment);
    let policy = r#"path "secret/data/neighbour" { capabilities = ["create", "read", "update"] }"#;
    std::fs::write(deployment.path("neighbour.hcl"), policy).unwrap();
    deployment.as_root(&["policy", "write", "neighbour", "neighbour.hcl"]).expect(0);
    let made =
        deployment.as_root(&["token", "create", "--policy", "neighbour", "--output", "json"]).expect(0);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    (deployment, token)
}

/// Somebody with rights.
#[derive(Clone)]
struct Good {
    address: String,
    ca: Vec<u8>,
    token: String,
}

impl Good {
    fn of(deployment: &Deployment) -> Self {
        let ca = std::fs::read(deployment.path("ca.pem")).unwrap();
        Self { address: deployment.address.clone(), ca, token: deployment.root_token.clone() }
    }

    /// With connections of its own. It does not try again.
    fn client(&self) -> Client {
        let token = Token::new(&self.token).unwrap();
        let builder = Client::builder(&self.address).ca_pem(&self.ca).token(token);
        builder.retry_within(Duration::ZERO).build().unwrap()
    }

    async fn read(&self, client: &Client) -> Duration {
        let began = Instant::now();
        let read = client.kv("secret").get::<Map<String, Value>>("app/db").await;
        read.expect("the good client is served");
        began.elapsed()
    }

    /// Reads at an even pace until then; what each took. Now and then somebody reads who comes anew: that
    /// must succeed, and is not counted.
    async fn read_on(self, until: Instant) -> Vec<Duration> {
        let kept = self.client();
        let mut took = Vec::new();
        let mut pace = tokio::time::interval(Duration::from_secs(1) * READERS / READS_PER_SEC);
        while Instant::now() < until {
            pace.tick().await;
            took.push(self.read(&kept).await);
            if took.len() % 50 == 0 {
                self.read(&self.client()).await;
            }
        }
        took
    }
}

/// The one that so many of a hundred do not exceed.
fn percentile(took: &mut [Duration], of_100: usize) -> Duration {
    took.sort();
    took[took.len() * of_100 / 100]
}

fn begin_attacks(deployment: &Deployment, neighbour: &str) -> JoinSet<()> {
    let port = deployment.address.rsplit(':').next().unwrap().parse().unwrap();
    let elsewhere = own_address();
    if elsewhere.is_none() {
        machine::skip("an address besides loopback");
    }
    let broker = |from: IpAddr| Target::broker(SocketAddr::new(from, port), neighbour);
    let here = IpAddr::from([127, 0, 0, 1]);
    let targets = [
        (broker(elsewhere.unwrap_or(here)), HOSTILE / 2),
        (broker(here), HOSTILE / 4),
        (Target::fragment(deployment.fragment_address), HOSTILE / 4),
    ];
    let mut attackers = JoinSet::new();
    for (target, count) in targets {
        (0..count)
            .for_each(|number| drop(attackers.spawn(target.attack(number).repeat(target.clone(), number))));
    }
    attackers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_hostile_connections_go_unnoticed() {
    let (deployment, neighbour) = tokio::task::spawn_blocking(open_to_all).await.unwrap();
    let value = SecretData::new(Map::from_iter([("password".to_owned(), json!("s3cret"))]));
    let good = Good::of(&deployment);
    good.client().kv("secret").put("app/db", &value, Cas::Any).await.unwrap();

    let mut attackers = begin_attacks(&deployment, &neighbour);
    let until = Instant::now() + Duration::from_secs(setting("SYMBOLON_SOAK_SECS").unwrap_or(15));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(good.clone().read_on(until));
    }
    let mut took: Vec<Duration> = readers.join_all().await.into_iter().flatten().collect();
    let attacks = hostile::attacks();
    attackers.abort_all();
    let (p50, p99) = (percentile(&mut took, 50), percentile(&mut took, 99));
    let peaks = deployment.pids().map(peak_kib);
    #[allow(clippy::print_stdout)] // the figures, for whoever asks with --nocapture
    {
        println!("{} reads, p50 {p50:?}, p99 {p99:?}; {attacks} attacks; peaks {peaks:?} KiB", took.len());
    }
    assert!(peaks.iter().all(|peak| *peak <= RESIDENT_KIB_MAX), "{peaks:?} KiB of memory");
    if let Some(most) = setting("SYMBOLON_SOAK_P99_MS") {
        assert!(p99 <= Duration::from_millis(most), "{p99:?}");
    }
}
