//! The end of wrapped answers that nobody came for.

use symbolon_core::audit::{Action, Draft};

use super::held::Held;
use super::stored::{WRAPPED, Wrapping, removal};
use crate::access::endings::{Ended, Ending, Looking, Round};
use crate::access::{Session, tokens};
use crate::error::OpError;
use crate::rows::{Cursor, Found};

/// What is kept behind tokens that are no longer good: expired, revoked, or spent on something else.
pub static ENDINGS: &[Ending] = &[Ending {
    table: WRAPPED,
    rows: |_| Some(Cursor::of_table(WRAPPED)),
    entry: || Draft::by_broker(Action::TokenRevoke, "wrapped answers that nobody came for removed"),
    look: |session, found| -> Looking<'_> { Box::pin(look(session, found)) },
    round: |session, round| match round {
        Round::Begins => session.of::<Held>().begin_recount(),
        Round::Ends => session.of::<Held>().end_recount(),
    },
}];

async fn look(session: &Session, found: &Found) -> Result<Option<Ended>, OpError> {
    let facts: Wrapping = session.rows.open_found(found)?;
    if is_over(session, &facts).await? {
        return Ok(Some(Ended { changes: removal(session, &facts), token: None }));
    }
    session.of::<Held>().recount(facts.bytes);
    Ok(None)
}

async fn is_over(session: &Session, facts: &Wrapping) -> Result<bool, OpError> {
    let now = session.now().unix_secs();
    Ok(tokens::find(session, &facts.token).await?.is_none_or(|(token, _)| token.is_expired(now)))
}
