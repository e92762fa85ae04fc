//! The audit log as an authorised person reads it: with its details open. Reading it leaves an entry, too.

use std::sync::Arc;

use symbolon_core::audit::Action;
use symbolon_core::path::ApiPath;
use symbolon_core::policy::Operation;

use super::App;
use crate::access::Requester;
use crate::access::session::Attempt;
use crate::audit::log::{Filter, LogReader, Page, Range};
use crate::error::OpError;

/// Entries of `range` that fit `filter`.
pub async fn search(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    filter: &Filter,
    range: Range,
) -> Result<Page, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuditRead, api).await?;
    let attempt = attempt.authorise(Operation::Read, api).await?;
    let reader = LogReader::new(Arc::clone(&app.store));
    let unsealed = attempt.session().unsealed();
    let page = reader.search(&unsealed.audit(), unsealed.deployment(), filter, range).await;
    let page = attempt.audited(page.map_err(|_| OpError::INTEGRITY)).await?;
    drop(attempt.receipt(Vec::new()).await?); // the entry is durable: names may leave
    Ok(page)
}
