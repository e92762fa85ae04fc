//! One round: count or export whole segments, remove what lies below the minimum index, see how far the log
//! may be cut, and cut it. What fails is tried again in the next one; what is done stays done.

use std::sync::Weak;
use std::time::Duration;

use symbolon_proto::log::pruned::{Cut, Order};
use symbolon_proto::log::{Pruned, Segment, VerifierKey};
use tokio::time::{Instant, sleep};

pub use super::basis::{Pace, entry, look, stock};
use super::basis::{alive, reader, target};
use super::error::RoundError;
use super::exporting::Target;
use super::judging::Judge;
use super::ledger::{Ledger, Ordered};
use crate::access::Session;
use crate::audit::retention::cutting::{self, Prepared};
use crate::audit::retention::journal::Retention;
use crate::audit::retention::packing::Packing;
use crate::audit::retention::plan::{Limits, Stock};
use crate::audit::retention::segments::Known;
use crate::config::AuditConfig;
use crate::error::OpError;

/// Attempts of one cut. The writer completes a tile of a level that matters once in 65,536 entries.
const CUT_TRIES: usize = 4;

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

/// Cuts what the configuration says and what was proven; whether it did. An error if more should go that
/// could not be proven.
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
