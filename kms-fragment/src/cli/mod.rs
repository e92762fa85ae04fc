//! Commands of the service's operator, shared by `symbolon fragment` and the service's own binary.

mod order;
mod show;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{Ask, AskError, Reply, ask};
use crate::check;
use crate::config::{Config, ConfigError};
use crate::error::ServiceError;
use crate::report::Status;
use crate::server::ServeError;
use crate::service::{Options, Service};
use crate::tables::{EPOCHS_MAX, KEYS_MAX};

/// Run and operate a fragment service.
#[derive(Debug, Subcommand)]
pub enum FragmentCommand {
    /// Make the keys of a new service and print the fingerprint that brokers' operators must be told.
    Init(Common),
    /// Run the service until it is told to stop.
    Serve(Serving),
    /// List brokers that wait for approval.
    Pending(Asking),
    /// Let a broker in, after its operator has read the fingerprint to you.
    Approve {
        /// Twelve groups, with or without spaces and dashes.
        #[arg(required = true, num_args = 1..)]
        fingerprint: Vec<String>,
        /// Give it the keys of a deployment that has brokers here already.
        #[arg(long)]
        join: bool,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// Stop answering: brokers wipe cached keys at their next heartbeat, or when their lease ends.
    Suspend {
        /// Which keys.
        #[command(flatten)]
        which: Which,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// Answer again.
    Resume {
        /// Which keys.
        #[command(flatten)]
        which: Which,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// End the enrolment of a broker: it is answered no more, and its cached keys live until its lease ends.
    Remove {
        /// Broker id, 32 hex digits.
        broker: String,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// Make the next epoch of a key that this service holds alone; its broker then rotates to it.
    NewEpoch {
        /// Key id, 32 hex digits.
        key: String,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// List keys that were made for an `init` that came to nothing, or remove one of them.
    Orphans {
        /// Remove this one; its broker's operator has said that nothing is under way. Key id, 32 hex digits.
        #[arg(long, value_name = "KEY")]
        remove: Option<String>,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// What two officers order: draft an order, carry one out.
    #[command(flatten)]
    Order(order::OrderCommand),
    /// Show brokers, keys, quotas and the evaluation log.
    Status(Asking),
    /// Print the fingerprint of the service root.
    Fingerprint(Asking),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Configuration file.
    #[arg(
        long,
        value_name = "FILE",
        env = "SYMBOLON_FRAGMENT_CONFIG",
        default_value = "/etc/symbolon/fragment.toml"
    )]
    pub config: PathBuf,
}

/// How to run.
#[derive(Clone, Debug, Args)]
pub struct Serving {
    #[command(flatten)]
    common: Common,
    /// Look at the configuration and the files that it names, name everything that is wrong, and end.
    #[arg(long)]
    check_config: bool,
    /// Form of the log on standard error.
    #[arg(long, value_enum, env = "SYMBOLON_LOG_FORMAT", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Form of a server's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

impl FragmentCommand {
    /// Form of the log that this command writes.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        match self {
            Self::Serve(serving) => serving.log_format,
            _ => LogFormat::Text,
        }
    }
}

/// How to ask a running service.
#[derive(Clone, Debug, Args)]
pub struct Asking {
    #[command(flatten)]
    common: Common,
    /// State directory of the running service; otherwise the configuration's.
    #[arg(long, value_name = "DIR", env = "SYMBOLON_FRAGMENT_STATE")]
    state_dir: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Which keys.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Key id, 32 hex digits.
    key: Option<String>,
    /// Every key.
    #[arg(long)]
    all: bool,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration, with everything that is wrong.
    #[error("{count} faults in {path}:\n  {text}")]
    Faults {
        /// Which file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// One a line.
        text: String,
    },
    /// The state.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Secret memory.
    #[error(transparent)]
    Memory(#[from] symbolon_proto::secret::MemoryError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}; is another service using it?")]
    Listen {
        /// The address of the configuration.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The listener ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The running service could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The running service said no; the text is its own.
    #[error("{0}")]
    Refused(Box<str>),
    /// A file with an order or a certificate.
    #[error("cannot read {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate that is not believed.
    #[error(transparent)]
    Certificate(#[from] symbolon_proto::certificate::CertificateError),
    /// Not a fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] symbolon_proto::fingerprint::FingerprintError),
    /// The answer does not belong to the question.
    #[error("the running fragment service is of another version; restart it")]
    Version,
    /// Standard output or signals.
    #[error("standard output failed")]
    Output(#[from] io::Error),
}

/// Prints an error with its causes to standard error.
pub fn explain(error: &CliError) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!("\n  because: {inner}"));
        cause = inner.source();
    }
    // Nobody is left to tell if standard error is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Runs one command.
pub async fn run(command: FragmentCommand) -> Result<(), CliError> {
    match command {
        FragmentCommand::Init(common) => init(&common),
        FragmentCommand::Serve(serving) if serving.check_config => check(&serving.common),
        FragmentCommand::Serve(serving) => serve(&serving.common).await,
        FragmentCommand::Pending(asking) => pending(&asking).await,
        FragmentCommand::Approve { fingerprint, join, asking } => {
            approve(&asking, fingerprint.join(" "), join).await
        }
        FragmentCommand::Suspend { which, asking } => {
            change(&asking, &Ask::Suspend { key: which.key }, "key(s) suspended").await
        }
        FragmentCommand::Resume { which, asking } => {
            change(&asking, &Ask::Resume { key: which.key }, "key(s) resumed").await
        }
        FragmentCommand::Remove { broker, asking } => {
            change(&asking, &Ask::Remove { broker }, "broker(s) removed").await
        }
        FragmentCommand::NewEpoch { key, asking } => {
            change(&asking, &Ask::NewEpoch { key }, "epoch(s) made").await
        }
        FragmentCommand::Orphans { remove: Some(key), asking } => {
            change(&asking, &Ask::RemoveOrphan { key }, "key(s) removed").await
        }
        FragmentCommand::Orphans { remove: None, asking } => orphans(&asking).await,
        FragmentCommand::Order(command) => command.run().await,
        FragmentCommand::Status(asking) => {
            let status = status(&asking).await?;
            print(&asking, &status, |out| show::status(out, &status))
        }
        FragmentCommand::Fingerprint(asking) => fingerprint(&asking).await,
    }
}

fn init(common: &Common) -> Result<(), CliError> {
    let config = Config::load(&common.config)?;
    symbolon_proto::secret::prepare(config.allow_insecure_memory)?;
    let service = Service::init(&config.state_dir, &config.sealing()?, Options::of(&config))?;
    let mut out = io::stdout().lock();
    writeln!(out, "The fragment service is ready in {}.", config.state_dir.display())?;
    writeln!(
        out,
        "Fingerprint of its root; read it to the operators of brokers, over a channel you trust:\n"
    )?;
    writeln!(out, "  {}\n", service.root_fingerprint())?;
    writeln!(out, "Start it with: symbolon fragment serve --config {}", common.config.display())?;
    Ok(())
}

fn check(common: &Common) -> Result<(), CliError> {
    let faults = check::faults(&common.config);
    if faults.is_empty() {
        return Ok(writeln!(io::stdout().lock(), "{} can be used", common.config.display())?);
    }
    Err(CliError::Faults { path: common.config.clone(), count: faults.len(), text: faults.join("\n  ") })
}

/// Opens the service that a configuration describes, for a command that needs nobody else.
fn open(common: &Common) -> Result<Arc<Service>, CliError> {
    let config = Config::load(&common.config)?;
    symbolon_proto::secret::prepare(config.allow_insecure_memory)?;
    Ok(Service::open(&config.state_dir, &config.sealing()?, Options::of(&config))?)
}

async fn serve(common: &Common) -> Result<(), CliError> {
    symbolon_net::process::harden();
    tokio::spawn(outlive(signal(SignalKind::hangup())?));
    let config = Config::load(&common.config)?;
    symbolon_proto::secret::prepare(config.allow_insecure_memory)?;
    symbolon_proto::secret::reserve(KEYS_MAX * EPOCHS_MAX)?;
    let service = open(common)?;
    let listen = TcpListener::bind(config.listen);
    let socket = listen.await.map_err(|source| CliError::Listen { address: config.listen, source })?;
    tracing::info!(address = %config.listen, root = %service.root_fingerprint(), "fragment service listens");
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    service.serve(socket, stop).await?;
    tracing::info!("fragment service stopped");
    Ok(())
}

/// Whoever sends SIGHUP wants files read again; otherwise it would kill.
async fn outlive(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::warn!(
            "the fragment service reads its files when it starts: restart it if they have changed"
        );
    }
}

async fn send(asking: &Asking, question: &Ask) -> Result<Reply, CliError> {
    let state_dir = match &asking.state_dir {
        Some(dir) => dir.clone(),
        None => Config::load(&asking.common.config)?.state_dir,
    };
    match ask(&state_dir, question).await? {
        Reply::Refused(text) => Err(CliError::Refused(text.into())),
        reply => Ok(reply),
    }
}

async fn status(asking: &Asking) -> Result<Status, CliError> {
    match send(asking, &Ask::Status).await? {
        Reply::Status(status) => Ok(*status),
        _ => Err(CliError::Version),
    }
}

async fn pending(asking: &Asking) -> Result<(), CliError> {
    match send(asking, &Ask::Pending).await? {
        Reply::Pending(pending) => print(asking, &pending, |out| show::pending(out, &pending)),
        _ => Err(CliError::Version),
    }
}

async fn orphans(asking: &Asking) -> Result<(), CliError> {
    match send(asking, &Ask::Orphans).await? {
        Reply::Orphans(orphans) => print(asking, &orphans, |out| show::orphans(out, &orphans)),
        _ => Err(CliError::Version),
    }
}

async fn approve(asking: &Asking, fingerprint: String, join: bool) -> Result<(), CliError> {
    match send(asking, &Ask::Approve { fingerprint, join }).await? {
        Reply::Approved(approved) => print(asking, &approved, |out| show::approved(out, &approved)),
        _ => Err(CliError::Version),
    }
}

/// Of the service that runs, or of the one that would.
async fn fingerprint(asking: &Asking) -> Result<(), CliError> {
    let fingerprint = match status(asking).await {
        Err(CliError::Ask(AskError::NotRunning)) => open(&asking.common)?.root_fingerprint().to_string(),
        status => status?.root_fingerprint,
    };
    print(asking, &fingerprint, |out| writeln!(out, "{fingerprint}"))
}

async fn change(asking: &Asking, question: &Ask, done: &str) -> Result<(), CliError> {
    match send(asking, question).await? {
        Reply::Changed(keys) => print(asking, &keys, |out| writeln!(out, "{keys} {done}")),
        _ => Err(CliError::Version),
    }
}

fn print<T: serde::Serialize>(
    asking: &Asking,
    value: &T,
    table: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match asking.output {
        Output::Table => table(&mut out)?,
        Output::Json => {
            writeln!(out, "{}", serde_json::to_string_pretty(value).map_err(|_| CliError::Version)?)?
        }
    }
    Ok(())
}
