//! One round: count or export whole segments, remove what lies below the minimum index, see how far the log
//! may be cut, and cut it. What fails is tried again in the next one; what is done stays done.

use std::sync::{Arc, Weak};
use std::time::Duration;

use symbolon_core::audit::{Action, Draft};
use symbolon_proto::log::pruned::{Cut, Order};
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::tile::TILE_WIDTH;
use symbolon_proto::log::{Pruned, Segment, VerifierKey};
use tokio::time::{Instant, sleep};

use super::error::RoundError;
use super::exporting::Target;
use super::judging::Judge;
use super::ledger::{Ledger, Ordered};
use crate::access::Session;
use crate::audit::log::{LogError, LogReader};
use crate::audit::retention::cutting::{self, Prepared};
use crate::audit::retention::journal::Retention;
use crate::audit::retention::packing::Packing;
use crate::audit::retention::plan::{Limits, Stock};
use crate::audit::retention::segments::{self, Known};
use crate::config::AuditConfig;
use crate::error::OpError;
use crate::place::{Patience, Place};

/// Attempts of one cut. The writer completes a tile of a level that matters once in 65,536 entries.
const CUT_TRIES: usize = 4;

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

    pub(super) async fn rest_since(self, begun: Instant) {
        sleep(begun.elapsed() * self.rest).await;
    }
}

/// One round, with the key that the log is verified with.
pub async fn round(
    session: &Weak<Session>,
    retention: &Retention,
    key: &VerifierKey,
    pace: Pace,
) -> Result<(), RoundError> {
    let plan = retention.plan();
    let limits = Limits::from(&plan);
    check(session).await?;
    let minimum = sweep(session, pace).await?;
    if limits.is_idle() {
        alive(session)?.refuse_entries(false);
        retention.looked(&limits, minimum, &Stock { minimum, segments: &[], loose: 0, now_ms: 0, floor: 0 });
        return Ok(());
    }
    let turn = retention.turn().await;
    let exported = keep_segments(session, retention, key, pace).await;
    let open = alive(session)?;
    let ledger = Ledger::read(&open).await?;
    retention.judge(ledger.judged_ms, open.now());
    drop(open);
    let cut = match &exported {
        Err(RoundError::Occupied { .. }) => Ok(false), // whose log this is has to be found out first
        _ => cut(&Judge { session, retention, key, plan: &plan, pace }).await,
    };
    drop(turn);
    if cut.is_ok() {
        sweep(session, pace).await?;
    }
    tell(session, retention, &limits).await?;
    exported.and(cut.map(drop))
}

/// Cuts what the configuration says and what was proven; whether it did. An error if more should go that could
/// not be proven.
async fn cut(judge: &Judge<'_>) -> Result<bool, RoundError> {
    let judged = judge.by_policy().await?;
    if let Some(end) = judged.end {
        let (open, limits) = (alive(judge.session)?, Limits::from(judge.plan));
        let (order, by) = (Order::Policy, "[audit] of the configuration");
        let order = Ordering { order, by, limits: &limits, key: judge.key };
        make(&open, judge.retention, &judged.segments, end, &order, judge.plan).await?;
    }
    judged.failed.map_or(Ok(judged.end.is_some()), Err)
}

/// That the log begins where this broker cut it. Whoever can write the store can move the beginning, and what
/// lies before would be removed.
async fn check(session: &Weak<Session>) -> Result<(), RoundError> {
    let open = alive(session)?;
    let (found, cut) = (reader(&open).pruned().await?.minimum, Ledger::read(&open).await?.minimum());
    if found == cut { Ok(()) } else { Err(RoundError::Foreign { found, cut }) }
}

/// What is known after the round, and whether the log may grow.
async fn tell(session: &Weak<Session>, retention: &Retention, limits: &Limits) -> Result<(), RoundError> {
    let open = alive(session)?;
    let (minimum, segments) = look(&open).await?;
    let stock = stock(&open, retention, &segments).await?;
    retention.looked(limits, minimum, &stock);
    open.refuse_entries(limits.is_full(stock.bytes()));
    Ok(())
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
    Ok(Stock { minimum, segments, loose: size.saturating_sub(counted), now_ms, floor })
}

/// Counts every whole segment, and exports it if there is a place. A place that fails keeps nothing from
/// being counted.
async fn keep_segments(
    session: &Weak<Session>,
    retention: &Retention,
    key: &VerifierKey,
    pace: Pace,
) -> Result<(), RoundError> {
    let mut target = target(session, &retention.plan(), retention.patience).await;
    let open = alive(session)?;
    let (minimum, known) = look(&open).await?;
    open.store_checkpoint().await?; // what is exported is proven against it
    let size = reader(&open).signed().await?;
    drop(open);
    let mut known = known.into_iter().map(|(_, known)| known);
    for segment in Segment::whole(minimum, size) {
        let (before, begun) = (known.next(), Instant::now());
        let is_done = match &target {
            Ok(Some(target)) => before.is_some_and(|known| known.is_in(target.id)),
            Ok(None) | Err(_) => before.is_some(),
        };
        if is_done {
            continue;
        }
        let place = target.as_ref().ok().and_then(Option::as_ref);
        let kept = keep_segment(session, retention, place, segment, key).await;
        match kept {
            Err(
                error @ (RoundError::Place(_) | RoundError::ReadBack { .. } | RoundError::Occupied { .. }),
            ) => {
                target = Err(error);
                if before.is_none() {
                    keep_segment(session, retention, None, segment, key).await?;
                }
            }
            kept => kept?,
        }
        pace.rest_since(begun).await;
    }
    target.map(drop)
}

/// The place of the configuration, if it names one.
pub(super) async fn target(
    session: &Weak<Session>,
    plan: &AuditConfig,
    patience: Patience,
) -> Result<Option<Target>, RoundError> {
    let Some(address) = plan.place() else { return Ok(None) };
    let place = Place::open(address, plan.bucket.as_ref(), patience)?;
    let deployment = alive(session)?.unsealed().deployment();
    let id = crate::audit::retention::journal::place_id(address, plan.bucket.as_ref());
    let target = Target { place, address: address.to_owned(), id, deployment };
    target.sweep().await?;
    Ok(Some(target))
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

/// Cuts the log, with an entry of the broker's own.
async fn make(
    session: &Session,
    retention: &Retention,
    segments: &[(Segment, Known)],
    end: u64,
    order: &Ordering<'_>,
    plan: &AuditConfig,
) -> Result<(), RoundError> {
    for _ in 0..CUT_TRIES {
        let (prepared, what) = prepare(session, retention, segments, end, order, plan).await?;
        match session.retain(prepared.changes, entry(what)).await {
            Err(OpError::Conflict(_)) => {} // a tile was completed in between
            made => return made.map(drop).map_err(RoundError::from),
        }
    }
    Err(OpError::CONFLICT.into())
}

/// The changes of a cut with its line in the ledger, and what to say of it.
pub async fn prepare(
    session: &Session,
    retention: &Retention,
    segments: &[(Segment, Known)],
    end: u64,
    order: &Ordering<'_>,
    plan: &AuditConfig,
) -> Result<(Prepared, String), RoundError> {
    let log = reader(session);
    let first = log.pruned().await?.minimum;
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
    let mut ledger = Ledger::read(session).await?.with(ordered);
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

/// Removes what lies below the minimum index, a few rows at a time; answers the index.
async fn sweep(session: &Weak<Session>, pace: Pace) -> Result<u64, RoundError> {
    loop {
        let open = alive(session)?;
        let minimum = reader(&open).pruned().await?.minimum;
        let begun = Instant::now();
        let changes = cutting::sweep(open.rows.store(), minimum).await?;
        if changes.is_empty() {
            return Ok(minimum);
        }
        let what = format!("{} rows below entry {minimum} were removed", changes.len());
        drop(open.retain(changes, entry(what)).await?);
        drop(open);
        sleep(Duration::from_millis(1)).await; // whoever waits comes first
        pace.rest_since(begun).await;
    }
}

/// The entry of what is done about the log.
#[must_use]
pub fn entry(what: String) -> Draft {
    Draft::by_broker(Action::Retention, what)
}

pub(super) fn reader(session: &Session) -> LogReader {
    LogReader::new(session.rows.shared_store())
}

pub(super) fn alive(session: &Weak<Session>) -> Result<Arc<Session>, RoundError> {
    session.upgrade().ok_or(RoundError::Sealed)
}
