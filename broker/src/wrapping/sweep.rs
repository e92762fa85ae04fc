//! The end of wrapped answers that nobody came for.

use symbolon_core::audit::{Action, Draft};

use super::held::{Held, Pages, Sum};
use super::stored::{Wrapping, removal};
use crate::access::{Session, tokens};
use crate::error::OpError;

/// Removes what is kept behind tokens that are no longer good: expired, revoked, or spent on something else.
/// Each page is one commit.
pub async fn sweep(session: &Session) -> Result<(), OpError> {
    let (mut sum, mut pages) = (Sum::default(), Pages::default());
    while let Some(page) = pages.next(session).await? {
        let mut changes = Vec::new();
        for facts in &page {
            if is_over(session, facts).await? {
                changes.extend(removal(session, facts));
            } else {
                sum.add(facts.bytes);
            }
        }
        if !changes.is_empty() {
            let what = Draft::by_broker(Action::TokenRevoke, "wrapped answers that nobody came for removed");
            let _receipt = session.commit(changes, what).await?;
        }
    }
    session.of::<Held>().replace(sum);
    Ok(())
}

async fn is_over(session: &Session, facts: &Wrapping) -> Result<bool, OpError> {
    let now = session.now().unix_secs();
    Ok(tokens::find(session, &facts.token).await?.is_none_or(|(token, _)| token.is_expired(now)))
}
