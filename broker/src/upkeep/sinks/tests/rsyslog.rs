//! The real receiver of syslog: Debian's rsyslog, on this machine.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use symbolon_repository::machine;

use super::*;
use crate::audit::sinks::error::Fault;

const DAEMON: &str = "/usr/sbin/rsyslogd";

/// What it writes of each message, and what it waits with before it reads on: nothing. Whoever is told that a
/// connection has ended is told so after everything before was written.
const HEAD: &str = r#"
global(workDirectory="$HOME" maxMessageSize="64k")
main_queue(queue.type="Direct")
template(name="all" type="string" string="%pri% %protocol-version% %timestamp:::date-rfc3339% %hostname% %app-name% %procid% %msgid% %structured-data% %msg%\n")
"#;
const TAIL: &str = r#"
action(type="omfile" file="$HOME/got" template="all")
"#;

/// A running rsyslog. It ends with this.
struct Rsyslog {
    home: tempfile::TempDir,
    child: Child,
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it is there, with its TLS driver.
fn is_there() -> Option<()> {
    let driver = |cpu| format!("/usr/lib/{cpu}-linux-gnu/rsyslog/lmnsd_gtls.so");
    let has_tls = ["x86_64", "aarch64"].iter().any(|cpu| Path::new(&driver(cpu)).exists());
    if has_tls && Path::new(DAEMON).exists() {
        return Some(());
    }
    machine::skip("rsyslogd, of Debian's packages rsyslog and rsyslog-gnutls");
    None
}

fn launch(home: &Path) -> Child {
    let mut daemon = Command::new(DAEMON);
    daemon.arg("-n").arg("-f").arg(home.join("conf")).arg("-i").arg(home.join("pid"));
    daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Rsyslog {
    /// With these inputs.
    fn start(inputs: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let conf = format!("{HEAD}{inputs}{TAIL}").replace("$HOME", home.path().to_str().unwrap());
        std::fs::write(home.path().join("conf"), conf).unwrap();
        let child = launch(home.path());
        Self { home, child }
    }

    /// As by `kill -9`.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = std::fs::remove_file(self.home.path().join("pid"));
    }

    fn revive(&mut self) {
        self.child = launch(self.home.path());
    }

    fn got(&self) -> String {
        std::fs::read_to_string(self.home.path().join("got")).unwrap_or_default()
    }

    /// The messages, field by field.
    fn messages(&self) -> Vec<Vec<String>> {
        let mut got = self.got();
        got.truncate(got.rfind('\n').map_or(0, |end| end + 1)); // it may be writing the next one
        let fields = |line: &str| {
            let mut fields: Vec<String> = line.splitn(8, ' ').map(str::to_owned).collect();
            let rest = fields.pop().unwrap();
            let (data, text) = rest.split_once("] ").unwrap_or_else(|| panic!("{line}"));
            fields.extend([format!("{data}]"), text.to_owned()]);
            fields
        };
        got.lines().filter(|line| line.contains("symbolon")).map(fields).collect()
    }

    fn indices(&self) -> Vec<u64> {
        let index = |fields: &Vec<String>| index(&serde_json::from_str(&fields[8]).unwrap());
        self.messages().iter().map(index).collect()
    }
}

/// A port that is free, below those that the system gives to others meanwhile.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1000).unwrap() * 10;
    let ports = (0..1000).map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::SeqCst)) % 10_000);
    let is_free = |port: &u16| {
        let here = (Ipv4Addr::LOCALHOST, *port);
        UdpSocket::bind(here).is_ok() && std::net::TcpListener::bind(here).is_ok()
    };
    ports.into_iter().find(is_free).unwrap()
}

fn sink(transport: &str, to: &str) -> String {
    format!(
        "[[audit.sinks]]\nname = \"one\"\nkind = \"syslog\"\ntransport = \"{transport}\"\nto = \"{to}\"\n"
    )
}

impl World {
    async fn reaches(&self, daemon: &Rsyslog) {
        self.arrive().await;
        let all = self.session.entries();
        for _ in 0..2000 {
            if daemon.messages().len() as u64 >= all {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(whole(daemon.indices()), all, "{:?}", self.state());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_reads_every_field_over_tcp() {
    if is_there().is_none() {
        return;
    }
    let port = port();
    let daemon = Rsyslog::start(&format!("module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{port}\")"));
    let world = World::running(&(sink("tcp", &format!("127.0.0.1:{port}")) + "hostname = \"b1\"\n")).await;
    world.grow(700).await;
    world.reaches(&daemon).await;
    for fields in daemon.messages() {
        let event: Event = serde_json::from_str(&fields[8]).unwrap();
        let denied = if event.outcome == "denied" { 4 } else { 6 };
        assert_eq!(fields[0], (13 * 8 + denied).to_string());
        let time = event.time.replace('Z', "+00:00");
        assert!(fields[2] == event.time || fields[2] == time, "{fields:?}");
        assert_eq!([&fields[1], &fields[3], &fields[4], &fields[5]], ["1", "b1", "symbolon", "-"]);
        assert_eq!(
            (&fields[6], &fields[7]),
            (&event.action, &format!("[meta sequenceId=\"{}\"]", event.index + 1))
        );
    }
    names_nobody(&daemon.got());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_rsyslog_misses_nothing_over_tcp() {
    if is_there().is_none() {
        return;
    }
    let port = port();
    let mut daemon =
        Rsyslog::start(&format!("module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{port}\")"));
    let world = World::running(&sink("tcp", &format!("127.0.0.1:{port}"))).await;
    world.grow(300).await;
    world.reaches(&daemon).await;
    for _ in 0..3 {
        world.grow(200).await; // some of it is under way
        daemon.kill();
        world.grow(200).await;
        world.wait("it fails", || world.state().failed.is_some()).await;
        daemon.revive();
        world.reaches(&daemon).await;
    }
}

/// It takes the connection, and everything that fits into the buffers of the two kernels, and reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_syslog_that_never_reads_is_told_and_misses_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::running(&sink("tcp", &format!("127.0.0.1:{port}"))).await;
    world.grow(300).await;
    world.wait("it fails", || world.state().failed == Some(Fault::Silent)).await;
    assert_eq!(world.state().next, Some(0), "what a kernel has nobody has read");
    drop(listener);
    if is_there().is_none() {
        return;
    }
    let daemon = Rsyslog::start(&format!("module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{port}\")"));
    world.reaches(&daemon).await;
}

fn tls(port: u16) -> String {
    format!(
        r#"
global(defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="$HOME/cert"
       defaultNetstreamDriverCertFile="$HOME/cert" defaultNetstreamDriverKeyFile="$HOME/key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" port="{port}")
"#
    )
}

/// A certificate of its own; PEM of it.
fn certify(daemon: &Rsyslog) -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(daemon.home.path().join("cert"), made.cert.pem()).unwrap();
    std::fs::write(daemon.home.path().join("key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_rsyslog_with_another_certificate_gets_nothing_over_tls_until_it_is_known() {
    if is_there().is_none() {
        return;
    }
    let port = port();
    let mut daemon = Rsyslog::start(&tls(port));
    daemon.kill(); // it wants its certificate at once
    let first = certify(&daemon);
    daemon.revive();
    let mut world = World::new("").await;
    std::fs::write(world.file("ca"), first).unwrap();
    let sink = sink("tls", &format!("127.0.0.1:{port}")) + "ca_file = \"$HOME/ca\"\n";
    world.configure(&sink);
    world.run();
    world.grow(300).await;
    // its gtls ends the connection without the end of TLS
    world.wait("its end is not taken", || world.state().detail.contains("unsigned_end")).await;
    assert_eq!(world.state().next, Some(0));
    world.configure(&(sink + "unsigned_end = true\n"));
    world.reaches(&daemon).await;
    daemon.kill();
    let second = certify(&daemon);
    daemon.revive();
    let before = daemon.messages().len();
    world.grow(300).await;
    world.wait("it is somebody else", || world.state().failed == Some(Fault::Certificate)).await;
    assert_eq!(daemon.messages().len(), before);
    std::fs::write(world.file("ca"), second).unwrap();
    world.reaches(&daemon).await;
}

/// On this machine nothing is lost on the way, if it is not sent faster than it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_reads_datagrams_of_udp_and_of_a_unix_socket() {
    if is_there().is_none() {
        return;
    }
    let (port, home) = (port(), tempfile::tempdir().unwrap());
    let socket = home.path().join("socket");
    let socket = socket.to_str().unwrap();
    let inputs = format!(
        "module(load=\"imudp\")\ninput(type=\"imudp\" port=\"{port}\" rcvbufSize=\"4m\")\n\
         module(load=\"imuxsock\" sysSock.use=\"off\")\n\
         input(type=\"imuxsock\" socket=\"{socket}\" useSpecialParser=\"off\" parseHostname=\"on\" rateLimit.interval=\"0\")\n"
    );
    for (transport, to) in [("udp", format!("127.0.0.1:{port}")), ("unix", socket.to_owned())] {
        let daemon = Rsyslog::start(&inputs);
        for _ in 0..1000 {
            if std::fs::exists(socket).unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut world = World::new(&sink(transport, &to)).await;
        world.grow(200).await;
        world.run();
        world.reaches(&daemon).await;
        drop(daemon);
        let _ = std::fs::remove_file(socket);
    }
}
