//! Options that every command takes which talks to a broker: which one, whom to trust, how to print.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use symbolon::{Builder, Client, Token};
use symbolon_cli::Operator;

use crate::environment;
use crate::failure::Failure;
use crate::output::Output;
use crate::token_file;

/// Address of a broker on this machine.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
/// How long a call may take, unless it is one that takes longer than most.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    // Without help texts of their own, so that each command's help stays short.
    Table,
    Json,
    Yaml,
    Csv,
}

/// A group of commands that talk to a broker.
#[derive(Args)]
pub struct Asking<C: Subcommand> {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: C,
}

/// Options that every command takes which talks to a broker.
#[derive(Args)]
#[command(next_help_heading = "Broker and output")]
pub struct Globals {
    /// Address of the broker [env: SYMBOLON_ADDR, BAO_ADDR, VAULT_ADDR] [default: https://127.0.0.1:8200]
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,
    /// PEM file with the CA of the broker; without it the system's roots count [env: SYMBOLON_CACERT,
    /// BAO_CACERT, VAULT_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Namespace, if the broker has several [env: SYMBOLON_NAMESPACE, BAO_NAMESPACE, VAULT_NAMESPACE]
    #[arg(long, global = true, value_name = "NAME")]
    tenant: Option<String>,
    /// Seconds that a call may take [default: 60, and 900 for `operator init`]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: Option<u64>,
    /// How to print: for people, or for programs
    #[arg(long, short, alias = "format", global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Print this field of the answer only, such as auth.client_token
    #[arg(long, global = true, value_name = "NAME")]
    field: Option<String>,
}

impl Globals {
    /// Where the broker is.
    pub fn address(&self) -> String {
        let from_environment = || environment::first_of(&environment::ADDRESS);
        self.address.clone().or_else(from_environment).unwrap_or_else(|| DEFAULT_ADDRESS.to_owned())
    }

    /// The CA file, if one was named.
    pub fn ca_cert(&self) -> Option<PathBuf> {
        let from_environment = || environment::first_of(&environment::CA_CERT).map(PathBuf::from);
        self.ca_cert.clone().or_else(from_environment)
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Result<Operator, Failure> {
        self.anonymous_within(TIMEOUT)
    }

    /// A client without a token, for calls that usually take longer than most.
    pub fn anonymous_within(&self, usually: Duration) -> Result<Operator, Failure> {
        Ok(self.builder(usually).build()?.into())
    }

    /// A client with the caller's token.
    pub fn client(&self) -> Result<Operator, Failure> {
        let builder = self.builder(TIMEOUT);
        Ok(builder.token(token()?).build()?.into())
    }

    fn builder(&self, usual_timeout: Duration) -> Builder {
        let timeout = self.timeout.map_or(usual_timeout, Duration::from_secs);
        let mut builder = Client::builder(&self.address()).timeout(timeout).retry_within(Duration::ZERO);
        if let Some(path) = self.ca_cert() {
            builder = builder.ca_file(path);
        }
        let from_environment = || environment::first_of(&environment::NAMESPACE);
        if let Some(namespace) = self.tenant.clone().or_else(from_environment) {
            builder = builder.namespace(&namespace);
        }
        builder
    }

    /// Where to print.
    pub fn out(&self) -> Output {
        Output::new(self.output).only(self.field.as_deref())
    }
}

/// The caller's token.
pub fn token() -> Result<Token, Failure> {
    let stored = match environment::first_of(&environment::TOKEN) {
        Some(text) => Some(Token::new(&text).map_err(symbolon::Error::from)?),
        None => token_file::load()?,
    };
    stored.ok_or_else(|| {
        Failure::denied("no token").hint("log in with `symbolon login`, or set SYMBOLON_TOKEN")
    })
}
