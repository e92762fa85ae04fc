//! Indices of the log's whole segments, made in the background: of new ones when they are whole, of all
//! others after an upgrade or a loss, and again of those whose rows somebody else wrote.
//!
//! A fifth of one core at most, one small commit for each, and nothing while the log's disk budget is used
//! up. What was made stays, so a broker that ends goes on where it was.

use std::sync::{Arc, Weak};
use std::time::Duration;

use symbolon_core::audit::Action;
use symbolon_proto::log::Segment;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::basis::{Pace, alive, entry, reader};
use super::error::RoundError;
use crate::access::Session;
use crate::audit::index::known::Known;
use crate::audit::index::making::{self, MakeError};
use crate::audit::retention::Changes;

/// Between two looks.
const TICK: Duration = Duration::from_secs(10);
/// After one that failed, until the next.
const AGAIN: Duration = Duration::from_secs(60);
/// Segments that one look finds; they are made before the next.
const PAGE: usize = 64;

/// Makes what is missing until the session ends.
pub async fn run(session: Weak<Session>, pace: Pace) {
    let Some(known) = session.upgrade().map(|open| open.of::<Known>()) else { return };
    loop {
        let pause = match round(&session, &known, pace).await {
            Ok(()) => TICK,
            Err(RoundError::Sealed) => return,
            Err(error) => {
                warn!(%error, "no index of the audit log could be made; searches look at every entry meanwhile");
                AGAIN
            }
        };
        let _ = timeout(pause, known.suspected()).await; // either is a reason to look
    }
}

/// All that is missing now, the newest first.
pub async fn round(session: &Weak<Session>, known: &Known, pace: Pace) -> Result<(), RoundError> {
    Round { session, known, pace }.go().await
}

struct Round<'a> {
    session: &'a Weak<Session>,
    known: &'a Known,
    pace: Pace,
}

impl Round<'_> {
    async fn go(&self) -> Result<(), RoundError> {
        self.tidy().await?;
        for segment in self.known.take_suspects().into_iter().filter_map(Segment::new) {
            let number = segment.number();
            warn!(number, "the index of a segment of the audit log is not the one that was made, or is gone");
            self.make(segment).await?;
        }
        let (begin, mut end) = self.bounds().await?;
        let mut until = end;
        while let Some(page) = self.missing(begin, until).await? {
            until = page.last().map_or(begin, |last| last.number());
            // what has become whole meanwhile is asked for more often than what is old
            let (_, now) = self.bounds().await?;
            let new = self.missing(end, now).await?.unwrap_or_default();
            end = if new.len() < PAGE { now } else { end };
            for segment in new.into_iter().chain(page) {
                if !self.make(segment).await? {
                    return Ok(()); // no room; the next round looks again
                }
            }
        }
        self.known.made(end);
        Ok(())
    }

    /// Some that are missing of these, the newest first; `None` if none is.
    async fn missing(&self, begin: u64, until: u64) -> Result<Option<Vec<Segment>>, RoundError> {
        let store = alive(self.session)?.rows.shared_store();
        let page = making::missing(store.as_ref(), begin, until, PAGE).await?;
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    /// The segments that are whole, and not known to have an index.
    async fn bounds(&self) -> Result<(u64, u64), RoundError> {
        let open = alive(self.session)?;
        let minimum = reader(&open).pruned().await?.minimum.div_ceil(SEGMENT_ENTRIES);
        let end = open.log_tree().size() / SEGMENT_ENTRIES;
        Ok((self.known.made_until().max(minimum), end))
    }

    /// Makes one; whether there was room for it. One of altered entries stays without: searches look at them.
    async fn make(&self, segment: Segment) -> Result<bool, RoundError> {
        let begun = Instant::now();
        let open: Arc<Session> = alive(self.session)?;
        if open.require_room(Action::AuditRead).is_err() {
            return Ok(false);
        }
        let (log, tree, deployment) = (reader(&open), open.log_tree(), open.unsealed().deployment());
        if self.is_pruned(segment).await? {
            return Ok(true); // it has gone meanwhile
        }
        let audit = open.unsealed().audit();
        drop(open);
        let made = making::make(&log, tree, (&audit, deployment), segment).await;
        drop(audit);
        let (first, last) = (segment.first(), segment.end() - 1);
        match made {
            Ok(changes) => self.commit(changes, format!("entries {first} to {last} were indexed")).await?,
            Err(MakeError::Log(error)) if error.may_pass() => return Err(error.into()),
            Err(_) if self.is_pruned(segment).await? => {} // while it was read
            Err(error) => {
                error!(%error, "a segment of the audit log cannot be indexed");
                self.known.give_up(segment.number());
                let what = format!("entries {first} to {last} have no index: {error}");
                self.commit(making::without(segment), what).await?;
            }
        }
        self.pace.rest_since(begun).await;
        Ok(true)
    }

    async fn is_pruned(&self, segment: Segment) -> Result<bool, RoundError> {
        Ok(segment.first() < reader(alive(self.session)?.as_ref()).pruned().await?.minimum)
    }

    async fn commit(&self, changes: Changes, what: String) -> Result<(), RoundError> {
        drop(alive(self.session)?.retain(changes, entry(what)).await?);
        Ok(())
    }

    /// Removes rows of other formats, some at a time.
    async fn tidy(&self) -> Result<(), RoundError> {
        loop {
            let begun = Instant::now();
            let store = alive(self.session)?.rows.shared_store();
            let changes = making::without_foreign(store.as_ref()).await?;
            if changes.is_empty() {
                return Ok(());
            }
            let what = format!("{} indices of another format were removed", changes.len());
            self.commit(changes, what).await?;
            self.pace.rest_since(begun).await;
        }
    }
}
