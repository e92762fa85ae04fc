//! What a round and whoever judges stand on: the log and what is known of it, the place, and the pace.

use std::sync::{Arc, Weak};

use symbolon_core::audit::{Action, Draft};
use symbolon_proto::log::Segment;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::tile::TILE_WIDTH;
use tokio::time::{Instant, sleep};

use super::error::RoundError;
use super::exporting::Target;
use crate::access::Session;
use crate::audit::log::{LogError, LogReader};
use crate::audit::retention::journal::{Retention, place_id};
use crate::audit::retention::plan::Stock;
use crate::audit::retention::segments::{self, Known};
use crate::config::AuditConfig;
use crate::place::{Patience, Place};

/// How much of the time a round may work.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rest after each segment and each commit, as a multiple of what it took.
    pub rest: u32,
}

impl Pace {
    /// A fifth of one core.
    pub const SERVING: Self = Self { rest: 4 };
    /// Without rest: for tests.
    pub const FULL: Self = Self { rest: 0 };

    /// Rests after what was begun then.
    pub async fn rest_since(self, begun: Instant) {
        sleep(begun.elapsed() * self.rest).await;
    }
}

/// The minimum index, and what is known of the segments from there on.
pub async fn look(session: &Session) -> Result<(u64, Vec<(Segment, Known)>), LogError> {
    let minimum = reader(session).pruned().await?.minimum;
    let first = Segment::new(minimum / SEGMENT_ENTRIES).ok_or(LogError::Bundle { index: minimum })?;
    Ok((minimum, segments::known(session.rows.store(), first).await?))
}

/// The log as it is. Nothing is cut that is not signed, not anchored, or that the end of the log needs.
pub async fn stock<'a>(
    session: &Session,
    retention: &Retention,
    segments: &'a [(Segment, Known)],
) -> Result<Stock<'a>, LogError> {
    let (log, now) = (reader(session), session.now());
    let size = log.size().await?;
    let minimum = log.pruned().await?.minimum;
    let counted = segments.last().map_or(minimum, |(segment, _)| segment.end());
    let signed = log.signed().await?;
    let floor = retention.anchored().min(signed.saturating_sub(u64::from(TILE_WIDTH)));
    let now_ms = retention.judged_ms().unwrap_or(0).min(now.unix_ms);
    Ok(Stock {
        minimum,
        segments,
        loose: size.saturating_sub(counted),
        now_ms,
        floor,
        held: retention.sinks.held_from(),
    })
}

/// The place of the configuration, if it names one.
pub async fn target(
    session: &Weak<Session>,
    plan: &AuditConfig,
    patience: Patience,
) -> Result<Option<Target>, RoundError> {
    let Some(address) = plan.place() else { return Ok(None) };
    let place = Place::open(address, plan.bucket.as_ref(), patience)?;
    let deployment = alive(session)?.unsealed().deployment();
    let id = place_id(address, plan.bucket.as_ref());
    let target = Target { place, address: address.to_owned(), id, deployment };
    target.sweep().await?;
    Ok(Some(target))
}

/// The entry of what is done about the log.
#[must_use]
pub fn entry(what: String) -> Draft {
    Draft::by_broker(Action::Retention, what)
}

/// Reads the log that the session writes.
#[must_use]
pub fn reader(session: &Session) -> LogReader {
    LogReader::new(session.rows.shared_store())
}

/// The session, if it has not ended.
pub fn alive(session: &Weak<Session>) -> Result<Arc<Session>, RoundError> {
    session.upgrade().ok_or(RoundError::Sealed)
}
