//! The customer's escrow follows the shares: newer ones are fetched, those that are no more are dropped.

use symbolon_core::audit::{Action, Draft};

use crate::access::Session;
use crate::custody::escrow::{ESCROW_ENVELOPES, StoredEnvelopes};
use crate::error::OpError;
use crate::remote::group::escrow::collect;
use crate::remote::{EnrolError, Evaluator, Remote};
use crate::store::Expect;

/// Fetches the envelopes of shares that are new since, and drops those of shares and key epochs that are no
/// more. Does nothing without an escrow, or if nothing is new.
pub(super) async fn keep(session: &Session, remote: &Remote) -> Result<(), OpError> {
    let Some((mut held, revision)) = session.rows.read::<StoredEnvelopes>(ESCROW_ENVELOPES).await? else {
        return Ok(());
    };
    let manifest = remote.manifest();
    if held.missing(manifest.manifest()).is_empty() {
        return Ok(());
    }
    let fetched = collect(remote).await.map_err(EnrolError::Group)?;
    held.keep_epochs(&remote.key_epochs());
    held.keep_sharing(manifest.manifest());
    for envelope in &fetched {
        held.put(envelope)?;
    }
    let change = session.rows.put(ESCROW_ENVELOPES, &held, Expect::Revision(revision))?;
    session.commit(vec![change], Draft::by_broker(Action::Remote, "newer shares in escrow")).await.map(drop)
}
