//! A deployment of real processes: `symbolon fragment serve` and `symbolon broker`, made with the commands of
//! their operators.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use symbolon_cli::demo::pki::ServerIdentity;
use symbolon_cli::demo::world::{self, free_port};
use symbolon_proto::fingerprint::Fingerprint;
use tempfile::TempDir;

use crate::support::{Done, command, command_of, run};

/// Holders of the three shares, of which two open the broker.
const CUSTODIANS: [&str; 3] = ["Ann", "Bob", "Cid"];

/// Who runs what: broker and fragment service belong to different people, who upgrade on different days.
/// `None` is the binary of this build.
#[derive(Clone, Default)]
pub struct Programs {
    pub broker: Option<PathBuf>,
    pub fragment: Option<PathBuf>,
}

impl Programs {
    /// A command in the directory of a deployment, by the program whose command it is.
    pub fn at(&self, home: &Path, args: &[&str]) -> Command {
        let program = if args[0] == "fragment" { &self.fragment } else { &self.broker };
        let mut command = program.as_deref().map_or_else(|| command(args), |path| command_of(path, args));
        command.current_dir(home).env("SYMBOLON_FRAGMENT_CONFIG", home.join("fragment.toml"));
        command
    }

    /// Starts a server. Its log goes to a file: the broker's is also the console on which custodians look.
    fn serve(&self, home: &Path, args: &[&str], log: &str) -> Server {
        let log = File::options().append(true).create(true).open(home.join(log)).unwrap();
        let mut command = self.at(home, args);
        Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

/// Both servers, in one directory.
pub struct Deployment {
    // Stopped in this order, before their directory goes.
    broker: Option<Server>,
    fragment: Option<Server>,
    home: TempDir,
    programs: Programs,
    pub address: String,
    #[allow(dead_code)] // one test looks at both from outside
    pub fragment_address: SocketAddr,
    pub shares: Vec<String>,
    pub root_token: String,
    #[allow(dead_code)] // as above
    pub log_key: String,
}

/// A server that ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, so that it stops in good order.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Deployment {
    /// An initialised deployment. The broker is sealed. `officers` are further lines of the fragment
    /// service's configuration; their files may lie in the directory that it is given.
    pub fn start(programs: Programs, officers: impl FnOnce(&Path) -> String) -> Self {
        let mut holders = vec!["--shares", "3", "--threshold", "2"];
        CUSTODIANS.iter().for_each(|name| holders.extend(["--custodian", name]));
        Self::start_for(programs, officers, &holders)
    }

    /// The same for other holders of the shares: arguments of `operator init`.
    pub fn start_for(programs: Programs, officers: impl FnOnce(&Path) -> String, holders: &[&str]) -> Self {
        let mut deployment = Self::uninitialised(programs, officers);
        deployment.init(holders);
        deployment
    }

    /// Both servers, before anybody has initialised the broker.
    pub fn uninitialised(programs: Programs, officers: impl FnOnce(&Path) -> String) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (fragment_address, address) = (free_port().unwrap(), free_port().unwrap());
        let lines = officers(home.path());
        let config = format!(
            "listen = \"{fragment_address}\"\nstate_dir = {}\nkey_file = {}\n[grants]\nlease_ttl_secs = 600\n{lines}",
            quoted(&home.path().join("fragment")),
            quoted(&home.path().join("fragment.key")),
        );
        std::fs::write(home.path().join("fragment.toml"), config).unwrap();
        run(&mut programs.at(home.path(), &["fragment", "init"]), "").expect(0);
        let mut deployment = Self {
            broker: None,
            fragment: None,
            home,
            programs,
            address: format!("https://{address}"),
            fragment_address,
            shares: Vec::new(),
            root_token: String::new(),
            log_key: String::new(),
        };
        deployment.start_fragment();
        deployment.write_broker_files(&address.to_string(), &format!("https://{fragment_address}"));
        deployment.start_broker();
        deployment
    }

    /// Of both processes.
    #[allow(dead_code)] // as above
    pub fn pids(&self) -> [u32; 2] {
        [&self.broker, &self.fragment].map(|server| server.as_ref().unwrap().0.id())
    }

    /// A file of the deployment.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a command in the deployment's directory, as somebody without a token.
    pub fn run(&self, args: &[&str], stdin: &str) -> Done {
        run(&mut self.command(args), stdin)
    }

    /// Runs a command with the root token.
    pub fn as_root(&self, args: &[&str]) -> Done {
        run(self.command(args).env("SYMBOLON_TOKEN", &self.root_token), "")
    }

    /// Stops the broker, does something about its store, and starts it again: it is sealed.
    pub fn restart_broker(&mut self, meanwhile: impl FnOnce(&Path)) {
        self.upgrade(self.programs.clone(), meanwhile);
    }

    /// The same with programs of another version: the fragment service starts again too, if its own is
    /// another.
    pub fn upgrade(&mut self, programs: Programs, meanwhile: impl FnOnce(&Path)) {
        self.broker = None;
        meanwhile(self.home.path());
        let is_other = programs.fragment != self.programs.fragment;
        self.programs = programs;
        if is_other {
            self.fragment = None;
            self.start_fragment();
        }
        self.start_broker();
    }

    /// Two custodians open it.
    pub fn unseal(&self) {
        self.run(&["operator", "unseal", "-"], &self.shares[0]).expect(0);
        self.run(&["operator", "unseal", "-"], &self.shares[1]).expect(0);
        self.run(&["operator", "status"], "").expect(0);
    }

    /// A command in the deployment's directory that knows where both servers are.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.programs.at(self.home.path(), args);
        command.env("SYMBOLON_ADDR", &self.address).env("SYMBOLON_CACERT", self.path("ca.pem"));
        command
    }

    fn start_fragment(&mut self) {
        self.fragment = Some(self.programs.serve(self.home.path(), &["fragment", "serve"], "fragment.log"));
        until("the fragment service", || self.run(&["fragment", "status"], "").code == 0);
    }

    fn start_broker(&mut self) {
        self.broker =
            Some(self.programs.serve(self.home.path(), &["broker", "--config", "broker.toml"], "broker.log"));
        // The state is printed as soon as it answers, whatever the exit code.
        until("the broker", || !self.run(&["operator", "status"], "").stdout.is_empty());
    }

    fn write_broker_files(&self, listen: &str, remote: &str) {
        let home = self.home.path();
        let identity = ServerIdentity::for_loopback("symbolon broker").unwrap();
        std::fs::write(home.join("ca.pem"), &identity.ca_pem).unwrap();
        std::fs::write(home.join("broker.pem"), &identity.cert_pem).unwrap();
        std::fs::write(home.join("broker.key"), identity.key_pem.as_bytes()).unwrap();
        let fingerprint = self.run(&["fragment", "fingerprint"], "").expect(0).stdout;
        let config = format!(
            "listen = \"{listen}\"\n[tls]\ncert_file = {}\nkey_file = {}\n[store]\npath = {}\n[init]\nallow = true\n\
             [remote]\nheartbeat_secs = 1\ndeadline_ms = 10000\nurl = \"{remote}\"\nfingerprint = \"{}\"\n",
            quoted(&home.join("broker.pem")),
            quoted(&home.join("broker.key")),
            quoted(&home.join("store.redb")),
            fingerprint.trim(),
        );
        std::fs::write(home.join("broker.toml"), config).unwrap();
    }

    /// Initialises the broker, for the holders of these arguments. What was said meanwhile.
    #[allow(dead_code)] // one test does it after something that went wrong
    pub fn init(&mut self, holders: &[&str]) -> String {
        let done = self.init_to(Stdio::piped(), &[&["--output", "json"], holders].concat()).expect(0);
        let answer: Value = serde_json::from_str(&done.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let shares = answer["shares"].as_array(); // none if they went into envelopes
        self.shares = shares.into_iter().flatten().map(|share| text(&share["share"])).collect();
        self.root_token = text(&answer["root_token"]);
        self.log_key = text(&answer["log_key"]);
        done.stderr
    }

    /// `operator init` with its answer going there. The broker's operator reads the fingerprint from the
    /// terminal to the service's, who approves it and no other.
    pub fn init_to(&self, stdout: Stdio, args: &[&str]) -> Done {
        let args = [&["operator", "init", "--recovery", "none"], args].concat();
        let mut command = self.command(&args);
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            if let Ok(read_out) = line.parse::<Fingerprint>() {
                let read_out = read_out.to_string();
                until("the approval", || self.run(&["fragment", "approve", &read_out], "").code == 0);
            }
            told.push_str(&line);
            told.push('\n');
        }
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Done { code: output.status.code().unwrap(), stdout, stderr: told }
    }
}

/// Looks until it is so.
#[track_caller]
pub fn until(what: &'static str, mut is_so: impl FnMut() -> bool) {
    let look = || std::future::ready(Ok(is_so().then_some(())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(world::until(what, look)).unwrap();
}

fn quoted(path: &Path) -> Value {
    Value::from(path.to_str().unwrap())
}
