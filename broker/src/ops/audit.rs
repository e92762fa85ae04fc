//! The audit log as an authorised person reads it: with its details open. Reading it leaves an entry, too.

use symbolon_core::audit::{Action, Withheld};
use symbolon_core::policy::Operation;

use crate::access::{Asker, Object, Request, Route};
use crate::audit::log::{Filter, LogReader, Page, Range};
use crate::error::OpError;

/// Entries of `range` that fit `filter`.
pub async fn search(who: &Asker<'_>, filter: &Filter, range: Range) -> Result<Page, OpError> {
    let request = Request::begin(who, Action::AuditRead, &Route::system("symbolon/audit")).await?;
    let request = request.authorise(Operation::Read).await?;
    let reader = LogReader::new(request.session().rows.shared_store());
    let unsealed = request.session().unsealed();
    let page = reader.search(&unsealed.audit(), unsealed.deployment(), filter, range).await;
    let page = request.record_failure(page.map_err(|_| OpError::INTEGRITY)).await?;
    let object = Object::Named(format!("{} entries", page.fitting));
    let page = Withheld::new(page); // it names things, though it holds no secret
    Ok(page.disclose(request.commit_for_disclosure(object, Vec::new()).await?))
}
