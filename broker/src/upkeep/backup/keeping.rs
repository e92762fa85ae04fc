//! One backup into its place: written, read back, remembered, and only then older ones are pruned.

use std::sync::{Arc, Weak};

use symbolon_core::audit::{Action, Draft};
use symbolon_proto::custodian::Card;
use tracing::warn;

use crate::access::Session;
use crate::backup::checking::{self, CheckError};
use crate::backup::making::{BrokenOff, Making};
use crate::backup::place::{Place, PlaceError};
use crate::backup::{Backups, Made, kept};
use crate::config::BackupConfig;
use crate::custody::deployment::backup_signing;
use crate::error::OpError;

/// Longest card file that is read, in bytes.
const CARD_BYTES_MAX: u64 = 16 << 10;

/// Why there is no new backup in its place.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Nobody said where it should go.
    #[error(
        "no place for backups is configured; add [backup] to the configuration, or ask for one with `--out`"
    )]
    NoPlan,
    /// A recipient's card.
    #[error("a card in backup.recipients cannot be used: {0}")]
    Card(String),
    /// The broker itself: another one is being made, or rows and log do not answer.
    #[error("{0}")]
    Broker(#[from] OpError),
    /// The place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It was written, and what came back is something else.
    #[error("what was read back is not what was written: {0}")]
    Check(#[from] CheckError),
    /// It was written, and something shorter or longer came back.
    #[error("{found} bytes were read back of a backup of {expected}")]
    Length {
        /// Written.
        expected: u64,
        /// Read.
        found: u64,
    },
}

/// The cards of a plan's recipients.
pub fn cards(plan: &BackupConfig) -> Result<Vec<Card>, KeepError> {
    let card = |path: &std::path::PathBuf| {
        let told = |why: String| KeepError::Card(format!("{}: {why}", path.display()));
        let length = std::fs::metadata(path).map_err(|error| told(error.to_string()))?.len();
        if length > CARD_BYTES_MAX {
            return Err(told("too long for a card".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        Card::parse(&text).map_err(|error| told(error.to_string()))
    };
    plan.recipients.iter().map(card).collect()
}

/// Makes one now.
pub async fn keep_one(session: &Weak<Session>, backups: &Backups) -> Result<Made, KeepError> {
    let plan = backups.plan.as_ref().ok_or(KeepError::NoPlan)?;
    let (cards, place) = (cards(plan)?, Place::open(&plan.to, plan.bucket.as_ref())?);
    let mut making = {
        let session = alive(session)?;
        let making = Making::begin(&session, backups, &cards, backup_signing(&session).await?).await?;
        let names: Vec<&str> = cards.iter().map(Card::name).collect();
        session.record(entry(format!("{} is begun, for {}", making.name(), names.join(", ")))).await?;
        making
    };
    place.put(&mut making).await?;
    let made = making.made().ok_or(PlaceError::BrokenOff(BrokenOff::Sealed))?;
    prove(&place, &made).await?;
    {
        let session = alive(session)?;
        let change = Backups::change(&session, &made)?;
        let what = format!("{} was made and read back", made.name);
        let _receipt = session.commit(vec![change], entry(what)).await?;
    }
    let (deployment, keep) = (making.deployment(), plan.keep);
    drop(making);
    backups.succeeded(made.clone());
    prune(&place, |names| kept::to_prune(names, deployment, keep)).await;
    Ok(made)
}

/// The entry of what was done about a backup.
#[must_use]
pub fn entry(what: String) -> Draft {
    Draft::by_broker(Action::Backup, what)
}

fn alive(session: &Weak<Session>) -> Result<Arc<Session>, KeepError> {
    session.upgrade().ok_or(PlaceError::BrokenOff(BrokenOff::Sealed).into())
}

/// Older ones are removed on the strength of this one, so it is read to its end first.
async fn prove(place: &Place, made: &Made) -> Result<(), KeepError> {
    let whole = checking::check(place.get(&made.name).await?, None).await?;
    match whole.bytes == made.bytes {
        true => Ok(()),
        false => Err(KeepError::Length { expected: made.bytes, found: whole.bytes }),
    }
}

/// What cannot be removed now is removed after the next one.
async fn prune(place: &Place, choose: impl FnOnce(Vec<String>) -> Vec<String>) {
    let names = match place.names().await {
        Ok(names) => choose(names),
        Err(error) => return warn!(%error, "older backups cannot be listed, so none is pruned"),
    };
    for name in names {
        if let Err(error) = place.remove(&name).await {
            warn!(%error, name, "an older backup cannot be removed");
        }
    }
}
