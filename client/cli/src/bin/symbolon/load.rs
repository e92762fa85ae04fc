//! `symbolon load`: how much a broker bears on this machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, value_parser};
use symbolon::Client;
use symbolon_cli::load::report::Report;
use symbolon_cli::load::stage::Stage;
use symbolon_cli::load::{Endpoint, LoadError, Plan, SECRETS_MAX, Target};

use crate::failure::Failure;
use crate::globals::token;
use crate::input;
use crate::stop::Stop;

/// `symbolon load`
#[derive(Args)]
pub struct Load {
    /// Secrets to write first, each with one value
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=i64::from(SECRETS_MAX)))]
    secrets: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 512, value_parser = value_parser!(u32).range(8..=32_768))]
    value_bytes: u32,
    /// Connections, each with one read under way at any time
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=512))]
    connections: u32,
    /// Seconds of reading that count
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Rounds of reading; on a machine that others use as well, the quiet ones count
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Page cache of the broker in MiB; without it the broker's own default
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u32).range(1..=65_536))]
    cache_mib: Option<u32>,
    /// Load this broker instead of one that is made for it: writes below `load/` of the mount, as the
    /// caller's token may
    #[arg(long, value_name = "URL", requires = "ca_cert", conflicts_with = "cache_mib")]
    addr: Option<String>,
    /// PEM file with the CA of that broker
    #[arg(long, value_name = "FILE", requires = "addr")]
    ca_cert: Option<PathBuf>,
    /// Mount of that broker's secrets
    #[arg(long, default_value = "secret", requires = "addr")]
    mount: String,
}

impl Load {
    pub async fn run(self) -> Result<(), Failure> {
        let plan = Plan {
            secrets: self.secrets,
            value_bytes: self.value_bytes as usize,
            connections: self.connections as usize,
            seconds: self.seconds,
            rounds: self.rounds,
        };
        let mut stop = Stop::new()?;
        let report = tokio::select! {
            report = self.load(plan) => report?,
            // What was started and made ends and goes with the future that is dropped here.
            () = stop.asked() => return Err(Failure::general("the load was interrupted")),
        };
        let report = report.map_err(|error| Failure::general("the load ended early").because(&error))?;
        write!(std::io::stdout().lock(), "{report}")?;
        match report.held() {
            true => Ok(()),
            false => Err(Failure::integrity("a read was not answered with its secret, or left no entry")),
        }
    }

    async fn load(&self, plan: Plan) -> Result<Result<Report, LoadError>, Failure> {
        Ok(match (&self.addr, &self.ca_cert) {
            (Some(url), Some(ca)) => symbolon_cli::load::run(plan, &self.existing(url, ca)?, tell).await,
            _ => on_a_stage(plan, self.cache_mib.map(|mib| (mib as usize) << 20)).await,
        })
    }

    fn existing(&self, url: &str, ca: &Path) -> Result<Target, Failure> {
        let pem = input::file(ca)?;
        let endpoint = Endpoint::new(url, pem.as_bytes());
        let endpoint = endpoint.map_err(|error| Failure::usage("no broker to load").because(&error))?;
        let token = token()?;
        let client = Client::builder(url).ca_pem(pem.as_bytes()).retry_within(Duration::ZERO).build()?.into();
        Ok(Target {
            endpoint,
            client,
            mount: self.mount.clone(),
            writer: token.clone(),
            readers: vec![token],
            pid: None,
            store: None,
        })
    }
}

async fn on_a_stage(plan: Plan, cache_bytes: Option<usize>) -> Result<Report, LoadError> {
    tell("starting a fragment service and a broker");
    let stage = Stage::set(&std::env::current_exe()?, cache_bytes).await?;
    let target = stage.target(plan.connections).await?;
    symbolon_cli::load::run(plan, &target, tell).await
}

/// For people who wait; results go to standard output.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{what} …"); // if nobody reads it, nobody waits
}
