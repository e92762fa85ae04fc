//! Requests for routes that do not exist, or not in this form.
//!
//! Said only to callers whom a policy lets ask there: for others "absent" and "forbidden" must look alike, and a wrong 404 makes
//! ESO delete what it holds.

use std::convert::Infallible;

use symbolon_core::audit::Action;
use symbolon_core::path::ApiPath;
use symbolon_core::policy::Operation;

use super::App;
use crate::access::Requester;
use crate::access::session::Attempt;
use crate::error::OpError;

/// Always an error: the caller is unknown, may not ask, or nothing is mounted there.
pub async fn unrouted(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    operation: Operation,
) -> Result<Infallible, OpError> {
    let attempt =
        Attempt::begin(app.session()?, who, Action::Other, api).await?.authorise(operation, api).await?;
    attempt.audited(Err(OpError::NO_ROUTE)).await
}

/// Whether a caller may be told that its request is malformed, or not for this method. Leaves the request's entry.
pub async fn refused(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<(), OpError> {
    Attempt::begin(app.session()?, who, Action::Other, api).await?.refuse(api).await
}
