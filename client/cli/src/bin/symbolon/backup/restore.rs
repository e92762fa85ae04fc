//! `symbolon backup restore` and `drill`.

use std::path::PathBuf;

use clap::Args;
use symbolon_broker::backup::place::Bytes;
use symbolon_broker::backup::restoring::{RestoreError, Restored, restore};
use symbolon_proto::backup::About;
use symbolon_proto::custody::{KeyKind, KeyPair};
use symbolon_proto::secret;

use super::other_log;
use super::place::{Source, Where};
use crate::audit::verifier_key;
use crate::failure::Failure;
use crate::key_file;
use crate::moment::{now_ms, utc};
use crate::output::{Output, printable};

/// Keys that are open at the same time.
const KEYS_AT_ONCE: usize = 64;

/// Whose key opens a backup.
#[derive(Args)]
pub struct Opening {
    /// Key file of a recipient
    #[arg(long = "key", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read its passphrase from a file instead of asking
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,
    /// Accept ordinary memory for keys where no locked pages can be had
    #[arg(long, requires = "key")]
    allow_insecure_memory: bool,
}

/// `symbolon backup restore`
#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    opening: Opening,
    /// Where the store is to be: `store.path` of the broker's configuration. Nothing may be there
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
    /// Key of the audit log: the line that `symbolon operator init` printed, or a file with it
    #[arg(long, value_name = "KEY")]
    log_key: Option<String>,
}

/// `symbolon backup drill`
#[derive(Args)]
pub struct Drill {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    opening: Opening,
    /// Key of the audit log: the line that `symbolon operator init` printed, or a file with it
    #[arg(long, value_name = "KEY")]
    log_key: Option<String>,
    /// Folder with room for the store; it is left as it was
    #[arg(long, value_name = "FOLDER")]
    work: Option<PathBuf>,
}

impl Opening {
    /// The keys of a recipient, if a key file is named.
    pub fn open(self) -> Result<Option<KeyPair>, Failure> {
        let Some(key) = self.key else { return Ok(None) };
        secret::prepare(self.allow_insecure_memory)
            .and_then(|_| secret::reserve(KEYS_AT_ONCE))
            .map_err(|error| Failure::general("no safe memory for keys").because(&error))?;
        key_file::Opening::new(&key, self.passphrase_file.as_deref()).open(KeyKind::Custodian).map(Some)
    }

    /// The same for who needs them.
    fn required(self) -> Result<KeyPair, Failure> {
        self.open()?.ok_or_else(|| Failure::usage("name the key file of a recipient with `--key`"))
    }
}

impl Restore {
    pub async fn run(self, out: Output) -> Result<(), Failure> {
        if self.store.exists() {
            return Err(RestoreError::Exists { path: self.store }.into());
        }
        let keys = self.opening.required()?;
        let bytes = self.source.bytes().await?;
        let restored = restored(bytes, &keys, self.log_key.as_deref(), &self.store).await?;
        let facts = facts(&restored, self.log_key.is_some());
        out.facts(&value(&restored, self.log_key.is_some()), &facts)?;
        if out.is_json() {
            return Ok(());
        }
        out.line(
            "\nThe store is in place. Next: two officers of the fragment service admit the older state, the broker is\n\
             started, custodians unseal it. What was written after the backup is lost (docs/loss.md).",
        )
    }
}

impl Drill {
    pub async fn run(self, out: Output) -> Result<(), Failure> {
        let place = self.place.open()?;
        let log_key = self.log_key.as_deref().map(verifier_key).transpose()?;
        let is_ours = |about: &About| log_key.as_ref().is_none_or(|key| *key == about.log_key);
        let found = place.list().await?.into_iter().rev();
        let newest = found.into_iter().find(|found| found.about.as_ref().is_some_and(is_ours));
        let newest =
            newest.ok_or_else(|| Failure::general("there is no backup of this deployment in the place"))?;
        let keys = self.opening.required()?;
        let folder = match &self.work {
            Some(folder) => tempfile::tempdir_in(folder)?,
            None => tempfile::tempdir()?,
        };
        let store = folder.path().join("store.redb");
        let restored =
            restored(place.get(&newest.name).await?, &keys, self.log_key.as_deref(), &store).await?;
        let mut facts = facts(&restored, self.log_key.is_some());
        facts.insert(0, ("backup", printable(&newest.name)));
        let age = (now_ms() / 1000).saturating_sub(restored.whole.head.about().made);
        facts.push(("age", format!("{} hours {} minutes", age / 3600, age / 60 % 60)));
        let mut value = value(&restored, self.log_key.is_some());
        value["backup"] = newest.name.into();
        value["age_secs"] = age.into();
        out.facts(&value, &facts)
    }
}

async fn restored(
    bytes: Bytes,
    keys: &KeyPair,
    log_key: Option<&str>,
    store: &std::path::Path,
) -> Result<Restored, Failure> {
    let log_key = log_key.map(verifier_key).transpose()?;
    let seed = keys.sealing().ok_or_else(|| Failure::usage("this is not a custodian's key file"))?;
    Ok(restore(bytes, seed, log_key.as_ref(), store).await?)
}

fn facts(restored: &Restored, is_compared: bool) -> Vec<(&'static str, String)> {
    let about = restored.whole.head.about();
    let key = about.log_key.to_string();
    vec![
        ("made", utc(about.made.saturating_mul(1000))),
        ("deployment", about.deployment.to_string()),
        ("rows", restored.whole.rows.unwrap_or_default().to_string()),
        ("log", format!("{} entries, all verified", restored.entries)),
        ("signed by", if is_compared { "the given key".to_owned() } else { format!("{key}; compare it") }),
    ]
}

fn value(restored: &Restored, is_compared: bool) -> serde_json::Value {
    let about = restored.whole.head.about();
    serde_json::json!({
        "made": utc(about.made.saturating_mul(1000)),
        "deployment": about.deployment.to_string(),
        "rows": restored.whole.rows,
        "entries": restored.entries,
        "log_key": about.log_key.to_string(),
        "log_key_compared": is_compared,
    })
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let message = printable(&error.to_string());
        match error {
            RestoreError::Check(error) => error.into(),
            RestoreError::Exists { .. } => Self::usage(message),
            RestoreError::Store { .. } | RestoreError::File { .. } => Self::general(message),
            RestoreError::OtherLog { found } => other_log(&found.to_string()),
            RestoreError::Log(_) => Self::integrity(message),
        }
    }
}
