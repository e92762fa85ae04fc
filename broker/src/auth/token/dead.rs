//! The end of tokens that nobody revokes: expired ones, those whose ancestors are gone, and what leads to
//! tokens that are not there.

use symbolon_core::audit::{Action, Draft};
use symbolon_core::token::ServiceToken;

use crate::access::Session;
use crate::access::endings::{Ended, Ending, Looking};
use crate::access::tokens::{ACCESSORS, Pointer, TOKENS, find, removal, require_ancestors};
use crate::error::OpError;
use crate::rows::{Cursor, Found};

/// Tokens first: what leads to them goes with them.
pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        table: TOKENS,
        rows: |_| Some(Cursor::of_table(TOKENS)),
        entry: || Draft::by_broker(Action::TokenRevoke, "dead tokens removed"),
        look: |session, found| -> Looking<'_> { Box::pin(look_at_token(session, found)) },
        round: Ending::FORGETS,
    },
    Ending {
        table: ACCESSORS,
        rows: |_| Some(Cursor::of_table(ACCESSORS)),
        entry: || Draft::by_broker(Action::TokenRevoke, "accessors of tokens that are gone removed"),
        look: |session, found| -> Looking<'_> { Box::pin(look_at_pointer(session, found)) },
        round: Ending::FORGETS,
    },
];

async fn look_at_token(session: &Session, found: &Found) -> Result<Option<Ended>, OpError> {
    let row: ServiceToken = session.rows.open_found(found)?;
    if !is_dead(session, &row).await? {
        return Ok(None);
    }
    let mut changes = removal(session, &row.hash, Some(&row.accessor), row.claims.parent);
    changes[0] = found.removal(); // unless it is renewed at this moment
    Ok(Some(Ended { changes, token: Some(row.hash) }))
}

/// One whose ancestors cannot be read is not known to be.
async fn is_dead(session: &Session, row: &ServiceToken) -> Result<bool, OpError> {
    let now = session.now().unix_secs();
    match require_ancestors(session, row.claims.parent, now).await {
        Ok(()) => Ok(row.is_expired(now)),
        Err(OpError::Unauthenticated(_)) => Ok(true),
        Err(OpError::Damaged(_)) => Ok(row.is_expired(now)),
        Err(error) => Err(error),
    }
}

/// Written with its token, so one without was left behind.
async fn look_at_pointer(session: &Session, found: &Found) -> Result<Option<Ended>, OpError> {
    let Pointer(hash) = session.rows.open_found(found)?;
    if find(session, &hash).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(Ended { changes: vec![found.removal()], token: None }))
}
