//! The fragment service on its own, for images that hold nothing else.

use std::process::ExitCode;

use clap::Parser;
use symbolon_kms_fragment::cli::{self, FragmentCommand, LogFormat};
use tracing_subscriber::EnvFilter;

/// Holds one half of every key and answers one question.
#[derive(Debug, Parser)]
#[command(name = "symbolon-fragment", version)]
struct Arguments {
    #[command(subcommand)]
    command: FragmentCommand,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.command.log_format() {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    match cli::run(arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::explain(&error);
            ExitCode::FAILURE
        }
    }
}
