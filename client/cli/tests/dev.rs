//! `symbolon dev`: what it keeps, what it leaves behind, and who reaches it.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // other tests use the rest
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use symbolon_cli::demo::world::{self, free_port};
use symbolon_repository::machine::needs;

use crate::support::{command, run};

/// A running `dev` with a temporary directory of its own.
struct Dev {
    process: Child,
    lines: Vec<String>,
}

impl Dev {
    /// Until it has said everything.
    fn start(temporary: &Path, args: &[&str]) -> Self {
        let mut dev = Self { process: begin(temporary, args), lines: Vec::new() };
        let lines = BufReader::new(dev.process.stdout.take().unwrap()).lines().map_while(Result::ok);
        for line in lines {
            dev.lines.push(line);
            if dev.lines.last().unwrap().starts_with("Ctrl-C stops") {
                return dev;
            }
        }
        panic!("it ended early: {:#?}", dev.lines);
    }

    fn fact(&self, name: &str) -> String {
        let line = self.lines.iter().map(|line| line.trim()).find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {:#?}", self.lines))[name.len()..].trim().to_owned()
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = command(args);
        command.env("SYMBOLON_ADDR", self.fact("address")).env("SYMBOLON_CACERT", self.fact("CA file"));
        run(command.env("SYMBOLON_TOKEN", self.fact("token")), "").expect(0).stdout
    }
}

/// What a test that fails has started ends with it.
impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn begin(temporary: &Path, args: &[&str]) -> Child {
    let mut command = command(&[&["dev"], args].concat());
    command.env("TMPDIR", temporary).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

fn ended(process: &mut Child) {
    wait_until("the process ends", || process.try_wait().unwrap().is_some());
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

fn wait_until(what: &'static str, mut is_so: impl FnMut() -> bool) {
    let look = || std::future::ready(Ok(is_so().then_some(())));
    tokio::runtime::Runtime::new().unwrap().block_on(world::until(what, look)).unwrap();
}

#[test]
fn no_signal_leaves_a_key_behind() {
    let home = tempfile::tempdir().unwrap();
    let listen = free_port().unwrap().to_string();
    for name in ["HUP", "TERM", "INT", "QUIT"] {
        let mut dev = Dev::start(home.path(), &["--listen", &listen]);
        assert!(!is_empty(home.path()));
        signal(name, dev.process.id());
        ended(&mut dev.process);
        assert!(is_empty(home.path()), "after SIG{name}");
        // In the middle of its start, as soon as there is something to leave behind.
        let mut early = begin(home.path(), &["--listen", &listen]);
        wait_until("it begins", || !is_empty(home.path()));
        signal(name, early.id());
        ended(&mut early);
        assert!(is_empty(home.path()), "after SIG{name} at its start");
    }
}

/// The window is closed: its terminal goes, and nobody reads what is written.
#[test]
fn a_closed_terminal_leaves_no_key_behind() {
    let found = Command::new("script").arg("--version").output().is_ok().then_some(());
    if needs("script", "install util-linux, or bsdutils on Debian", found).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let listen = free_port().unwrap();
    let line = format!("'{}' dev --listen {listen}", env!("CARGO_BIN_EXE_symbolon"));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    script.env("TMPDIR", home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut window = script.spawn().unwrap();
    let lines = BufReader::new(window.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.into_iter().any(|line| line.starts_with("Ctrl-C stops")));
    assert!(!is_empty(home.path()));
    window.kill().unwrap(); // and with it the terminal
    window.wait().unwrap();
    wait_until("everything is deleted", || is_empty(home.path()));
    wait_until("it has ended", || std::net::TcpListener::bind(listen).is_ok());
}

#[test]
fn a_directory_that_is_kept_opens_the_same_secrets_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = home.path().join("kept");
    let listen = free_port().unwrap().to_string();
    let args = ["--listen", &listen, "--data", data.to_str().unwrap()];
    let mut first = Dev::start(temporary.path(), &args);
    first.run(&["kv", "put", "secret/mine", "a=b"]);
    signal("TERM", first.process.id());
    ended(&mut first.process);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("dev.json"))), (0o700, 0o600));

    let mut second = Dev::start(temporary.path(), &args);
    for same in ["token", "log key", "CA file"] {
        assert_eq!(first.fact(same), second.fact(same), "{same}");
    }
    assert_eq!(second.run(&["kv", "get", "secret/mine", "--field", "a"]), "b");
    signal("KILL", second.process.id()); // the machine goes off
    ended(&mut second.process);

    // Another name is another certificate, and nothing else.
    let named = [&args[..], &["--name", "host.k3d.internal"]].concat();
    let mut third = Dev::start(temporary.path(), &named);
    assert_eq!(third.run(&["kv", "get", "secret/mine", "--field", "a"]), "b");
    signal("TERM", third.process.id());
    ended(&mut third.process);
    assert!(is_empty(temporary.path()), "everything was in the directory that is kept");

    let foreign = home.path().to_str().unwrap();
    run(&mut command(&["dev", "--listen", &listen, "--data", foreign]), "")
        .refused(2, "no finished `dev` deployment");
}

#[test]
fn a_cluster_reaches_it_by_the_names_that_were_given() {
    let home = tempfile::tempdir().unwrap();
    run(&mut command(&["dev", "--listen", "0.0.0.0"]), "").refused(2, "a name is needed");
    let port = free_port().unwrap().port();
    let listen = format!("0.0.0.0:{port}");
    let names = ["--name", "host.k3d.internal", "--name", "172.18.0.1"];
    let mut dev = Dev::start(home.path(), &[&["--listen", &listen], &names[..]].concat());
    assert_eq!(dev.fact("others"), format!("https://host.k3d.internal:{port}"));
    assert!(
        dev.lines.iter().any(|line| line.contains(&format!("server: \"https://host.k3d.internal:{port}\"")))
    );
    assert_eq!(
        dev.run(&["kv", "get", "secret/example/database", "-f", "password"]),
        "correct horse battery staple"
    );

    symbolon::install_crypto_provider();
    let ca = std::fs::read(dev.fact("CA file")).unwrap();
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for (name, is_right) in [("host.k3d.internal", true), ("elsewhere.internal", false)] {
        let client =
            reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()]);
        let client = client.resolve(name, here).no_proxy().build().unwrap();
        let asked = client.get(format!("https://{name}:{port}/v1/sys/health")).send();
        let answer = tokio::runtime::Runtime::new().unwrap().block_on(asked);
        assert_eq!(answer.is_ok(), is_right, "{name}");
    }
    signal("TERM", dev.process.id());
    ended(&mut dev.process);
}
