//! A fragment service and a broker as processes of their own, in a temporary directory, on loopback.
//!
//! They are this program, started again as `fragment serve` and `broker`, so that what is measured is what
//! operators run: own memory, own runtime, configuration from files. They end with the stage, and their
//! directory goes with them.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::LoadError;
use super::drive::Target;
use super::endpoint::Endpoint;
use crate::demo::pki::ServerIdentity;
use crate::operator::Operator;
use crate::operator::{InitAnswer, InitRequest};
use symbolon::{Client, Error, Login, Token};

/// How long anything on the stage may take to come about.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Mount of the secrets.
const MOUNT: &str = "secret";
/// What the readers may.
const POLICY: &str = "path \"secret/data/load/*\" {\n  capabilities = [\"read\"]\n}\n";

/// Both processes and their directory.
pub struct Stage {
    broker: Server,
    _fragment: Server,
    directory: TempDir,
    client: Operator,
    endpoint: Endpoint,
    root: Token,
}

/// A process that ends with its owner.
struct Server {
    child: Child,
}

impl Stage {
    /// Starts both processes of `program`, which is `symbolon`, initialises the broker and unseals it.
    /// `cache_bytes` is the page cache of its store, if not the broker's default.
    pub async fn set(program: &Path, cache_bytes: Option<usize>) -> Result<Self, LoadError> {
        let directory = tempfile::Builder::new().prefix("symbolon-load-").tempdir()?;
        let files = Files { program: program.to_owned(), directory: directory.path().to_owned() };
        let identity = ServerIdentity::for_loopback("symbolon broker")?;
        let (fragment_address, broker_address) = (free_port()?, free_port()?);
        files.write("fragment.toml", &fragment_toml(&files, fragment_address))?;
        files.run("the fragment service's init", &["fragment", "init", "--config"], &[]).await?;
        let ask = ["fragment", "fingerprint", "--output", "json", "--config"];
        let fingerprint = files.run("the fragment service's fingerprint", &ask, &[]).await?;
        let fragment = files.start("fragment", &["fragment", "serve", "--config"], "fragment.toml")?;
        let listens = || async { TcpStream::connect(fragment_address).await.ok() };
        until("the fragment service's listener", listens).await?;

        files.write("broker.pem", &identity.cert_pem)?;
        files.write("broker.key", &identity.key_pem)?;
        let remote = format!("url = \"https://{fragment_address}\"\nfingerprint = {}", fingerprint.trim());
        files.write("broker.toml", &broker_toml(&files, broker_address, &remote, cache_bytes))?;
        let broker = files.start("broker", &["broker", "--config"], "broker.toml")?;
        let url = format!("https://{broker_address}");
        let client: Operator = Client::builder(&url)
            .ca_pem(identity.ca_pem.as_bytes())
            .retry_within(Duration::ZERO)
            .build()?
            .into();
        let root = open(&client, &files).await?;
        let client = client.with_token(root.clone());
        let endpoint = Endpoint::new(&url, identity.ca_pem.as_bytes())?;
        Ok(Self { broker, _fragment: fragment, directory, client, endpoint, root })
    }

    /// Mounts the engine and logs `readers` machines in, each with a token of its own, as controllers have
    /// them.
    pub async fn target(&self, readers: usize) -> Result<Target, LoadError> {
        let root = &self.client;
        root.mount(MOUNT, &json!({ "type": "kv", "options": { "version": "2" } })).await?;
        root.policies().write("load", POLICY).await?;
        Ok(Target {
            endpoint: self.endpoint.clone(),
            client: self.client.clone(),
            mount: MOUNT.to_owned(),
            writer: self.root.clone(),
            readers: log_in(root, readers).await?,
            pid: Some(self.broker.child.id()),
            store: Some(self.directory.path().join("store.redb")),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if the process has ended already. The store is made for sudden ends, and deleted
        // anyway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Machine tokens of an application role: sealed, stored nowhere, without a parent.
async fn log_in(root: &Operator, count: usize) -> Result<Vec<Token>, LoadError> {
    root.enable_auth("approle", "approle").await?;
    let role = json!({ "token_policies": ["load"], "token_ttl": "1h", "token_type": "batch" });
    root.write("auth/approle/role/load", &role).await?;
    let text = |data: &Value, name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let missing = || Error::Foreign { expected: "role_id and secret_id" };
    let role_id = text(&root.read("auth/approle/role/load/role-id").await?, "role_id").ok_or_else(missing)?;
    let issued = root.write("auth/approle/role/load/secret-id", &json!({})).await?.unwrap_or_default();
    let secret_id = text(&issued, "secret_id").ok_or_else(missing)?;
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        let login = Login::AppRole { role_id: &role_id, secret_id: &secret_id };
        tokens.push(root.login("approle", &login).await?.token);
    }
    Ok(tokens)
}

/// Initialises, lets the fragment service approve, unseals; gives the root token.
async fn open(client: &Operator, files: &Files) -> Result<Token, LoadError> {
    until("the broker's listener", || async { client.seal_status().await.ok() }).await?;
    let request = InitRequest::two_of_people(&["ana", "boris", "carla"]);
    let init = async { Ok::<InitAnswer, LoadError>(client.init(&request).await?) };
    let approve = async {
        let waiting =
            || async { client.seal_status().await.ok()?.fact("enrolling").filter(|text| !text.is_empty()) };
        let fingerprint = until("the broker's wish to be enrolled", waiting).await?;
        files.run("the approval", &["fragment", "approve", "--config"], &[&fingerprint]).await
    };
    let (answer, _) = tokio::try_join!(init, approve)?;
    for share in answer.shares.iter().take(2) {
        client.unseal(share.expose()).await?;
    }
    Ok(Token::new(answer.root_token.expose()).map_err(Error::from)?)
}

/// The program and the directory that it works in.
struct Files {
    program: PathBuf,
    directory: PathBuf,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A path as TOML writes it.
    fn quoted(&self, name: &str) -> String {
        Value::from(self.path(name).to_string_lossy().into_owned()).to_string()
    }

    /// A file that only its owner may read; the directory is its owner's only, too.
    fn write(&self, name: &str, text: &str) -> Result<(), LoadError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(name))?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// A server that logs into the directory.
    fn start(&self, name: &str, arguments: &[&str], config: &str) -> Result<Server, LoadError> {
        let log = File::create(self.path(&format!("{name}.log")))?;
        let mut command = Command::new(&self.program);
        command.args(arguments).arg(self.path(config));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Server { child })
    }

    /// A command of the fragment service's operator; gives what it prints.
    async fn run(&self, what: &'static str, arguments: &[&str], more: &[&str]) -> Result<String, LoadError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg(self.path("fragment.toml")).args(more).stdin(Stdio::null());
        let output =
            tokio::task::spawn_blocking(move || command.output()).await.map_err(std::io::Error::other)??;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(LoadError::Process {
                what,
                words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }
}

fn fragment_toml(files: &Files, address: SocketAddr) -> String {
    let (state, key) = (files.quoted("fragment"), files.quoted("fragment.key"));
    format!("listen = \"{address}\"\nstate_dir = {state}\nkey_file = {key}\n")
}

fn broker_toml(files: &Files, address: SocketAddr, remote: &str, cache_bytes: Option<usize>) -> String {
    let [cert, key, store] = ["broker.pem", "broker.key", "store.redb"].map(|name| files.quoted(name));
    let cache = cache_bytes.map(|bytes| format!("cache_bytes = {bytes}\n")).unwrap_or_default();
    format!(
        "listen = \"{address}\"\n\n[tls]\ncert_file = {cert}\nkey_file = {key}\n\n[store]\npath = {store}\n{cache}\n\
         [remote]\n{remote}\n\n[init]\nallow = true\n"
    )
}

async fn until<T, F>(what: &'static str, mut look: impl FnMut() -> F) -> Result<T, LoadError>
where
    F: Future<Output = Option<T>>,
{
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.map_err(|_| LoadError::Late { what })
}

/// A port that is free now. Somebody could take it in between, and the start would say so.
fn free_port() -> Result<SocketAddr, LoadError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
