//! The operator's door: a Unix socket in the state directory, one JSON request and one JSON answer per line.
//!
//! The directory is closed to others, the socket too, and the peer must run as the service's user or as root.
//! There is no network administration: whoever approves brokers must be on this machine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::{BrokerId, KeyId};
use symbolon_proto::order::Action;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::AdminError;
use crate::report::{Approved, Carried, CertificateReport, OrphanReport, PendingReport, Status};
use crate::state::Service;

/// Name of the socket in the state directory.
pub const SOCKET: &str = "admin.sock";

/// Longest request line, in bytes.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
const CONNECTIONS_MAX: usize = 8;
const DEADLINE: Duration = Duration::from_secs(10);

/// What an operator may ask. Wire type, version 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "kebab-case")]
pub enum Ask {
    /// Who waits for approval.
    Pending,
    /// Let a broker in, by the fingerprint that its operator read out.
    Approve {
        /// Twelve groups.
        fingerprint: String,
        /// Whether it joins a deployment that has brokers already.
        join: bool,
    },
    /// Stop answering for a key, or for all.
    Suspend {
        /// Key id in hex; absent means all.
        key: Option<String>,
    },
    /// Answer again.
    Resume {
        /// Key id in hex; absent means all.
        key: Option<String>,
    },
    /// End the enrolment of a broker.
    Remove {
        /// Broker id in hex.
        broker: String,
    },
    /// Make the next epoch of a key.
    NewEpoch {
        /// Key id in hex.
        key: String,
    },
    /// Which keys nobody has ever unsealed with.
    Orphans,
    /// Remove one of those.
    RemoveOrphan {
        /// Key id in hex.
        key: String,
    },
    /// An order for officers to sign.
    Draft {
        /// What to order.
        draft: Draft,
        /// Days that it counts.
        days: u32,
    },
    /// Carry a signed order out.
    Order {
        /// What the operator thinks it orders.
        kind: OrderKind,
        /// Its text form.
        text: String,
    },
    /// Certificates of what was destroyed of a key.
    Certificates {
        /// Key id in hex.
        key: String,
    },
    /// How the service is.
    Status,
}

/// What an order is to say. Ids in hex.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Draft {
    /// Destroy a key, or an epoch of it.
    Destroy {
        /// The key.
        key: String,
        /// Only this epoch.
        epoch: Option<u32>,
    },
    /// Cancel a destruction.
    Cancel {
        /// The key.
        key: String,
    },
    /// Retire an epoch.
    Retire {
        /// The key.
        key: String,
        /// Its epoch.
        epoch: u32,
    },
    /// Answer restores.
    Restore {
        /// The key.
        key: String,
        /// Its epoch.
        epoch: u32,
    },
    /// Admit an older state of a broker.
    Admit {
        /// The broker.
        broker: String,
    },
}

/// Kinds of orders, as the commands that take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderKind {
    /// A key or an epoch.
    Destroy,
    /// What is cooling off.
    Cancel,
    /// An epoch.
    Retire,
    /// From a retired epoch.
    Restore,
    /// An older state of a broker.
    Admit,
}

impl OrderKind {
    const fn is(self, action: &Action) -> bool {
        matches!(
            (self, action),
            (Self::Destroy, Action::Destroy { .. } | Action::DestroyEpoch { .. })
                | (Self::Cancel, Action::Cancel { .. })
                | (Self::Retire, Action::Retire { .. })
                | (Self::Restore, Action::Restore { .. })
                | (Self::Admit, Action::Admit { .. })
        )
    }
}

/// What comes back. Wire type, version 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Answer to [`Ask::Pending`].
    Pending(Vec<PendingReport>),
    /// Answer to [`Ask::Approve`].
    Approved(Approved),
    /// Answer to [`Ask::Suspend`], [`Ask::Resume`], [`Ask::Remove`], [`Ask::NewEpoch`] and
    /// [`Ask::RemoveOrphan`]: how many changed.
    Changed(usize),
    /// Answer to [`Ask::Orphans`].
    Orphans(Vec<OrphanReport>),
    /// Answer to [`Ask::Draft`]: its text form.
    Drafted(String),
    /// Answer to [`Ask::Order`].
    Carried(Carried),
    /// Answer to [`Ask::Certificates`].
    Certificates(Vec<CertificateReport>),
    /// Answer to [`Ask::Status`].
    Status(Box<Status>),
    /// Why not. One of our texts.
    Refused(String),
}

/// Why the service could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no fragment service runs on this state directory; start it with `symbolon fragment serve`")]
    NotRunning,
    /// The socket failed.
    #[error("the admin socket of the fragment service failed")]
    Socket(#[from] io::Error),
    /// The answer is not one of this version.
    #[error("the running fragment service is of another version; restart it")]
    Version,
    /// No answer in time.
    #[error("the fragment service gave no answer within 10 s; look at its log")]
    Silent,
}

/// Opens the door and answers until the future is dropped.
pub(crate) async fn serve(service: Arc<Service>, socket: &Path) -> io::Result<std::convert::Infallible> {
    // We hold the lock of the directory, so a socket that is there belongs to a process that is gone.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            // An operator who hangs up has no answer to get.
            drop(timeout(DEADLINE, converse(&service, stream)).await);
            drop(permit);
        });
    }
}

async fn converse(service: &Arc<Service>, stream: UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    let reply = match serde_json::from_slice(&line) {
        Ok(ask) => {
            let service = Arc::clone(service);
            let answered = tokio::task::spawn_blocking(move || answer(&service, &ask)).await;
            answered.unwrap_or_else(|_| Reply::Refused("the service failed; look at its log".to_owned()))
        }
        Err(_) => Reply::Refused("the request is not one of this version".to_owned()),
    };
    let mut bytes = serde_json::to_vec(&reply)?;
    bytes.push(b'\n');
    stream.get_mut().write_all(&bytes).await?;
    stream.get_mut().shutdown().await
}

fn answer(service: &Service, ask: &Ask) -> Reply {
    let outcome = match ask {
        Ask::Pending => Ok(Reply::Pending(service.pending())),
        Ask::Approve { fingerprint, join } => approve(service, fingerprint, *join),
        Ask::Suspend { key } => some_key(key).and_then(|key| service.suspend(key)).map(Reply::Changed),
        Ask::Resume { key } => some_key(key).and_then(|key| service.resume(key)).map(Reply::Changed),
        Ask::Remove { broker } => {
            parse_broker(broker).and_then(|broker| service.remove(broker)).map(|()| Reply::Changed(1))
        }
        Ask::NewEpoch { key } => {
            parse_key(key).and_then(|key| service.next_epoch(key)).map(|()| Reply::Changed(1))
        }
        Ask::Orphans => Ok(Reply::Orphans(service.orphans())),
        Ask::RemoveOrphan { key } => {
            parse_key(key).and_then(|key| service.remove_orphan(key)).map(|()| Reply::Changed(1))
        }
        Ask::Draft { draft, days } => {
            action(service, draft).and_then(|action| service.draft(action, *days)).map(Reply::Drafted)
        }
        Ask::Order { kind, text } => service.carry_out(text, |action| kind.is(action)).map(Reply::Carried),
        Ask::Certificates { key } => {
            parse_key(key).and_then(|key| service.certificates(key)).map(Reply::Certificates)
        }
        Ask::Status => Ok(Reply::Status(Box::new(service.status()))),
    };
    outcome.unwrap_or_else(|error| Reply::Refused(error.to_string()))
}

fn approve(service: &Service, fingerprint: &str, join: bool) -> Result<Reply, AdminError> {
    let fingerprint: Fingerprint = fingerprint.parse().map_err(|_| AdminError::Fingerprint)?;
    service.approve(&fingerprint, join).map(Reply::Approved)
}

fn action(service: &Service, draft: &Draft) -> Result<Action, AdminError> {
    Ok(match draft {
        Draft::Destroy { key, epoch: None } => Action::Destroy { key: parse_key(key)? },
        Draft::Destroy { key, epoch: Some(epoch) } => {
            Action::DestroyEpoch { key: parse_key(key)?, key_epoch: *epoch }
        }
        Draft::Cancel { key } => Action::Cancel { key: parse_key(key)? },
        Draft::Retire { key, epoch } => Action::Retire { key: parse_key(key)?, key_epoch: *epoch },
        Draft::Restore { key, epoch } => Action::Restore { key: parse_key(key)?, key_epoch: *epoch },
        Draft::Admit { broker } => {
            let broker = parse_broker(broker)?;
            Action::Admit { broker, generation: service.generation_of(broker)? }
        }
    })
}

fn some_key(key: &Option<String>) -> Result<Option<KeyId>, AdminError> {
    key.as_deref().map(parse_key).transpose()
}

fn parse_key(text: &str) -> Result<KeyId, AdminError> {
    text.parse().map_err(|_| AdminError::UnknownKey)
}

fn parse_broker(text: &str) -> Result<BrokerId, AdminError> {
    text.parse().map_err(|_| AdminError::UnknownBroker)
}

/// Asks the service that runs on a state directory.
pub async fn ask(state_dir: &Path, ask: &Ask) -> Result<Reply, AskError> {
    timeout(DEADLINE, exchange(state_dir, ask)).await.map_err(|_| AskError::Silent)?
}

async fn exchange(state_dir: &Path, ask: &Ask) -> Result<Reply, AskError> {
    let mut stream =
        UnixStream::connect(state_dir.join(SOCKET)).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning,
            _ => AskError::Socket(error),
        })?;
    let mut line = serde_json::to_vec(ask).map_err(|_| AskError::Version)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut reply).await?;
    serde_json::from_slice(&reply).map_err(|_| AskError::Version)
}
