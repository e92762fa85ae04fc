//! What goes is judged by what is there just before it goes, and not by its row: whoever can write the store
//! can write rows that say that a segment is old, large, or exported.
//!
//! ```text
//! seen      a segment that this process has read and proven: only its size and time count for a cut
//! proven    read and proven once more, and all of its object in its place found to be the same
//! ```

use std::sync::{Arc, Weak};

use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::{Segment, VerifierKey};
use tokio::time::Instant;

use super::basis::{Pace, alive, entry, look, reader, stock, target};
use super::error::RoundError;
use super::exporting::{Held, Target};
use crate::access::Session;
use crate::audit::retention::journal::Retention;
use crate::audit::retention::packing::Packing;
use crate::audit::retention::plan::{Limits, Stock};
use crate::audit::retention::segments::Known;
use crate::config::AuditConfig;

/// Most segments that are read back for one cut: about 32 MB.
pub const READ_BACK_MAX: usize = 16;
/// Most segments that are read in the store to see what they are, for one cut.
const SEEN_MAX: usize = 64;

/// How far the log may be cut, by what is there.
#[derive(Debug, Default)]
pub struct Judged {
    /// The segments before `end`, as they are and not as their rows say.
    pub segments: Vec<(Segment, Known)>,
    /// The minimum index that the log should have; `None` if it stays.
    pub end: Option<u64>,
    /// Why it goes no further, if something is not as it should be.
    pub failed: Option<RoundError>,
}

impl Judged {
    /// The end of what was proven; what is wrong is an error only where nothing else can be done.
    pub fn strictly(self) -> Result<Self, RoundError> {
        match (self.end, self.failed) {
            (None, Some(error)) => Err(error),
            (end, failed) => Ok(Self { end, failed, ..self }),
        }
    }
}

/// Who judges, and by what.
pub struct Judge<'a> {
    /// What it reads, and where it writes what rows should say. Not held meanwhile.
    pub session: &'a Weak<Session>,
    /// What this process has seen.
    pub retention: &'a Retention,
    /// What the log is signed with.
    pub key: &'a VerifierKey,
    /// What the configuration says.
    pub plan: &'a AuditConfig,
    /// How much of the time it may work.
    pub pace: Pace,
}

impl Judge<'_> {
    /// How far the policy goes.
    pub async fn by_policy(&self) -> Result<Judged, RoundError> {
        let limits = Limits::from(self.plan);
        if !limits.prunes() {
            return Ok(Judged::default());
        }
        let (minimum, rows) = look(&*alive(self.session)?).await?;
        if let Some(first) = Segment::new(minimum / SEGMENT_ENTRIES) {
            self.retention.forget_before(first);
        }
        let unseen = self.see(&rows).await;
        let known: Vec<_> =
            rows.iter().map(|(segment, row)| (*segment, self.believed(*segment, row))).collect();
        let end = limits.cut(&self.stock(&known, minimum).await?);
        let mut judged = match end {
            Some(end) => self.prove(&known, end).await,
            None => Judged::default(),
        };
        judged.failed = judged.failed.or(unseen);
        Ok(judged)
    }

    /// The log as far as it is believed. Nothing goes that was not seen, and nothing after it.
    async fn stock<'a>(&self, known: &'a [(Segment, Known)], minimum: u64) -> Result<Stock<'a>, RoundError> {
        let open = alive(self.session)?;
        let stock = stock(&open, self.retention, known).await?;
        let unseen = known.iter().map(|(segment, _)| *segment).find(|it| self.retention.seen(*it).is_none());
        let counted = known.last().map_or(minimum, |(segment, _)| segment.end());
        Ok(Stock {
            loose: open.entries().saturating_sub(counted), // the head's row is nobody's word either
            floor: unseen.map_or(stock.floor, |first| stock.floor.min(first.first())),
            ..stock
        })
    }

    /// How far somebody may cut by hand who asked for what `end` came to by rows.
    pub async fn by_hand(&self, rows: &[(Segment, Known)], end: u64) -> Judged {
        self.prove(rows, end).await
    }

    /// What is believed of a segment: nothing that its row alone says, but that it is worth while to read it
    /// back.
    fn believed(&self, segment: Segment, row: &Known) -> Known {
        match self.retention.seen(segment) {
            Some(seen) => Known { exported: row.exported, ..seen },
            None => Known { bytes: 0, last_ms: u64::MAX, exported: None },
        }
    }

    /// Reads some segments that this process has not seen, the oldest first. One that is not as it was signed
    /// keeps others from nothing but being cut after it.
    async fn see(&self, rows: &[(Segment, Known)]) -> Option<RoundError> {
        let mut failed = None;
        let unseen = rows.iter().filter(|(segment, _)| self.retention.seen(*segment).is_none());
        for (segment, row) in unseen.take(SEEN_MAX) {
            let begun = Instant::now();
            if let Err(error) = self.see_one(*segment, row).await {
                failed = failed.or(Some(error));
            }
            self.pace.rest_since(begun).await;
        }
        let is_behind = rows.iter().any(|(segment, _)| self.retention.seen(*segment).is_none());
        if is_behind && failed.is_none() {
            self.retention.hurry(); // a limit by size waits for all of them
        }
        failed
    }

    async fn see_one(&self, segment: Segment, row: &Known) -> Result<(), RoundError> {
        let log = reader(&*alive(self.session)?);
        let seen = Packing::begin(log, segment, self.key).await?.look().await?;
        self.retention.saw(segment, seen);
        if (seen.bytes, seen.last_ms) == (row.bytes, row.last_ms) {
            return Ok(());
        }
        self.correct(segment, Known { exported: row.exported, ..seen }, "its size or time was another").await
    }

    /// Proves the first segments before `end`, as many as are read back at once.
    async fn prove(&self, known: &[(Segment, Known)], end: u64) -> Judged {
        let mut judged = Judged::default();
        let place = match self.place().await {
            Ok(place) => place,
            Err(error) => return Judged { failed: Some(error), ..judged },
        };
        let goes = known.iter().take_while(|(segment, _)| segment.end() <= end);
        for (segment, known) in goes.take(READ_BACK_MAX) {
            let begun = Instant::now();
            match self.prove_one(place.as_ref(), *segment, known).await {
                Ok(proven) => judged.segments.push((*segment, proven)),
                Err(error) => {
                    judged.failed = Some(error);
                    break;
                }
            }
            self.pace.rest_since(begun).await;
        }
        judged.end = judged.segments.last().map(|(segment, _)| segment.end());
        judged
    }

    async fn place(&self) -> Result<Option<Target>, RoundError> {
        target(self.session, self.plan, self.retention.patience).await
    }

    /// A segment as it is in the store, and if there is a place, in this.
    async fn prove_one(
        &self,
        place: Option<&Target>,
        segment: Segment,
        known: &Known,
    ) -> Result<Known, RoundError> {
        let log = reader(&*alive(self.session)?);
        let proven = Packing::begin(log, segment, self.key).await?.prove_all().await?;
        self.retention.saw(segment, proven.known);
        let Some(place) = place else { return Ok(proven.known) };
        match place.held(segment, &proven, self.key).await? {
            Held::Same(exported) => Ok(Known { exported: Some(exported), ..proven.known }),
            Held::Other => Err(RoundError::Occupied { name: place.name(segment) }),
            Held::Lost => {
                if known.exported.is_some() {
                    let why = "its object is missing or not whole, and it is exported again";
                    self.correct(segment, proven.known, why).await?;
                }
                Err(RoundError::Lost { name: place.name(segment) })
            }
        }
    }

    /// Writes what the row of a segment should have said.
    async fn correct(&self, segment: Segment, known: Known, why: &str) -> Result<(), RoundError> {
        let what = format!(
            "what was noted of entries {} to {} is corrected: {why}",
            segment.first(),
            segment.end() - 1
        );
        let open: Arc<Session> = alive(self.session)?;
        drop(open.retain(known.put(segment), entry(what)).await?);
        Ok(())
    }
}
