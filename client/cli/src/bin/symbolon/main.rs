//! The `symbolon` binary: every role of the system, and the tools of those who run it.
//!
//! One file per command group. Commands talk to a broker through the library, print through [`output`], and
//! fail with a [`failure::Failure`]: what happened, what to do next, and a documented exit code
//! (`docs/cli.md`).

mod advice;
mod arguments;
mod audit;
#[cfg(feature = "servers")]
mod backup;
mod cards;
mod ceremony;
mod completion;
mod custodian;
mod custody;
mod envelopes;
mod environment;
mod eso;
#[cfg(feature = "servers")]
mod eso_setup;
mod failure;
mod fields;
mod globals;
mod help;
mod indent;
mod input;
mod key_file;
mod kv;
#[cfg(feature = "servers")]
mod load;
mod login;
mod man;
mod moment;
mod mounts;
mod officer;
mod operator;
mod operator_init;
mod operator_root;
mod operator_rotate;
mod output;
mod paths;
mod policy;
mod promised;
#[cfg(feature = "servers")]
mod recovery;
mod role;
#[cfg(feature = "servers")]
mod servers;
#[cfg(feature = "servers")]
mod setup;
#[cfg(feature = "servers")]
mod stop;
mod token;
mod token_file;
mod workload;
mod yaml;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::failure::{EXIT_CODES_HELP, Failure};
use crate::globals::{Asking, Globals};

/// Split-key secrets and identity broker: servers, and the tools of those who run them.
#[derive(Parser)]
#[command(name = "symbolon", version = VERSION, after_help = EXIT_CODES_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up a first deployment, one side each; again, it says what is next
    #[cfg(feature = "servers")]
    #[command(subcommand)]
    Setup(setup::Setup),
    /// Initialise, unseal, seal, and see the state of a broker
    Operator(Asking<operator::Operator>),
    /// Follow a ceremony: who has given, who is missing, what is wrong
    Ceremony(Asking<ceremony::CeremonyCommand>),
    /// Sources, which give shares without a person: enrol, test, remove, see
    Custody(Asking<custody::CustodyCommand>),
    /// Keys of those who hold shares, and giving a share
    Custodian(Asking<custodian::Custodian>),
    /// Keys of those whose orders a fragment service carries out
    Officer(Asking<officer::Officer>),
    /// Read and write secrets
    Kv(Asking<kv::Kv>),
    /// Escrow of the remote key: make it, prove it on a copy of the store, use it when the vendor is gone
    #[cfg(feature = "servers")]
    Recovery(Asking<recovery::Recovery>),
    /// Back up everything that the broker stores, prove backups, restore from them
    #[cfg(feature = "servers")]
    Backup(Asking<backup::Backup>),
    /// Print the state of the seal, with Vault's exit codes: 0 open, 2 sealed, 1 neither
    Status(StatusOf),
    /// Read any path of the API
    Read(paths::Read),
    /// Write to any path of the API
    Write(paths::Write),
    /// List names below any path of the API
    List(paths::List),
    /// Delete at any path of the API
    Delete(paths::Delete),
    /// Secrets engines: mount, unmount, list, tune
    Secrets(Asking<mounts::Secrets>),
    /// Login methods: enable, disable, list, tune
    Auth(Asking<mounts::Auth>),
    /// Who may log in through a login method, and with which policies
    Role(Asking<role::Role>),
    /// Manage policies
    Policy(Asking<policy::Policy>),
    /// Make, look up, renew and revoke tokens
    Token(Asking<token::Token>),
    /// Exchange evidence for a token and keep it
    Login(login::Login),
    /// Tokens with which a workload presents itself to others
    Workload(Asking<workload::Workload>),
    /// Read and verify the audit log
    Audit(Asking<audit::Audit>),
    /// Manifests for the External Secrets Operator
    Eso(Asking<eso::Eso>),
    /// Print what makes a shell complete commands
    Completion(completion::Completion),
    /// Write manual pages, one per command
    Man(man::Man),
    #[cfg(feature = "servers")]
    #[command(flatten)]
    Servers(servers::Servers),
    /// Measure a broker: fill it, then read over TLS from many connections
    #[cfg(feature = "servers")]
    Load(load::Load),
}

/// The version, and the commit if the build knows it.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("SYMBOLON_COMMIT_SUFFIX"));

/// The command line as it is parsed, shown and completed.
pub fn command() -> clap::Command {
    help::grouped(Cli::command())
}

/// What was typed. A usage error of `status` must not look like its code for "sealed".
fn parsed() -> Result<Cli, ExitCode> {
    let arguments = arguments::with_long_options(std::env::args_os(), &command());
    let is_status = arguments.get(1).is_some_and(|word| word == "status");
    let matches = command().try_get_matches_from(arguments);
    matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        let _ = error.print(); // if nobody reads it, nobody is told
        match error.exit_code() {
            0 => ExitCode::SUCCESS,
            _ if is_status => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        }
    })
}

/// `symbolon status`
#[derive(Args)]
struct StatusOf {
    #[command(flatten)]
    globals: Globals,
}

/// How long work on threads may take to end when everything else has.
const THREADS_END: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(command).complete(); // ends here if a shell asks
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let _ = symbolon_proto::secret::keep_two_heaps(); // without it only more memory is used
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::general("the runtime cannot start").because(&error).report(),
    };
    let done = runtime.block_on(run(cli));
    // Threads that a disk or a full pipe keeps must not keep the process, and with it the lock of the store.
    runtime.shutdown_timeout(THREADS_END);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        #[cfg(feature = "servers")]
        Command::Setup(command) => command.run().await,
        Command::Operator(asking) => asking.command.run(&asking.globals).await,
        Command::Ceremony(asking) => asking.command.run(&asking.globals).await,
        Command::Custody(asking) => asking.command.run(&asking.globals).await,
        Command::Custodian(asking) => asking.command.run(&asking.globals).await,
        Command::Officer(asking) => asking.command.run(asking.globals.out()),
        Command::Kv(asking) => asking.command.run(&asking.globals).await,
        #[cfg(feature = "servers")]
        Command::Recovery(asking) => asking.command.run(asking.globals.out()).await,
        #[cfg(feature = "servers")]
        Command::Backup(asking) => asking.command.run(&asking.globals).await,
        Command::Status(status) => operator::status_as_vault(&status.globals).await,
        Command::Read(command) => command.run().await,
        Command::Write(command) => command.run().await,
        Command::List(command) => command.run().await,
        Command::Delete(command) => command.run().await,
        Command::Secrets(asking) => asking.command.run(&asking.globals).await,
        Command::Auth(asking) => asking.command.run(&asking.globals).await,
        Command::Role(asking) => asking.command.run(&asking.globals).await,
        Command::Policy(asking) => asking.command.run(&asking.globals).await,
        Command::Token(asking) => asking.command.run(&asking.globals).await,
        Command::Login(login) => login.run().await,
        Command::Workload(asking) => asking.command.run(&asking.globals).await,
        Command::Audit(asking) => asking.command.run(&asking.globals).await,
        Command::Eso(asking) => asking.command.run(&asking.globals).await,
        Command::Completion(completion) => completion.run(),
        Command::Man(man) => man.run(),
        #[cfg(feature = "servers")]
        Command::Servers(command) => command.run().await,
        #[cfg(feature = "servers")]
        Command::Load(load) => load.run().await,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_options_share_a_name() {
        super::command().debug_assert();
    }
}
