//! What one commit writes when a ceremony takes effect: all of it or nothing.
//!
//! ```text
//! seal record, public ┐
//! its encrypted copy  │ the new share set, the new fragment epoch
//! identity, log seed  ┘ under the new K_netkey ┐ only if the keys change
//! keys carried over                            ┘
//! transcript, set with signatures, envelopes     always
//! shares of sources, each in its envelope        with a new share set
//! ```

use std::sync::Arc;

use symbolon_core::audit::{Action, Draft};
use symbolon_core::seal::{Sealed, Unsealed};
use symbolon_core::succession::Changed;
use symbolon_proto::custody::ShareEnvelope;
use symbolon_proto::custody::transcript::Transcript;
use symbolon_proto::share::SignedShareSet;
use symbolon_proto::signing::SigningSeed;

use super::Over;
use super::archive::Archived;
use crate::access::Session;
use crate::custody::deployment::Deployment;
use crate::custody::places::{SEAL_COPY, public_record};
use crate::custody::sources::registry;
use crate::error::{OpError, Text};
use crate::rows::seal_record_key;
use crate::store::{Expect, Write};

/// A deployment from the next moment on.
pub struct Successor {
    /// Its seal.
    pub sealed: Sealed,
    /// Its keys.
    pub unsealed: Arc<Unsealed>,
}

/// Commits a ceremony that is over. `Some` if the broker must open itself again.
pub async fn commit(session: &Session, over: Over) -> Result<Option<Successor>, OpError> {
    let Over { changed, given, mut transcript, asker: _ } = over;
    let deployment = Deployment::read(session.rows.store(), session.unsealed()).await?;
    let seed = deployment.log.signing_seed();
    transcript.sign_as_broker(&seed);
    let (successor, envelopes) = match changed {
        None => (None, Vec::new()),
        Some(Changed { sealed, keys, envelopes }) => {
            let unsealed = Arc::new(keys.succeed(session.unsealed()));
            (Some(Successor { sealed, unsealed }), envelopes)
        }
    };
    let made = successor.as_ref().filter(|_| !envelopes.is_empty()).map(|after| signed_set(after, &seed));
    let kept = Archived::new(&transcript, Some(&given), made.as_ref(), &envelopes, session.now());
    let changes = match &successor {
        None => kept.rows(&session.rows)?,
        Some(after) => succession(session, &deployment, after, &kept)?,
    };
    let dealt = dealt(session, successor.as_ref(), &envelopes).await?;
    let changes = changes.into_iter().chain(dealt).collect();
    let recorded = session.commit(changes, entry(&transcript, successor.as_ref(), &envelopes)).await;
    match recorded.map(drop) {
        Ok(()) => Ok(successor),
        Err(error) => landed_all_the_same(session, successor, error).await,
    }
}

fn signed_set(after: &Successor, seed: &SigningSeed) -> SignedShareSet {
    let mut set = SignedShareSet::new(after.sealed.share_set().clone());
    set.sign_as_broker(seed);
    set
}

/// The commit was not answered, and could not be looked up.
const CHANGE_UNKNOWN: OpError = OpError::Unlogged(Text::fixed(
    "the ceremony may have taken effect and may not: everybody keeps the shares of both sets; seal the broker, and the ceremony to unseal it names the set in force",
));

/// Nobody knows what became of a commit that was not answered, but its rows do.
async fn landed_all_the_same(
    session: &Session,
    after: Option<Successor>,
    error: OpError,
) -> Result<Option<Successor>, OpError> {
    let (Some(after), OpError::Unlogged(_)) = (after, &error) else { return Err(error) };
    match has_landed(session, &after).await {
        Ok(true) => Ok(Some(after)),
        Ok(false) => Err(error),
        Err(_) => Err(CHANGE_UNKNOWN),
    }
}

async fn has_landed(session: &Session, after: &Successor) -> Result<bool, OpError> {
    let row = session.rows.store().get(&seal_record_key()).await?;
    Ok(row.is_some_and(|row| public_record(&after.sealed).is_ok_and(|public| public == row.value)))
}

/// The change itself, under the keys that follow.
fn succession(
    session: &Session,
    deployment: &Deployment,
    after: &Successor,
    kept: &Archived,
) -> Result<Vec<Write>, OpError> {
    let rows = session.rows.under(Arc::clone(&after.unsealed));
    let mut changes = kept.rows(&rows)?;
    let public = public_record(&after.sealed)?;
    changes.push(Write::Put { key: seal_record_key(), value: public, expect: Expect::Any });
    changes.push(rows.put(SEAL_COPY, after.sealed.record(), Expect::Any)?);
    if after.unsealed.keys().epoch != session.unsealed().keys().epoch {
        changes.extend(deployment.succession(&after.unsealed)?);
    }
    Ok(changes)
}

/// The shares of sources among new ones: a sealed broker reads them where it finds the seal record.
async fn dealt(
    session: &Session,
    after: Option<&Successor>,
    envelopes: &[ShareEnvelope],
) -> Result<Vec<Write>, OpError> {
    let Some(after) = after.filter(|_| !envelopes.is_empty()) else { return Ok(Vec::new()) };
    let sources = registry::read(session.rows.store()).await?;
    Ok(registry::dealt(sources, after.sealed.share_set(), envelopes))
}

fn entry(transcript: &Transcript, after: Option<&Successor>, envelopes: &[ShareEnvelope]) -> Draft {
    let what = match after {
        None => "every share that was given is right".to_owned(),
        Some(Successor { sealed, .. }) if envelopes.is_empty() => {
            format!("fragment epoch {} begins", sealed.frag_epoch())
        }
        Some(Successor { sealed, .. }) => format!(
            "share set {} ({} of {}), fragment epoch {}",
            sealed.share_set().set_id(),
            sealed.share_set().threshold(),
            sealed.share_set().sharing().total(),
            sealed.frag_epoch()
        ),
    };
    let hash = data_encoding::HEXLOWER.encode(transcript.hash());
    let role = format!("ceremony {}: {what}; transcript {hash}", transcript.ceremony().name());
    Draft::by_broker(Action::Ceremony, role)
}
