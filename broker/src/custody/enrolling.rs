//! What `init` asks the fragment services for, until their operators have approved it.

use std::time::Duration;

use symbolon_proto::custody::escrow::EscrowKey;
use symbolon_proto::lease::FIRST_GENERATION;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::initialising::Attempt;
use super::{App, escrow};
use crate::error::{OpError, Text};
use crate::remote::group::GroupEnroller;
use crate::remote::group::escrow::agree;
use crate::remote::{EnrolError, EnrolOutcome, Enrolled, Enroller, Remote};
use crate::rows::Rows;
use crate::store::Write;

/// Time between two questions whether the remote's operator has approved.
const APPROVAL_POLL: Duration = Duration::from_millis(500);
/// The operator of the other side did not approve in time.
const NOT_APPROVED: OpError = OpError::Unavailable(Text::fixed(
    "the operator of the fragment service has not approved this broker in time; compare fingerprints, approve, and run `init` again",
));

/// Asks to be enrolled until the other side's operator has approved, or the wait is over.
pub(super) async fn enrol(app: &App, attempt: &mut Attempt) -> Result<Enrolled, OpError> {
    let remote = &app.config.remote;
    if remote.nodes.len() > 1 {
        if let Some(enrolled) = &attempt.group {
            return Ok(enrolled.clone());
        }
        let enrolled = enrol_group(app, attempt).await?;
        attempt.group = Some(enrolled.clone());
        return Ok(enrolled);
    }
    let Attempt { deployment, id, broker, .. } = attempt;
    let (id, broker) = (*id, *broker);
    let enroller = Enroller::new(&remote.nodes[0], remote.deadline_ms, &deployment.identity, id, broker)?;
    let deadline = Instant::now() + Duration::from_secs(app.config.lives.now().init.approval_secs);
    loop {
        match enroller.enrol().await? {
            EnrolOutcome::Enrolled(enrolled) => return Ok(*enrolled),
            EnrolOutcome::Pending if Instant::now() >= deadline => return Err(NOT_APPROVED),
            EnrolOutcome::Pending => {}
        }
        let fingerprint = deployment.identity.fingerprint().to_string();
        if app.init.announce(&fingerprint) {
            warn!(%fingerprint, "the fragment service's operator must compare this, then `symbolon fragment approve`");
        }
        sleep(APPROVAL_POLL).await;
    }
}

/// The same with several services: their operators and ours compare the fingerprint of the whole group.
async fn enrol_group(app: &App, attempt: &Attempt) -> Result<Enrolled, OpError> {
    let remote = &app.config.remote;
    let Attempt { deployment, id, broker, .. } = attempt;
    let enroller = GroupEnroller::gather(remote, &deployment.identity, *id, *broker, FIRST_GENERATION);
    let enroller = enroller.await.map_err(EnrolError::Group)?;
    let fingerprint = enroller.fingerprint().to_string();
    warn!(%fingerprint, "the operators of all fragment services must compare this, then `symbolon fragment approve`");
    app.init.announce(&fingerprint);
    let deadline = Instant::now() + Duration::from_secs(app.config.lives.now().init.approval_secs);
    while !enroller.approved().await.map_err(EnrolError::Group)? {
        if Instant::now() >= deadline {
            return Err(NOT_APPROVED);
        }
        sleep(APPROVAL_POLL).await;
    }
    Ok(enroller.make(app.clock.now().unix_secs()).await.map_err(EnrolError::Group)?)
}

/// Waits until the operator of every node has approved the escrow key, and takes what the nodes seal to it.
pub(super) async fn put_into_escrow(
    app: &App,
    rows: &Rows,
    remote: &Remote,
    key: &EscrowKey,
) -> Result<Vec<Write>, OpError> {
    let fingerprint = key.fingerprint().to_string();
    let deadline = Instant::now() + Duration::from_secs(app.config.lives.now().init.approval_secs);
    while !agree(remote, key).await.map_err(EnrolError::Group)? {
        if Instant::now() >= deadline {
            return Err(NOT_APPROVED);
        }
        if app.init.announce(&fingerprint) {
            warn!(%fingerprint, "every fragment service's operator must compare this escrow key, then `symbolon fragment approve`");
        }
        sleep(APPROVAL_POLL).await;
    }
    escrow::first_rows(rows, remote, key).await
}
