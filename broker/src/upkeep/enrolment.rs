//! What the remote has accepted is stored, so that an older manifest is never accepted again.

use symbolon_core::audit::{Action, Draft};

use crate::access::Session;
use crate::custody::enrolment_rows::newer_rows;
use crate::error::OpError;
use crate::remote::Remote;

/// Stores what the remote has accepted since. Does nothing if nothing is new.
pub async fn keep(session: &Session, remote: &Remote) -> Result<(), OpError> {
    let changes = newer_rows(&session.rows, &remote.enrolled()).await?;
    if changes.is_empty() {
        return Ok(());
    }
    let draft = Draft::by_broker(Action::Remote, "newer manifest of the fragment service");
    session.commit(changes, draft).await.map(drop)
}
