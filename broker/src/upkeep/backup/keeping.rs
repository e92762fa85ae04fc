//! One backup into its place: written, read back, remembered, and only then older ones are pruned.

use std::sync::{Arc, Weak};

use symbolon_core::audit::{Action, Draft};
use symbolon_proto::custodian::Card;
use tracing::warn;

use crate::access::Session;
use crate::backup::checking::{self, CheckError};
use crate::backup::journal::Fault;
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

impl KeepError {
    /// What of it anyone may know.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Broker(_) => Fault::Broker,
            Self::Card(_) => Fault::Cards,
            Self::NoPlan | Self::Place(_) => Fault::Place,
            Self::Check(_) | Self::Length { .. } => Fault::ReadBack,
        }
    }
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

/// Makes one now. What was not proven to be whole does not stay in its place.
pub async fn keep_one(session: &Weak<Session>, backups: &Backups) -> Result<Made, KeepError> {
    let plan = backups.plan.as_ref().ok_or(KeepError::NoPlan)?;
    let (cards, place) = (cards(plan)?, Place::open(&plan.to, plan.bucket.as_ref())?);
    let mut making = begin(session, backups, &cards).await?;
    let made = match put(&place, &mut making).await {
        Ok(made) => made,
        Err(error) => {
            let _ = place.remove(&making.name()).await; // most likely it is not there
            return Err(error);
        }
    };
    {
        let session = alive(session)?;
        let change = backups.change(&session, &made)?;
        let what = format!("{} was made and read back", made.name);
        let _receipt = session.commit(vec![change], entry(what)).await?;
    }
    backups.succeeded(&made);
    let deployment = making.deployment();
    prune(&place, |names| kept::to_prune(names, deployment, &made.name, plan.keep)).await;
    if let Err(error) = place.sweep(deployment).await {
        warn!(%error, "what an earlier process left of a backup cannot be removed");
    }
    Ok(made)
}

async fn begin(session: &Weak<Session>, backups: &Backups, cards: &[Card]) -> Result<Making, KeepError> {
    let session = alive(session)?;
    let making = Making::begin(&session, backups, cards, backup_signing(&session).await?).await?;
    session.record(entry(format!("{} is begun, for {}", making.name(), people(cards)))).await?;
    Ok(making)
}

/// Older ones are removed on the strength of this one, so it is read to its end.
async fn put(place: &Place, making: &mut Making) -> Result<Made, KeepError> {
    place.put(making).await?;
    let made = making.made().ok_or(PlaceError::BrokenOff(BrokenOff::Sealed))?;
    let whole = async { checking::check(place.get(&made.name).await?, None).await };
    match whole.await?.bytes {
        found if found == made.bytes => Ok(made),
        found => Err(KeepError::Length { expected: made.bytes, found }),
    }
}

/// Names and fingerprints of those who can open it, for its entry.
#[must_use]
pub fn people(cards: &[Card]) -> String {
    let people: Vec<_> =
        cards.iter().map(|card| format!("{} ({})", card.name(), card.fingerprint())).collect();
    people.join(", ")
}

/// The entry of what was done about a backup.
#[must_use]
pub fn entry(what: String) -> Draft {
    Draft::by_broker(Action::Backup, what)
}

fn alive(session: &Weak<Session>) -> Result<Arc<Session>, KeepError> {
    session.upgrade().ok_or(PlaceError::BrokenOff(BrokenOff::Sealed).into())
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
