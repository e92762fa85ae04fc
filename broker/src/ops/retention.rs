//! The log's retention as an operator sees and orders it.
//!
//! What is pruned by hand is pruned with the name of whoever asked in its entry, and needs `sudo`, like
//! reading the log of everybody. Whole segments go, and unless the caller says so none that was not exported.

use std::sync::Arc;

use symbolon_core::audit::Action;
use symbolon_core::policy::Operation;
use symbolon_proto::log::pruned::Order;
use symbolon_proto::log::{Segment, VerifierKey};

use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::audit::retention::journal::{Journal, Known as OfSession, Retention};
use crate::audit::retention::plan::Limits;
use crate::audit::retention::segments::Known;
use crate::config::AuditConfig;
use crate::error::{OpError, Text};
use crate::upkeep::retention::judging::Judge;
use crate::upkeep::retention::ledger::{Ledger, Ordered};
use crate::upkeep::retention::round::{self, Ordering};
use crate::upkeep::retention::{Pace, RoundError};

/// Most segments that are shown: the newest.
const SHOWN_MAX: usize = 1000;
/// Attempts of one cut, which loses against an entry that completes a tile.
const CUT_TRIES: usize = 4;

/// How the log is kept.
pub struct State {
    /// What is known, with the detail of a failure.
    pub journal: Journal,
    /// Cuts with their names, the newest last.
    pub cuts: Vec<Ordered>,
    /// The newest whole segments, and whether each was exported to the present place.
    pub segments: Vec<(Segment, Known, bool)>,
}

/// What somebody wants to be pruned.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Entries before this one.
    pub before: u64,
    /// Whether also what was not exported, and is then gone for good.
    pub unexported: bool,
}

/// How the log is kept.
pub async fn state(who: &Asker<'_>) -> Result<State, OpError> {
    let request = begin(who, "symbolon/audit/segments", Operation::Read).await?;
    let state = request.record_failure(read(request.session()).await).await?;
    let object = format!("{} segments", state.segments.len());
    request.commit_retention(Object::Named(object), Default::default()).await?;
    Ok(state)
}

/// Prunes what is wanted, as far as it may go; answers the first entry that is kept.
pub async fn prune(who: &Asker<'_>, wanted: Wanted) -> Result<u64, OpError> {
    let request = begin(who, "symbolon/audit/prune", Operation::Update).await?;
    let retention = request.record_failure(of(request.session())).await?;
    let turn = retention.turn().await;
    for _ in 0..CUT_TRIES {
        match cut((&request, who.session), &retention, wanted).await {
            Err(OpError::Conflict(_)) => {} // a tile was completed in between
            done => {
                // What it freed may be used at once; the next round tells it again.
                let _ = round::tell(request.session(), &retention).await;
                drop(turn);
                retention.hurry();
                return request.record_failure(done).await;
            }
        }
    }
    request.record_failure(Err(OpError::CONFLICT)).await
}

async fn cut(
    (request, session): (&Authorised, &Arc<Session>),
    retention: &Retention,
    wanted: Wanted,
) -> Result<u64, OpError> {
    let plan = retention.plan();
    let limits = Limits::from(&plan);
    let (_, segments) = round::look(session).await.map_err(RoundError::from)?;
    let stock = round::stock(session, retention, &segments).await.map_err(RoundError::from)?;
    let end = limits.cut_by_hand(&stock, wanted.before, wanted.unexported);
    let end = end.ok_or(OpError::Refused(Text::fixed(NOTHING)))?;
    let key = session.log_key();
    let (segments, end) = match wanted.unexported {
        true => (Vec::new(), end), // nothing is said of what was not read back
        false => proven(session, retention, (&plan, key), &segments, end).await?,
    };
    let by = request.caller().display_name.as_str();
    let order = Ordering { order: Order::Operator, by, limits: &limits, key };
    let (prepared, what) = round::prepare(session, retention, &segments, end, &order, &plan).await?;
    request.commit_retention(Object::Named(what), prepared.changes).await?;
    Ok(end)
}

/// As far as what goes was read back, from the store and from the place; an error if nothing was.
async fn proven(
    session: &Arc<Session>,
    retention: &Retention,
    (plan, key): (&AuditConfig, &VerifierKey),
    rows: &[(Segment, Known)],
    end: u64,
) -> Result<(Vec<(Segment, Known)>, u64), OpError> {
    let session = &Arc::downgrade(session);
    let judge = Judge { session, retention, key, plan, pace: Pace::FULL };
    let judged = judge.by_hand(rows, end).await.strictly()?;
    Ok((judged.segments, judged.end.ok_or(OpError::Refused(Text::fixed(NOTHING)))?))
}

const NOTHING: &str = "nothing can be pruned before this entry: whole segments of 4096 entries go that the fragment service has been told of, and unless `unexported` is true only what was exported and sent to every sink with `hold`; `symbolon audit segments` shows them";

async fn read(session: &Session) -> Result<State, OpError> {
    let retention = of(session)?;
    let place = Limits::from(&retention.plan()).place;
    let (minimum, mut segments) = round::look(session).await.map_err(RoundError::from)?;
    let surplus = segments.len().saturating_sub(SHOWN_MAX);
    let shown = segments
        .drain(surplus..)
        .map(|(segment, known)| (segment, known, place.is_some_and(|place| known.is_in(place))));
    let segments = shown.collect();
    let journal = Journal { minimum, ..retention.journal() }; // a cut by hand is news to the last round
    Ok(State { journal, cuts: Ledger::read(session).await?.cuts, segments })
}

fn of(session: &Session) -> Result<Arc<Retention>, OpError> {
    session.of::<OfSession>().get().cloned().ok_or(OpError::BUSY)
}

async fn begin(who: &Asker<'_>, route: &str, operation: Operation) -> Result<Authorised, OpError> {
    Request::begin(who, Action::Retention, &Route::system(route)).await?.authorise(operation).await
}
