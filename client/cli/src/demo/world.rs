//! One fragment service and one broker in this process, on loopback and TLS, in a temporary directory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use symbolon_broker::config::{Config, ConfigError};
use symbolon_broker::custody::seal::View;
use symbolon_broker::run::{Broker, RunError};
use symbolon_kms_fragment::server::ServeError;
use symbolon_kms_fragment::{AdminError, Grants, Options, Sealing, Service, ServiceError};
use symbolon_proto::fingerprint::Fingerprint;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::pki::ServerIdentity;
use crate::operator::Operator;
use crate::operator::{InitAnswer, InitRequest};
use symbolon::{Client, Error, Token};

/// How long anything in the world may take to come about before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Where [`free_port`] looks.
const PORTS: std::ops::Range<u16> = 21_000..31_000;
/// Longest wait for the connections of a stopped service.
const LET_GO: Duration = Duration::from_secs(2);
/// Time between two looks.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How fast leases live.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Seconds that a broker may use cached keys without hearing from the fragment service.
    pub lease_secs: u32,
    /// Seconds between heartbeats.
    pub heartbeat_secs: u64,
}

/// Everything that runs.
pub struct World {
    directory: Place,
    pace: Pace,
    identity: ServerIdentity,
    fragment: Option<Running<Arc<Service>>>,
    broker: Option<Running<Arc<symbolon_broker::custody::App>>>,
    fragment_address: SocketAddr,
    broker_address: SocketAddr,
    init_defaults: String,
    tables: String,
    remote: Option<String>,
}

/// Where the files of a world lie.
enum Place {
    /// Gone with the world.
    Passing(TempDir),
    /// Of somebody who wants to find them again.
    Kept(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Passing(directory) => directory.path(),
            Self::Kept(directory) => directory,
        }
    }
}

/// A server's task, how to stop it, and how to reach inside.
struct Running<T> {
    inside: T,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), WorldError>>,
}

/// Why the world does not come about.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Directory or socket.
    #[error("the temporary directory or a socket of this machine failed")]
    Machine(#[from] std::io::Error),
    /// Certificates.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// The fragment service.
    #[error("the fragment service failed")]
    Fragment(#[from] ServiceError),
    /// Its operator's wish.
    #[error("the fragment service refused its operator")]
    Admin(#[from] AdminError),
    /// Its listener.
    #[error("the fragment service stopped serving")]
    FragmentServe(#[from] ServeError),
    /// The broker's configuration.
    #[error("the broker's configuration failed")]
    Config(#[from] ConfigError),
    /// The broker.
    #[error("the broker failed")]
    Broker(#[from] RunError),
    /// A call of our client.
    #[error(transparent)]
    Call(#[from] Error),
    /// Something took too long.
    #[error("{what} did not come about within {} s", PATIENCE.as_secs())]
    Late {
        /// What.
        what: &'static str,
    },
    /// The wrong order of things.
    #[error("{what} does not run")]
    NotRunning {
        /// Which server.
        what: &'static str,
    },
    /// Both operators read different fingerprints.
    #[error("the broker that asks is not the one whose fingerprint was read out")]
    Impostor,
}

impl World {
    /// A directory, certificates, and two ports, the broker's at `listen` if that is given. Nothing runs yet.
    pub fn new(pace: Pace, listen: Option<SocketAddr>) -> Result<Self, WorldError> {
        let broker_address = listen.map_or_else(free_port, Ok)?;
        let identity = ServerIdentity::for_loopback("symbolon broker")?;
        let world = Self::passing(pace, broker_address, identity)?;
        world.write_identity()?;
        Ok(world)
    }

    /// The same with another certificate, whose files are not written yet.
    pub fn passing(pace: Pace, listen: SocketAddr, identity: ServerIdentity) -> Result<Self, WorldError> {
        symbolon::install_crypto_provider();
        let directory = Place::Passing(tempfile::Builder::new().prefix("symbolon-").tempdir()?);
        Ok(Self::at(directory, pace, listen, free_port()?, identity))
    }

    /// A world in a directory that stays, with the fragment service at this address.
    #[must_use]
    pub fn kept(
        directory: &Path,
        pace: Pace,
        listen: SocketAddr,
        fragment: SocketAddr,
        identity: ServerIdentity,
    ) -> Self {
        symbolon::install_crypto_provider();
        Self::at(Place::Kept(directory.to_owned()), pace, listen, fragment, identity)
    }

    fn at(
        directory: Place,
        pace: Pace,
        broker_address: SocketAddr,
        fragment_address: SocketAddr,
        identity: ServerIdentity,
    ) -> Self {
        Self {
            directory,
            pace,
            identity,
            fragment: None,
            broker: None,
            fragment_address,
            broker_address,
            init_defaults: String::new(),
            tables: String::new(),
            remote: None,
        }
    }

    /// Writes the certificate's files. An existing key is never replaced.
    pub fn write_identity(&self) -> Result<(), WorldError> {
        std::fs::write(self.path("ca.pem"), &self.identity.ca_pem)?;
        std::fs::write(self.path("broker.pem"), &self.identity.cert_pem)?;
        Ok(write_private(&self.path("broker.key"), self.identity.key_pem.as_bytes())?)
    }

    /// Deletes what does not stay. Both servers must have stopped.
    pub fn clear(self) -> Result<(), WorldError> {
        match self.directory {
            Place::Passing(directory) => Ok(directory.close()?),
            Place::Kept(_) => Ok(()),
        }
    }

    /// Lines for `[init]` of the broker's configuration, for clients that cannot choose a recovery policy
    /// themselves.
    pub fn init_defaults(&mut self, lines: &str) {
        lines.clone_into(&mut self.init_defaults);
    }

    /// Further tables of the broker's configuration.
    pub fn tables(&mut self, lines: &str) {
        lines.clone_into(&mut self.tables);
    }

    /// Lines for `[remote]` of the broker's configuration: fragment services that are not this world's.
    pub fn remote(&mut self, lines: String) {
        self.remote = Some(lines);
    }

    /// A file of the world.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// File with the CA of the broker.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The CA of the broker.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.identity.ca_pem
    }

    /// Where the broker's clients go.
    #[must_use]
    pub fn broker_url(&self) -> String {
        format!("https://{}", reachable(self.broker_address))
    }

    /// Where the fragment service listens.
    #[must_use]
    pub fn fragment_address(&self) -> SocketAddr {
        self.fragment_address
    }

    /// Where the broker goes.
    #[must_use]
    pub fn fragment_url(&self) -> String {
        format!("https://{}", self.fragment_address)
    }

    /// A client of the broker.
    pub fn client(&self) -> Result<Operator, Error> {
        Ok(Client::builder(&self.broker_url())
            .ca_pem(self.ca_pem().as_bytes())
            .retry_within(Duration::ZERO)
            .build()?
            .into())
    }

    /// A client with a token.
    pub fn client_as(&self, token: &str) -> Result<Operator, Error> {
        Ok(self.client()?.with_token(Token::new(token)?))
    }

    /// The fragment service, for its operator.
    pub fn service(&self) -> Result<&Arc<Service>, WorldError> {
        let running =
            self.fragment.as_ref().ok_or(WorldError::NotRunning { what: "the fragment service" })?;
        Ok(&running.inside)
    }

    /// The broker's open session, if it runs and is unsealed.
    #[must_use]
    pub fn session(&self) -> Option<Arc<symbolon_broker::access::session::Session>> {
        self.broker.as_ref()?.inside.session().ok()
    }

    /// Whether this is the deployment's own fragment: it fits the check value of its share set.
    #[must_use]
    pub fn is_its_fragment(&self, fragment: &symbolon_proto::hierarchy::Fragment) -> bool {
        match self.broker.as_ref().map(|running| running.inside.seal.view()) {
            Some(View::Open { sealed, .. } | View::Sealed { sealed, .. }) => {
                sealed.share_set().is_fragment(fragment)
            }
            Some(View::Uninitialised) | None => false,
        }
    }

    /// Starts the fragment service: the first time with fresh keys, later with those in its directory.
    pub async fn start_fragment(&mut self) -> Result<(), WorldError> {
        let directory = self.path("fragment");
        let sealing = Sealing::KeyFile(self.path("fragment.key"));
        let grants = Grants { lease_ttl_secs: self.pace.lease_secs, ..Grants::default() };
        let options = Options { grants, ..Options::default() };
        let service = match directory.exists() {
            false => Service::init(&directory, &sealing, options)?,
            true => Service::open(&directory, &sealing, options)?,
        };
        let socket = TcpListener::bind(self.fragment_address).await?;
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&service);
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await; // a dropped sender means stop as well
            };
            Ok(serving.serve(socket, stop).await?)
        });
        self.fragment = Some(Running { inside: service, stop, task });
        Ok(())
    }

    /// The remote goes silent.
    pub async fn stop_fragment(&mut self) -> Result<(), WorldError> {
        let Some(running) = self.fragment.take() else { return Ok(()) };
        let service = Arc::clone(&running.inside);
        end(running).await?;
        let_go(service).await;
        Ok(())
    }

    /// Starts the broker. `new` says that an empty store may be initialised.
    pub async fn start_broker(&mut self, new: bool) -> Result<(), WorldError> {
        let config = self.broker_config(new)?;
        let broker = Broker::bind(config).await?;
        let inside = broker.app();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await; // a dropped sender means stop as well
            };
            Ok(broker.serve(stop).await?)
        });
        self.broker = Some(Running { inside, stop, task });
        Ok(())
    }

    /// Stops the broker.
    pub async fn stop_broker(&mut self) -> Result<(), WorldError> {
        match self.broker.take() {
            Some(running) => end(running).await,
            None => Ok(()),
        }
    }

    /// Writes and reads the configuration file, as an operator would.
    pub fn broker_config(&self, new: bool) -> Result<Config, WorldError> {
        let path = self.path("broker.toml");
        std::fs::write(&path, self.broker_toml(new)?)?;
        Ok(Config::load(&path)?)
    }

    fn broker_toml(&self, new: bool) -> Result<String, WorldError> {
        let quoted = |path: PathBuf| serde_json::Value::from(path.to_string_lossy().into_owned()).to_string();
        Ok(format!(
            "listen = \"{}\"\n\
             \n[tls]\ncert_file = {}\nkey_file = {}\n\
             \n[store]\npath = {}\n\
             \n[init]\nallow = {new}\n{}\n\
             \n[remote]\nheartbeat_secs = {}\n{}\n\n{}\n",
            self.broker_address,
            quoted(self.path("broker.pem")),
            quoted(self.path("broker.key")),
            quoted(self.path("store.redb")),
            self.init_defaults,
            self.pace.heartbeat_secs,
            self.remote.clone().map_or_else(|| self.own_remote(), Ok)?,
            self.tables,
        ))
    }

    fn own_remote(&self) -> Result<String, WorldError> {
        let (url, fingerprint) = (self.fragment_url(), self.service()?.root_fingerprint());
        Ok(format!("url = \"{url}\"\nfingerprint = \"{fingerprint}\""))
    }

    /// Initialises the broker; meanwhile both operators compare the broker's fingerprint, and one of them
    /// approves.
    pub async fn init(&self, request: &InitRequest) -> Result<(InitAnswer, Fingerprint), WorldError> {
        let client = self.client()?;
        let init = async { client.init(request).await.map_err(WorldError::from) };
        tokio::try_join!(init, self.approve(&client))
    }

    /// The broker's operator reads the fingerprint out; the service's operator approves that broker and no
    /// other.
    async fn approve(&self, client: &Operator) -> Result<Fingerprint, WorldError> {
        let service = self.service()?;
        let read_out = until("the broker's wish to be enrolled", || async {
            Ok(client.seal_status().await?.fact("enrolling").filter(|text| !text.is_empty()))
        });
        let read_out: Fingerprint = read_out.await?.parse().map_err(|_| WorldError::Impostor)?;
        let waiting = |text: &String| text.parse::<Fingerprint>().is_ok_and(|waiting| waiting == read_out);
        until("the broker among those who wait", || async {
            let pending = service.pending();
            Ok(pending.iter().any(|broker| waiting(&broker.fingerprint)).then_some(()))
        })
        .await?;
        service.approve(&read_out, false)?;
        Ok(read_out)
    }
}

/// Waits for the last request of a stopped service: it ends a moment after the server, and with it the lock
/// of the directory.
pub async fn let_go(service: Arc<Service>) {
    let gone =
        until("the service to let go", || async { Ok((Arc::strong_count(&service) == 1).then_some(())) });
    // whoever opens the directory will say that it is still locked
    drop(tokio::time::timeout(LET_GO, gone).await);
}

/// Looks until something is there.
pub async fn until<T, F>(what: &'static str, mut look: impl FnMut() -> F) -> Result<T, WorldError>
where
    F: Future<Output = Result<Option<T>, WorldError>>,
{
    let search = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.map_err(|_| WorldError::Late { what })?
}

async fn end<T>(running: Running<T>) -> Result<(), WorldError> {
    let Running { inside, stop, task } = running;
    let _ = stop.send(()); // if nobody listens, it has stopped already
    drop(inside);
    task.await.map_err(|join| WorldError::Machine(std::io::Error::other(join)))?
}

/// Where this machine reaches what listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// A port on loopback that is free now. It lies below those that systems give to outgoing connections, so
/// that none of ours takes it before it is listened on, or while a server restarts.
pub fn free_port() -> std::io::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS.len() {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(step % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(std::io::ErrorKind::AddrInUse.into())
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}
