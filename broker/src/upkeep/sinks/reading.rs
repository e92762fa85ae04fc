//! Some entries of the log as lines. Costs three rows and two scans of the store for up to 256 entries, and
//! no entry of the log.

use std::sync::Weak;

use super::error::Stop;
use crate::access::Session;
use crate::audit::log::{LogError, LogReader};
use crate::audit::sinks::journal::Shipping;
use crate::audit::sinks::lines::Lines;
use crate::audit::sinks::{BATCH_BYTES, BATCH_LINES, Line};
use crate::config::SinkConfig;

/// Lines that are made before others get their turn: half a millisecond.
const LINES_PER_TURN: usize = 32;

/// What comes next.
pub enum Next {
    /// Nothing yet.
    Nothing,
    /// These.
    Lines(Vec<Line>),
    /// What should have come was pruned.
    Pruned {
        /// The first entry that is kept.
        minimum: u64,
    },
}

/// Entries from this one on, as many as are sent together.
pub async fn next(
    session: &Weak<Session>,
    shipping: &Shipping,
    config: &SinkConfig,
    from: u64,
) -> Result<Next, Stop> {
    let has_more = |open: &Session| from < open.entries();
    if !session.upgrade().map(|open| has_more(&open)).ok_or(Stop::Sealed)? {
        return Ok(Next::Nothing);
    }
    let _turn = shipping.reading().await.ok_or(Stop::Sealed)?;
    let open = session.upgrade().ok_or(Stop::Sealed)?;
    let log = LogReader::new(open.rows.shared_store());
    let entries = match log.entries(from, BATCH_LINES).await {
        Err(LogError::Gone { minimum }) => return Ok(Next::Pruned { minimum }),
        entries => entries?,
    };
    let audit = open.unsealed().audit();
    let lines = Lines::new(&audit, open.unsealed().deployment(), config);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (index, entry) in (from..).zip(&entries) {
        let line = lines.line(index, entry)?;
        bytes += line.text.len();
        if bytes > BATCH_BYTES && !batch.is_empty() {
            break;
        }
        batch.push(line);
        if batch.len() % LINES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(if batch.is_empty() { Next::Nothing } else { Next::Lines(batch) })
}
