//! The audit log as an authorised person reads it: with its details open. Reading it leaves an entry, too.
//!
//! What reads much of it takes turns, so that all searches together cost no more than two cores and some
//! megabytes, however many ask.

use symbolon_core::audit::{Action, Withheld};
use symbolon_core::policy::Operation;
use symbolon_proto::hierarchy::AuditKey;

use crate::access::{Asker, Object, Request, Route, Session};
use crate::audit::index::known::Known;
use crate::audit::index::searching::Searcher;
use crate::audit::index::tallying::Counted;
use crate::audit::log::{Filter, LogError, LogReader, Page, Range};
use crate::error::OpError;

/// Entries of `range` that fit `filter`.
pub async fn search(who: &Asker<'_>, filter: &Filter, range: Range) -> Result<Page, OpError> {
    let request = Request::begin(who, Action::AuditRead, &Route::system("symbolon/audit")).await?;
    let request = request.authorise(Operation::Read).await?;
    let page = request.record_failure(find(request.session(), filter, range).await).await?;
    let object = Object::Named(format!("{} entries", page.fitting));
    let page = Withheld::new(page); // it names things, though it holds no secret
    Ok(page.disclose(request.commit_for_disclosure(object, Vec::new()).await?))
}

/// What the entries `from..until` of a time come to, and where to go on. Of the filter only the time counts.
pub async fn report(who: &Asker<'_>, filter: &Filter, range: (u64, u64)) -> Result<Counted, OpError> {
    let request = Request::begin(who, Action::AuditRead, &Route::system("symbolon/audit/report")).await?;
    let request = request.authorise(Operation::Read).await?;
    let counted = request.record_failure(count(request.session(), filter, range).await).await?;
    let object = Object::Named(format!("a report of {} entries", counted.tally.entries));
    let counted = Withheld::new(counted); // it names people and paths
    Ok(counted.disclose(request.commit_for_disclosure(object, Vec::new()).await?))
}

async fn count(session: &Session, filter: &Filter, range: (u64, u64)) -> Result<Counted, OpError> {
    let known = session.of::<Known>();
    let _turn = known.turn().await.ok_or(OpError::BUSY)?;
    let audit = session.unsealed().audit();
    searcher(session, &audit, &known).tally(filter, range).await.map_err(of_log)
}

pub(super) async fn find(session: &Session, filter: &Filter, range: Range) -> Result<Page, OpError> {
    let known = session.of::<Known>();
    let _turn = known.turn().await.ok_or(OpError::BUSY)?;
    let audit = session.unsealed().audit();
    searcher(session, &audit, &known).search(filter, range).await.map_err(of_log)
}

fn of_log(_: LogError) -> OpError {
    OpError::INTEGRITY
}

fn searcher<'a>(session: &Session, audit: &'a AuditKey, known: &'a Known) -> Searcher<'a> {
    let log = LogReader::new(session.rows.shared_store());
    Searcher::new(log, session.log_tree(), (audit, session.unsealed().deployment()), known)
}
