//! `symbolon backup`: everything that the broker stores, sealed to people, and back from it.

mod create;
mod place;
mod restore;

use clap::{Args, Subcommand};
use symbolon_broker::backup::checking::{self, CheckError};
use symbolon_broker::backup::place::PlaceError;
use symbolon_proto::backup::{About, BackupError, Whole};

use self::place::{Source, Where};
use self::restore::Opening;
use crate::audit::verifier_key;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::moment::utc;
use crate::output::{Output, printable};

/// `symbolon backup`
#[derive(Subcommand)]
pub enum Backup {
    /// Make a backup now: into the broker's configured place, or into a file or standard output
    Create(create::Create),
    /// Prove that a backup is whole and the broker's own, without restoring it
    Verify(Verify),
    /// Make a store of a backup. The broker that ran before must not run again; docs/loss.md has the steps
    Restore(restore::Restore),
    /// List the backups in a place
    List(List),
    /// Restore the newest backup of a place into a folder that is removed again, and say what is in it
    Drill(restore::Drill),
}

/// `symbolon backup verify`
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    source: Source,
    /// Key of the audit log: the line that `symbolon operator init` printed, or a file with it. Without it
    /// the answer names the key, and somebody must compare it
    #[arg(long, value_name = "KEY")]
    log_key: Option<String>,
    #[command(flatten)]
    opening: Opening,
}

/// `symbolon backup list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    place: Where,
}

impl Backup {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(globals).await,
            Self::Verify(command) => command.run(globals.out()).await,
            Self::Restore(command) => command.run(globals.out()).await,
            Self::List(command) => command.run(globals.out()).await,
            Self::Drill(command) => command.run(globals.out()).await,
        }
    }
}

impl Verify {
    async fn run(self, out: Output) -> Result<(), Failure> {
        let log_key = self.log_key.as_deref().map(verifier_key).transpose()?;
        let keys = self.opening.open()?;
        let bytes = self.source.bytes().await?;
        let whole = checking::check(bytes, keys.as_ref().and_then(|keys| keys.sealing())).await?;
        let found = &whole.head.about().log_key;
        if log_key.as_ref().is_some_and(|expected| expected != found) {
            return Err(other_log(&found.to_string()));
        }
        show(out, &whole, log_key.is_some())
    }
}

impl List {
    async fn run(self, out: Output) -> Result<(), Failure> {
        let found = self.place.open()?.list().await?;
        let rows = found.iter().map(|found| {
            let told = |tell: fn(&About) -> String| found.about.as_ref().map_or("?".to_owned(), tell);
            vec![
                told(|about| utc(about.made.saturating_mul(1000))),
                told(|about| about.entries.to_string()),
                found.bytes.to_string(),
                told(|about| about.deployment.to_string()),
                printable(&found.name),
            ]
        });
        let value: Vec<_> = found
            .iter()
            .map(|found| {
                let about = found.about.as_ref();
                serde_json::json!({
                    "name": found.name,
                    "bytes": found.bytes,
                    "made": about.map(|about| utc(about.made.saturating_mul(1000))),
                    "entries": about.map(|about| about.entries),
                    "deployment": about.map(|about| about.deployment.to_string()),
                })
            })
            .collect();
        out.rows(&value, &["MADE", "ENTRIES", "BYTES", "DEPLOYMENT", "NAME"], rows.collect())
    }
}

/// What is known of a backup that is whole.
fn show(out: Output, whole: &Whole, is_compared: bool) -> Result<(), Failure> {
    let about = whole.head.about();
    let recipients: Vec<&str> = whole.head.recipients().collect();
    let made = utc(about.made.saturating_mul(1000));
    let value = serde_json::json!({
        "whole": true,
        "log_key": about.log_key.to_string(),
        "log_key_compared": is_compared,
        "deployment": about.deployment.to_string(),
        "made": made,
        "entries": about.entries,
        "rows": whole.rows,
        "bytes": whole.bytes,
        "recipients": recipients,
    });
    let key = about.log_key.to_string();
    let mut facts = vec![
        ("whole", "yes; every byte is signed".to_owned()),
        ("signed by", if is_compared { "the given key".to_owned() } else { format!("{key}; compare it") }),
        ("deployment", about.deployment.to_string()),
        ("made", made),
        ("log entries", format!("{} or more", about.entries)),
        ("bytes", whole.bytes.to_string()),
        ("recipients", printable(&recipients.join(", "))),
    ];
    facts.extend(whole.rows.map(|rows| ("rows, all opened", rows.to_string())));
    out.facts(&value, &facts)
}

fn other_log(found: &str) -> Failure {
    Failure::integrity("the backup is whole, and signed by another key than the given one")
        .hint(format!("it is signed by {found}; take a backup of your own deployment"))
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        let message = printable(&error.to_string());
        match error {
            PlaceError::Address | PlaceError::Missing { .. } | PlaceError::Client(_) => Self::usage(message),
            PlaceError::File { .. } => Self::general(message),
            PlaceError::Store(_) | PlaceError::Write(_) | PlaceError::BrokenOff(_) => {
                Self::unavailable(message)
            }
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let message = printable(&error.to_string());
        match error {
            BackupError::NotForThisKey { .. } => {
                Self::denied(message).hint("ask one of them to open it with `--key`")
            }
            _ => Self::integrity(message).hint("take another backup; `symbolon backup list` shows them"),
        }
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Place(error) => error.into(),
            CheckError::Backup(error) => error.into(),
        }
    }
}
