//! Backups at an operator's wish: one into the configured place, or one that is given out as it is made.
//!
//! Nothing in a backup is readable without both halves of the keys. Whoever gets one has what a thief of the
//! disk has, so it needs `sudo`, and its entry is durable before its first byte leaves.

use std::sync::{Arc, Weak};

use symbolon_core::audit::{Action, Withheld};
use symbolon_core::policy::Operation;
use symbolon_proto::custodian::Card;

use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::backup::journal::Journal;
use crate::backup::making::Making;
use crate::backup::{Backups, Known, Made};
use crate::custody::deployment::backup_signing;
use crate::error::{OpError, Text};
use crate::upkeep;
use crate::upkeep::backup::keeping::{self, KeepError};

/// What is known of backups, and whether one is being made.
pub async fn state(who: &Asker<'_>) -> Result<(Journal, bool), OpError> {
    let request = begin(who, "symbolon/backup", Operation::Read).await?;
    let backups = request.record_failure(of(request.session())).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok((backups.journal(), backups.is_under_way()))
}

/// Begins one into the configured place. How it ends is in the state.
pub async fn now(who: &Asker<'_>) -> Result<(), OpError> {
    let request = begin(who, "symbolon/backup", Operation::Update).await?;
    let backups = request.record_failure(ready(request.session())).await?;
    request.commit(Object::Named("a backup into its place".to_owned()), Vec::new()).await?;
    let session = Arc::downgrade(who.session);
    tokio::spawn(async move { upkeep::backup::make(&session, &backups).await });
    Ok(())
}

/// Begins one for whoever asks, sealed to the owners of `cards`, or to the configured recipients if there are
/// none.
pub async fn stream(who: &Asker<'_>, cards: Vec<Card>) -> Result<Making, OpError> {
    let request = begin(who, "symbolon/backup/stream", Operation::Update).await?;
    let begun = request.record_failure(prepare(request.session(), cards).await).await?;
    let (making, object) = begun;
    let receipt = request.commit_for_disclosure(Object::Named(object), Vec::new()).await?;
    Ok(Withheld::new(making).disclose(receipt))
}

/// The entry of how one that was given out has ended.
pub async fn ended(session: &Weak<Session>, name: &str, made: Option<&Made>) {
    let how = match made {
        Some(made) => format!("{name} was given out whole, {} bytes", made.bytes),
        None => format!("{name} was broken off"),
    };
    if let Some(session) = session.upgrade()
        && session.record(keeping::entry(how)).await.is_err()
    {
        tracing::warn!(name, "how a backup ended could not be entered into the audit log");
    }
}

async fn prepare(session: &Session, cards: Vec<Card>) -> Result<(Making, String), OpError> {
    let backups = of(session)?;
    let cards = if cards.is_empty() { configured(&backups)? } else { cards };
    let making = Making::begin(session, &backups, &cards, backup_signing(session).await?).await?;
    let object = format!("{} for {}", making.name(), keeping::people(&cards));
    Ok((making, object))
}

fn configured(backups: &Backups) -> Result<Vec<Card>, OpError> {
    let none = "nobody could open this backup: name cards with `--card`, or configure backup.recipients";
    let plan = backups.plan.as_ref().ok_or(OpError::invalid(none))?;
    keeping::cards(plan).map_err(|error| OpError::Refused(Text::of(&error)))
}

fn of(session: &Session) -> Result<Arc<Backups>, OpError> {
    session.of::<Known>().get().cloned().ok_or(OpError::BUSY)
}

/// The same if one could begin.
fn ready(session: &Session) -> Result<Arc<Backups>, OpError> {
    let backups = of(session)?;
    if backups.plan.is_none() {
        return Err(OpError::Refused(Text::of(&KeepError::NoPlan)));
    }
    if backups.is_under_way() { Err(OpError::BUSY) } else { Ok(backups) }
}

async fn begin(who: &Asker<'_>, route: &str, operation: Operation) -> Result<Authorised, OpError> {
    Request::begin(who, Action::Backup, &Route::system(route)).await?.authorise(operation).await
}
