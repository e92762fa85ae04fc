//! Roles that run servers: `broker`, `fragment`, `dev`, `demo`.

mod dev;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use symbolon_broker::config::Config;
use symbolon_broker::reload::Reload;
use symbolon_broker::run::Broker;
use symbolon_cli::demo::narrator::Narrator;
use symbolon_kms_fragment::admin::AskError;
use symbolon_kms_fragment::cli::{CliError, FragmentCommand, LogFormat};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::environment;
use crate::failure::Failure;
use crate::stop::Stop;

/// Server roles.
#[derive(Subcommand)]
pub enum Servers {
    /// Run a broker: it starts sealed, and serves until it is told to stop
    Broker(RunBroker),
    /// Run and operate a fragment service, which holds the other half of every key
    #[command(subcommand)]
    Fragment(FragmentCommand),
    /// Everything on this machine in one process, for trying out: open, empty, gone at Ctrl-C
    Dev(dev::Dev),
    /// Tell and check the whole story on real sockets; exit code 0 only if everything held
    Demo,
}

/// Between two looks at the files of the configuration and the certificate.
const LOOK_AT_FILES: Duration = Duration::from_secs(30);

/// The smallest configuration, shown by `--help` and checked by a test.
const EXAMPLE: &str = r#"listen = "0.0.0.0:8200"

[tls]
cert_file = "/etc/symbolon/tls.crt"
key_file = "/etc/symbolon/tls.key"

[store]
path = "/var/lib/symbolon/store.redb"

[remote]
url = "https://fragment.example:8300"
# What the operator of the fragment service read to you: symbolon fragment fingerprint
fingerprint = "00000 00000 00000 00000 00000 00000 00000 00000 00000 00000 00000 00000"

[init]
# Only until `symbolon operator init` has made the deployment.
allow = true
"#;

/// `symbolon broker`
#[derive(Args)]
#[command(after_help = format!("Example of a configuration:\n\n{EXAMPLE}"))]
pub struct RunBroker {
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "SYMBOLON_CONFIG", default_value = "/etc/symbolon/broker.toml")]
    config: PathBuf,
    /// Look at the configuration and the files that it names, name everything that is wrong, and end
    #[arg(long)]
    check_config: bool,
    /// Form of the log on standard error
    #[arg(long, value_enum, env = "SYMBOLON_LOG_FORMAT", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Servers {
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Broker(command) => {
                log_to_stderr("info", command.log_format);
                command.run().await
            }
            Self::Fragment(command) => {
                log_to_stderr("info", command.log_format());
                symbolon_kms_fragment::cli::run(command).await.map_err(refused)
            }
            Self::Dev(command) => {
                // The wait for approval is over before anybody could read of it.
                log_to_stderr("warn,symbolon_broker::custody::enrolling=error", LogFormat::Text);
                command.run().await
            }
            // No log: the story says what matters, and a withdrawn lease is part of it.
            Self::Demo => match tell().await? {
                None => Err(Failure::general("interrupted")),
                Some(true) => Ok(()),
                Some(false) => Err(Failure::integrity("not everything held")
                    .hint("the table above shows which step; its ✗ lines say what was expected")),
            },
        }
    }
}

/// The exit code of a command of the fragment service, as `docs/cli.md` has it for all commands.
fn refused(error: CliError) -> Failure {
    let failure = match &error {
        CliError::Config(_) | CliError::Faults { .. } | CliError::Fingerprint(_) => Failure::usage,
        CliError::Ask(AskError::NotRunning | AskError::Silent) => Failure::unavailable,
        CliError::Certificate(_) => Failure::integrity,
        CliError::Service(_)
        | CliError::Memory(_)
        | CliError::Listen { .. }
        | CliError::Serve(_)
        | CliError::Ask(AskError::Socket(_) | AskError::Version)
        | CliError::Refused(_)
        | CliError::File { .. }
        | CliError::Version
        | CliError::Output(_) => Failure::general,
    };
    failure("the fragment service's command failed").because(&error)
}

/// Whether everything held; `None` if somebody stopped it. Either way the temporary directory is gone
/// afterwards.
async fn tell() -> std::io::Result<Option<bool>> {
    let mut stop = Stop::new()?;
    let mut narrator = Narrator::to_stdout();
    Ok(tokio::select! {
        held = symbolon_cli::demo::acts::tell(&mut narrator) => Some(held),
        () = stop.asked() => None,
    })
}

impl RunBroker {
    /// The store is not opened, so this may be asked while the broker runs.
    fn check(&self) -> Result<(), Failure> {
        let (faults, path) = (symbolon_broker::check::faults(&self.config), self.config.display());
        if faults.is_empty() {
            return Ok(writeln!(std::io::stdout().lock(), "{path} can be used")?);
        }
        let text = faults.join("\n  ");
        Err(Failure::usage(format!("{} faults in {path}:\n  {text}", faults.len()))
            .hint("`symbolon broker --help` shows an example"))
    }

    async fn run(self) -> Result<(), Failure> {
        if self.check_config {
            return self.check();
        }
        let hangup = signal(SignalKind::hangup())?; // before anything else: from now on it kills nobody
        let config = Config::load(&self.config).map_err(|error| {
            Failure::usage("the broker does not start")
                .because(&error)
                .hint("`symbolon broker --help` shows an example")
        })?;
        let broker = Broker::bind(config).await;
        let mut broker =
            broker.map_err(|error| Failure::general("the broker does not start").because(&error))?;
        tracing::info!(address = %broker.address()?, "the broker listens");
        tokio::spawn(follow(broker.reload(self.config), hangup));
        let served = broker.serve(async {
            // If signals cannot be heard, only SIGKILL is left, and the store is made for that.
            let _ = stop_signal().await;
        });
        served.await.map_err(|error| Failure::general("the broker stopped").because(&error))
    }
}

/// Looks at the broker's files when SIGHUP comes, and now and then without it.
async fn follow(mut reload: Reload, mut hangup: Signal) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(LOOK_AT_FILES) => {}
        }
        reload.look();
    }
}

/// Ctrl-C or SIGTERM.
async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// Logs go to standard error; `SYMBOLON_LOG` chooses what, as in `info,symbolon_broker=debug`.
fn log_to_stderr(usual: &str, format: LogFormat) {
    let chosen = environment::first_of(&["SYMBOLON_LOG", "RUST_LOG"]);
    let filter =
        EnvFilter::try_new(chosen.as_deref().unwrap_or(usual)).unwrap_or_else(|_| EnvFilter::new(usual));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(environment::has_colours(is_terminal)).init(),
        LogFormat::Json => log.with_ansi(false).json().flatten_event(true).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        assert!(Config::parse(EXAMPLE).is_ok());
    }
}
