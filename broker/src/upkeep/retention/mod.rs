//! The log's retention: whole segments are counted and exported, and what the configuration says is pruned.
//!
//! ```text
//! error.rs       why not
//! basis.rs       what is known, the place, and the pace
//! round.rs       one round: count or export, sweep, plan, cut
//! exporting.rs   one segment into its place and back
//! indexing.rs    the index of each whole segment
//! judging.rs     what goes, by what is there and not by what was noted of it
//! ledger.rs      who ordered which cut, and where it lies: a row of its own
//! ```

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;
use tracing::error;

use crate::access::Session;
use crate::audit::retention::journal::Retention;
use crate::custody::unseal::anchor::Anchor;

pub mod basis;
pub mod error;
pub mod exporting;
pub mod indexing;
pub mod judging;
pub mod ledger;
pub mod round;

#[cfg(test)]
mod tests;

pub use error::RoundError;
pub use round::Pace;

/// Between two rounds.
const TICK: Duration = Duration::from_secs(10);
/// After one that failed, until the next.
const AGAIN: Duration = Duration::from_secs(60);

/// Goes round until the session ends.
pub async fn run(session: Weak<Session>, retention: Arc<Retention>, anchor: Arc<Anchor>) {
    let Some(key) = session.upgrade().map(|open| open.log_key().clone()) else { return };
    loop {
        let Some(open) = session.upgrade() else { return };
        drop(open);
        retention.is_anchored(anchor.anchored());
        let pause = match round::round(&session, &retention, &key, Pace::SERVING).await {
            Ok(()) => {
                retention.succeeded();
                TICK
            }
            Err(RoundError::Sealed) => return,
            Err(error) => {
                if retention.failed(error.fault(), &error.to_string()) {
                    error!(%error, "the audit log could not be exported or pruned as configured");
                }
                AGAIN
            }
        };
        let _ = timeout(pause, retention.hurried()).await; // either is a reason to go round
    }
}
