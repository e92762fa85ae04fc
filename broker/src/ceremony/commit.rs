//! What one commit writes when a ceremony takes effect: all of it or nothing.
//!
//! ```text
//! seal record, public ┐
//! its sealed copy     │ the new share set, the new fragment epoch
//! identity, log seed  ┘ under the new K_netkey ┐ only if the keys change
//! keys carried over                            ┘
//! transcript, set with signatures, envelopes     always
//! ```

use std::sync::Arc;

use symbolon_core::audit::{Action, Detail, Draft, Outcome};
use symbolon_core::change::Changed;
use symbolon_core::seal::{Sealed, Unsealed};
use symbolon_proto::custody::ShareEnvelope;
use symbolon_proto::custody::transcript::Transcript;
use symbolon_proto::share::SignedShareSet;

use super::Over;
use super::kept::Kept;
use crate::deployment::{self, Deployment};
use crate::open::SEAL_COPY;
use crate::ops::OpError;
use crate::records::{Rows, seal_record_key};
use crate::session::Session;
use crate::store::{Expect, Op};

/// A deployment from the next moment on.
pub struct Successor {
    /// Its seal.
    pub sealed: Sealed,
    /// Its keys.
    pub unsealed: Arc<Unsealed>,
}

/// Commits a ceremony that is over. `Some` if the broker must open itself anew.
pub async fn commit(session: &Session, over: Over) -> Result<Option<Successor>, OpError> {
    let Over { changed, given, mut transcript } = over;
    let log = Deployment::read(session.rows.store(), session.unsealed()).await?.log;
    let seed = log.signing_seed();
    transcript.sign_as_broker(&seed);
    let (successor, envelopes) = match changed {
        None => (None, Vec::new()),
        Some(Changed { sealed, keys, envelopes }) => {
            let unsealed = Arc::new(keys.succeed(session.unsealed()));
            (Some(Successor { sealed, unsealed }), envelopes)
        }
    };
    let made = successor.as_ref().filter(|_| !envelopes.is_empty()).map(|successor| {
        let mut set = SignedShareSet::new(successor.sealed.share_set().clone());
        set.sign_as_broker(&seed);
        set
    });
    let kept = Kept::new(&transcript, Some(&given), made.as_ref(), &envelopes, session.now());
    let mut changes = Vec::new();
    match &successor {
        None => changes.extend(kept.rows(&session.rows)?),
        Some(successor) => {
            let rows = session.rows.under(Arc::clone(&successor.unsealed));
            changes.extend(kept.rows(&rows)?);
            changes.extend(succession(session, successor, &rows).await?);
        }
    }
    let recorded = session.commit(changes, entry(&transcript, successor.as_ref(), &envelopes)).await;
    match (recorded, successor) {
        (Ok(_receipt), successor) => Ok(successor),
        // Nobody knows what became of a commit that was not answered, but its rows do.
        (Err(OpError::AuditUnavailable), Some(successor)) => match has_landed(session, &successor).await {
            Ok(true) => Ok(Some(successor)),
            Ok(false) => Err(OpError::AuditUnavailable),
            Err(_) => Err(OpError::ChangeUnknown),
        },
        (Err(error), _) => Err(error),
    }
}

async fn has_landed(session: &Session, after: &Successor) -> Result<bool, OpError> {
    let row = session.rows.store().get(&seal_record_key()).await?;
    Ok(row.is_some_and(|row| public_record(&after.sealed).is_ok_and(|public| public == row.value)))
}

fn public_record(sealed: &Sealed) -> Result<Vec<u8>, OpError> {
    serde_json::to_vec(sealed.record()).map_err(|_| OpError::Integrity)
}

async fn succession(session: &Session, after: &Successor, rows: &Rows) -> Result<Vec<Op>, OpError> {
    let record = after.sealed.record();
    let mut changes = vec![
        Op::Put { key: seal_record_key(), value: public_record(&after.sealed)?, expect: Expect::Any },
        rows.put(SEAL_COPY, record, Expect::Any)?,
    ];
    let before = session.unsealed();
    if after.unsealed.keys().epoch != before.keys().epoch {
        changes.extend(deployment::succession(session.rows.store(), before, &after.unsealed).await?);
    }
    Ok(changes)
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
    let detail = Detail { caller: "broker".to_owned(), role, ..Detail::default() };
    Draft { action: Action::Ceremony, outcome: Outcome::Allowed, detail }
}
