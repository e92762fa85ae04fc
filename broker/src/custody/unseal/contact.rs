//! What is said to the remote, at the end of an unseal and at each heartbeat.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::alarm::Reason;
use super::anchor::{Anchor, AnchorError};
use crate::keys::Keys;
use crate::remote::{LeaseState, Remote};

/// What a contact with the remote needs.
pub struct Link {
    /// Leases and canary.
    pub keys: Keys,
    /// Who is asked.
    pub remote: Arc<Remote>,
    /// What it remembers of our log.
    pub anchor: Arc<Anchor>,
    /// What is registered.
    pub generation: u64,
}

/// One contact with the remote: the anchor if it was not compared yet, a heartbeat, or, if there has been
/// none, the manifest chain and a registration, a canary if one is due, and the anchor put if the log has
/// grown. An error is a reason to seal the broker. That the remote is away is told only by a contact that is
/// `due`: those in between come every second for as long as it is.
pub async fn contact(link: &Link, due: bool) -> Result<(), Reason> {
    alarming(link.anchor.confirm().await, due)?;
    if !link.anchor.is_confirmed() {
        return Ok(());
    }
    renew(link, due).await;
    alarming(link.anchor.update().await, due)
}

/// A remote that is away is no alarm; a store that is not the newest is.
fn alarming(anchored: Result<(), AnchorError>, due: bool) -> Result<(), Reason> {
    match anchored {
        Ok(()) => Ok(()),
        Err(AnchorError::Away(_)) if !due => Ok(()),
        Err(AnchorError::Away(error)) => {
            warn!(%error, "the fragment service could not be asked for or given the anchor; the next heartbeat tries again");
            Ok(())
        }
        Err(AnchorError::RolledBack(reason)) => Err(Reason::RolledBack(reason)),
        Err(AnchorError::Log(error)) if error.may_pass() => {
            warn!(%error, "the log could not be read to compare it with the anchor; the next heartbeat tries again");
            Ok(())
        }
        Err(AnchorError::Log(error)) => {
            error!(%error, "the log cannot be compared with the anchor");
            Err(Reason::LogDamaged)
        }
    }
}

async fn renew(link: &Link, due: bool) {
    let Link { keys, remote, generation, .. } = link;
    let known = keys.leases().state(keys.now()) != LeaseState::Unknown;
    let answer = if known { remote.heartbeat().await } else { remote.hello(*generation).await };
    match answer {
        Ok(state) if state == LeaseState::Active && keys.canary_due() => match keys.canary().await {
            Ok(()) => info!("canary: what is written now can be read again"),
            Err(error) => warn!(?error, "the canary failed; new keys are refused until one succeeds"),
        },
        Ok(_) => {}
        Err(_) if !due => {}
        Err(error) => warn!(%error, "no contact with the fragment service"),
    }
}
