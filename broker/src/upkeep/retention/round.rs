//! One round: count or export whole segments, remove what lies below the minimum index, see how far the log
//! may be cut, and cut it. What fails is tried again in the next one; what is done stays done.

use std::sync::Weak;
use std::time::Duration;

use symbolon_proto::log::pruned::{Cut, Order};
use symbolon_proto::log::{Pruned, Segment, VerifierKey};
use tokio::time::{Instant, sleep, timeout};

pub use super::basis::{Pace, entry, look, stock};
use super::basis::{alive, reader, target};
use super::error::RoundError;
use super::exporting::Target;
use super::judging::Judge;
use super::ledger::{Ledger, Ordered};
use crate::access::Session;
use crate::audit::retention::Changes;
use crate::audit::retention::cutting::{self, Prepared};
use crate::audit::retention::journal::Retention;
use crate::audit::retention::packing::Packing;
use crate::audit::retention::plan::{Limits, Stock};
use crate::audit::retention::segments::Known;
use crate::config::AuditConfig;
use crate::error::OpError;

/// Attempts of one cut. The writer completes a tile of a level that matters once in 65,536 entries.
const CUT_TRIES: usize = 4;
/// Most segments that are counted or exported before the state of the log is looked at again.
const SEGMENTS_PER_TURN: usize = 8;
/// How often it is told whether the log may grow, while one segment takes its time.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Most commits of removed rows.
const SWEEPS_PER_TURN: usize = 32;
/// How often the judged time is stored.
const JUDGED_EVERY_MS: u64 = 86_400_000;

/// One round, with the key that the log is verified with: a little of everything until nothing is left to do.
/// In between others get their turn, such as whoever prunes by hand.
pub async fn round(
    session: &Weak<Session>,
    retention: &Retention,
    key: &VerifierKey,
    pace: Pace,
) -> Result<(), RoundError> {
    let mut round = Round { session, retention, key, pace, failed: None };
    while round.go_on().await? {}
    round.failed.map_or(Ok(()), Err)
}

struct Round<'a> {
    session: &'a Weak<Session>,
    retention: &'a Retention,
    key: &'a VerifierKey,
    pace: Pace,
    /// Why nothing is exported in the rest of this round.
    failed: Option<RoundError>,
}

impl Round<'_> {
    /// A little of everything; whether there is more. Nobody waits for the turn while a place takes its time.
    async fn go_on(&mut self) -> Result<bool, RoundError> {
        let has_rows = self.tidy().await?;
        if Limits::from(&self.retention.plan()).is_idle() {
            return Ok(has_rows);
        }
        let kept = self.keep_segments().await;
        let has_segments = kept.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            false
        });
        let was_cut = self.cut().await.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            false
        });
        tell(&*alive(self.session)?, self.retention).await?;
        Ok(has_rows || has_segments || was_cut)
    }

    /// Tells whether the log may grow, before all else and wherever it begins, and removes rows below the
    /// minimum index; whether there are more.
    async fn tidy(&self) -> Result<bool, RoundError> {
        let _turn = self.retention.turn().await;
        let open = alive(self.session)?;
        tell(&open, self.retention).await?;
        let ledger = check(&open).await?;
        self.judge(&open, &ledger).await?;
        drop(open);
        sweep(self.session, ledger.minimum(), self.pace).await
    }

    /// Looks at the clocks. What it comes to is stored before anything is judged by it, and then daily:
    /// otherwise a start under a wrong clock would believe that one.
    async fn judge(&self, open: &Session, ledger: &Ledger) -> Result<(), RoundError> {
        if self.retention.plan().keep_days.is_none() {
            return Ok(());
        }
        self.retention.judge(ledger.judged_ms, open.now());
        let Some(judged_ms) = self.retention.judged_ms() else { return Ok(()) };
        let is_due = |stored: u64| judged_ms >= stored.saturating_add(JUDGED_EVERY_MS);
        if ledger.judged_ms.is_none_or(is_due) {
            let ledger = Ledger { judged_ms: Some(judged_ms), ..ledger.clone() };
            let changes = Changes::default().and(ledger.put(open)?);
            let what = format!("the age of entries is judged by {judged_ms} ms since 1970");
            drop(open.retain(changes, entry(what)).await?);
        }
        Ok(())
    }

    /// Cuts the log as the configuration says at this moment; whether it did.
    async fn cut(&self) -> Result<bool, RoundError> {
        if matches!(self.failed, Some(RoundError::Occupied { .. })) {
            return Ok(false); // whose log this is has to be found out first
        }
        let _turn = self.retention.turn().await;
        let plan = self.retention.plan();
        let Self { session, retention, key, pace, .. } = *self;
        cut(&Judge { session, retention, key, plan: &plan, pace }).await
    }
}

/// Cuts what the configuration says and what was proven; whether it did. An error if more should go that
/// could not be proven.
async fn cut(judge: &Judge<'_>) -> Result<bool, RoundError> {
    let judged = judge.by_policy().await?;
    let mut was_cut = false;
    if let Some(end) = judged.end {
        let (open, limits) = (alive(judge.session)?, Limits::from(judge.plan));
        let (order, by) = (Order::Policy, "[audit] of the configuration");
        let order = Ordering { order, by, limits: &limits, key: judge.key };
        was_cut = make(&open, judge.retention, &judged.segments, end, &order, judge.plan).await?;
    }
    judged.failed.map_or(Ok(was_cut), Err)
}

/// That the log begins where this broker cut it. Whoever can write the store can move the beginning, and what
/// lies before would be removed.
async fn check(open: &Session) -> Result<Ledger, RoundError> {
    let (found, ledger) = (reader(open).pruned().await?.minimum, Ledger::read(open).await?);
    let cut = ledger.minimum();
    if found == cut { Ok(ledger) } else { Err(RoundError::Foreign { found, cut }) }
}

/// What is known at this moment, and whether the log may grow.
pub async fn tell(open: &Session, retention: &Retention) -> Result<(), RoundError> {
    let limits = Limits::from(&retention.plan());
    if limits.is_idle() {
        open.limit_entries(None);
        let minimum = reader(open).pruned().await?.minimum;
        let stock = Stock { minimum, segments: &[], loose: 0, now_ms: 0, floor: 0, held: 0 };
        retention.looked(&limits, minimum, &stock);
        return Ok(());
    }
    let (minimum, segments) = look(open).await?;
    let stock = stock(open, retention, &segments).await?;
    retention.looked(&limits, minimum, &stock);
    open.limit_entries(limits.reserve(&stock));
    Ok(())
}

impl Round<'_> {
    /// Counts some whole segments, and exports them if there is a place; whether there are more. A place that
    /// fails keeps nothing from being counted.
    async fn keep_segments(&mut self) -> Result<bool, RoundError> {
        let target = self.target().await.unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        });
        let todo = self.todo(target.as_ref()).await?;
        for (segment, before) in todo.iter().take(SEGMENTS_PER_TURN) {
            let begun = Instant::now();
            let target = target.as_ref().filter(|_| self.failed.is_none());
            if target.is_none() && before.is_some() {
                continue;
            }
            match self.keep(target, *segment).await {
                Err(
                    error
                    @ (RoundError::Place(_) | RoundError::ReadBack { .. } | RoundError::Occupied { .. }),
                ) => {
                    self.failed = Some(error);
                    if before.is_none() {
                        self.keep(None, *segment).await?;
                    }
                }
                kept => kept?,
            }
            self.pace.rest_since(begun).await;
        }
        Ok(todo.len() > SEGMENTS_PER_TURN)
    }

    /// Counts or exports one. A place may take minutes: meanwhile it is told again and again whether the log
    /// may grow, for somebody may have raised the budget.
    async fn keep(&self, target: Option<&Target>, segment: Segment) -> Result<(), RoundError> {
        let mut work = std::pin::pin!(keep_segment(self.session, self.retention, target, segment, self.key));
        loop {
            match timeout(TELL_EVERY, work.as_mut()).await {
                Ok(kept) => return kept,
                Err(_) => tell(&*alive(self.session)?, self.retention).await?,
            }
        }
    }

    /// What is not yet counted, or not yet where it belongs, with what is known of it.
    async fn todo(&self, target: Option<&Target>) -> Result<Vec<(Segment, Option<Known>)>, RoundError> {
        let open = alive(self.session)?;
        let (minimum, known) = look(&open).await?;
        open.store_checkpoint().await?; // what is exported is proven against it
        let size = reader(&open).signed().await?;
        let mut known = known.into_iter().map(|(_, known)| known);
        let all = Segment::whole(minimum, size).map(|segment| (segment, known.next()));
        let is_done = |known: &Option<Known>| match target {
            Some(target) => known.is_some_and(|known| known.is_in(target.id)),
            None => known.is_some(),
        };
        Ok(all.filter(|(_, known)| !is_done(known)).collect())
    }

    async fn target(&self) -> Result<Option<Target>, RoundError> {
        match self.failed {
            Some(_) => Ok(None),
            None => target(self.session, &self.retention.plan(), self.retention.patience).await,
        }
    }
}

/// Counts or exports one, and says so in a row and an entry. The session is not held meanwhile.
async fn keep_segment(
    session: &Weak<Session>,
    retention: &Retention,
    target: Option<&Target>,
    segment: Segment,
    key: &VerifierKey,
) -> Result<(), RoundError> {
    let log = reader(&*alive(session)?);
    let (first, last) = (segment.first(), segment.end() - 1);
    let (known, what) = match target {
        Some(target) => {
            let known = target.export(log, segment, key).await?;
            let digest = known.exported.map(|exported| data_encoding::HEXLOWER.encode(&exported.sha256));
            let (name, address) = (target.name(segment), &target.address);
            let digest = digest.unwrap_or_default();
            let what = format!(
                "entries {first} to {last} were exported and read back: {name} in {address}, SHA-256 {digest}"
            );
            (known, what)
        }
        None => {
            let known = Packing::begin(log, segment, key).await?.look().await?;
            (known, format!("entries {first} to {last} were counted: {} bytes", known.bytes))
        }
    };
    drop(alive(session)?.retain(known.put(segment), entry(what)).await?);
    retention.saw(segment, known);
    Ok(())
}

/// By whose order, and under which limits.
pub struct Ordering<'a> {
    /// Of which kind.
    pub order: Order,
    /// By name.
    pub by: &'a str,
    /// What tells whether something was exported.
    pub limits: &'a Limits,
    /// What the log is signed with.
    pub key: &'a VerifierKey,
}

/// Cuts the log, with an entry of the broker's own; whether it did. It does not if the configuration says
/// something else by now.
async fn make(
    session: &Session,
    retention: &Retention,
    segments: &[(Segment, Known)],
    end: u64,
    order: &Ordering<'_>,
    plan: &AuditConfig,
) -> Result<bool, RoundError> {
    for _ in 0..CUT_TRIES {
        let (prepared, what) = prepare(session, retention, segments, end, order, plan).await?;
        if retention.plan() != *plan {
            return Ok(false);
        }
        match session.retain(prepared.changes, entry(what)).await {
            Err(OpError::Conflict(_)) => {} // a tile was completed in between
            made => return made.map(|_| true).map_err(RoundError::from),
        }
    }
    Err(OpError::CONFLICT.into())
}

/// The changes of a cut with its line in the ledger, and what to say of it. For whoever has the turn: what it
/// begins with must be what this broker cut last, or its line would make somebody else's beginning its own.
pub async fn prepare(
    session: &Session,
    retention: &Retention,
    segments: &[(Segment, Known)],
    end: u64,
    order: &Ordering<'_>,
    plan: &AuditConfig,
) -> Result<(Prepared, String), RoundError> {
    let (log, ledger) = (reader(session), check(session).await?);
    let first = ledger.minimum();
    let exported = order.limits.is_exported(segments, first, end);
    let time_ms = session.now().unix_ms;
    let cut = Cut { first, end, time_ms, order: order.order, exported };
    let Prepared { changes, pruned } = cutting::prepare(session.rows.store(), &log, cut).await?;
    cutting::prove(&log, order.key, &pruned).await?;
    let place = if exported { plan.place().unwrap_or_default() } else { "" };
    let ordered = Ordered {
        first,
        end,
        root: pruned.root.to_string(),
        time_ms,
        by: order.by.to_owned(),
        place: place.to_owned(),
    };
    let mut ledger = ledger.with(ordered);
    ledger.judged_ms = retention.judged_ms();
    let changes = changes.and(ledger.put(session)?);
    Ok((Prepared { changes, pruned: pruned.clone() }, said(&pruned, first, order.by, place)))
}

fn said(pruned: &Pruned, first: u64, by: &str, place: &str) -> String {
    let (last, root) = (pruned.minimum - 1, pruned.root);
    let place = if place.is_empty() { "nowhere" } else { place };
    format!(
        "entries {first} to {last} are pruned by order of {by}; they were exported to {place}; the root over all before {} is {root}",
        pruned.minimum
    )
}

/// Removes what lies below the minimum index, a few rows at a time; whether there is more.
async fn sweep(session: &Weak<Session>, minimum: u64, pace: Pace) -> Result<bool, RoundError> {
    for _ in 0..SWEEPS_PER_TURN {
        let (open, begun) = (alive(session)?, Instant::now());
        let changes = cutting::sweep(open.rows.store(), minimum).await?;
        if changes.is_empty() {
            return Ok(false);
        }
        let what = format!("{} rows below entry {minimum} were removed", changes.len());
        drop(open.retain(changes, entry(what)).await?);
        drop(open);
        sleep(Duration::from_millis(1)).await; // whoever waits comes first
        pace.rest_since(begun).await;
    }
    Ok(true)
}
