//! Shares that custodians seal to the broker's ceremony key, and what anyone may see of the ceremony.

use std::net::IpAddr;
use std::sync::Arc;

use symbolon_proto::custody::Submission;

use super::OpError;
use crate::app::App;
use crate::ceremony::Notice;
use crate::seal::View;

/// The ceremony under way: a sealed broker always has one.
#[must_use]
pub fn state(app: &App) -> Option<Arc<Notice>> {
    match app.seal.view() {
        View::Sealed { notice, .. } => Some(notice),
        View::Uninitialised | View::Open { .. } => None,
    }
}

/// Takes a sealed share. The last one opens the broker.
pub async fn submit(app: &App, sealed: &[u8], from: Option<IpAddr>) -> Result<Option<Arc<Notice>>, OpError> {
    let submission = Submission::decode(sealed).map_err(OpError::Submission)?;
    app.seal.submit_sealed(submission, from).await?;
    Ok(state(app))
}
