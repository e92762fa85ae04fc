//! `symbolon recovery`: the escrow that lets custodians read their data when the fragment service is gone for
//! good.

mod export;
mod gather;
mod keygen;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use symbolon_broker::recovery::{Copy, Recovered, RecoveryError, Report};
use symbolon_proto::secret;

use crate::failure::Failure;
use crate::output::{Output, printable};

/// Keys of the copy that are open at the same time.
const KEYS_AT_ONCE: usize = 1024;

/// `symbolon recovery`
#[derive(Subcommand)]
pub enum Recovery {
    /// Make an escrow key and split its private half among custodians; do it before `operator init`
    Keygen(keygen::Keygen),
    /// Prove on a copy of the store that custodians alone can read everything; shows no secret and changes
    /// nothing
    Drill(Drill),
    /// Write every secret into a new file. For the day when the fragment service is gone
    Export(export::Export),
}

/// `symbolon recovery drill`
#[derive(Args)]
pub struct Drill {
    #[command(flatten)]
    source: Source,
}

/// A copy of a store and the shares that open it.
#[derive(Args)]
pub struct Source {
    /// A copy of the broker's store, made while the broker was stopped or by its backup. Never the store
    /// itself
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
    /// Read shares from a file, one per line, in any order; `-` is standard input. Otherwise they are asked
    /// for
    #[arg(long, value_name = "FILE")]
    shares: Option<PathBuf>,
    /// Accept ordinary memory for keys where no locked pages can be had
    #[arg(long)]
    allow_insecure_memory: bool,
}

impl Recovery {
    pub async fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Self::Keygen(command) => command.run(out),
            Self::Drill(command) => command.run(out).await,
            Self::Export(command) => command.run(out).await,
        }
    }
}

impl Drill {
    async fn run(self, out: Output) -> Result<(), Failure> {
        let recovered = self.source.recover().await?;
        let report = recovered.go_through::<Failure>(|_| Ok(())).await?;
        show(out, &report)?;
        judge(&report)
    }
}

impl Source {
    /// Fragment shares, then escrow shares, then everything can be read.
    async fn recover(&self) -> Result<Recovered, Failure> {
        secret::prepare(self.allow_insecure_memory)
            .and_then(|_| secret::reserve(KEYS_AT_ONCE))
            .map_err(|error| Failure::general("no safe memory for keys").because(&error))?;
        let copy = Copy::open(&self.store).await?;
        let mut shares = gather::Shares::open(self.shares.as_deref())?;
        let fragment = shares.combine(copy.share_set())?;
        let unlocked = copy.unlock(&fragment).await?;
        drop(fragment);
        let recombined = shares.combine(unlocked.escrow_key().set())?;
        let seed = unlocked
            .escrow_key()
            .private(&recombined)
            .map_err(|error| Failure::integrity(error.to_string()))?;
        Ok(unlocked.recover(&seed).await?)
    }
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        let message = printable(&error.to_string());
        match error {
            RecoveryError::Store(_) => Self::unavailable(message)
                .hint("make a copy of the store while its broker is stopped, and give the path of that copy"),
            RecoveryError::Integrity
            | RecoveryError::SealRecord
            | RecoveryError::OtherEscrowKey
            | RecoveryError::Combine { .. }
            | RecoveryError::TooFew { .. } => Self::integrity(message),
            RecoveryError::NotInitialised | RecoveryError::NoEscrow | RecoveryError::Read(_) => {
                Self::general(message)
            }
        }
    }
}

/// Prints what was found; names of what is wrong last, where they are seen.
fn show(out: Output, report: &Report) -> Result<(), Failure> {
    let mut facts = Vec::new();
    for epoch in &report.epochs {
        facts.push((
            "remote key",
            format!(
                "epoch {}: {} of {} envelopes right, {} needed",
                epoch.key_epoch, epoch.usable, epoch.nodes, epoch.needed
            ),
        ));
    }
    facts.push(("capsules opened", report.capsules.to_string()));
    facts.push(("secrets", report.secrets.to_string()));
    facts.push(("versions opened", report.versions.to_string()));
    facts.push(("versions destroyed", report.destroyed.to_string()));
    facts.push(("wrong", report.wrong.to_string()));
    out.facts(report, &facts)?;
    if out.is_json() {
        return Ok(());
    }
    let mut wrong = report.epochs.iter().flat_map(|epoch| &epoch.wrong).chain(&report.wrong_names);
    wrong.try_for_each(|what| out.line(&printable(&format!("  !  {what}"))))
}

/// Exit code 6 if anything does not open.
fn judge(report: &Report) -> Result<(), Failure> {
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::integrity("not everything can be recovered").hint(
        "look at the names above; have the nodes' operators renew wrong envelopes, and check the backup",
    ))
}
