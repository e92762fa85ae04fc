//! What the caller's policies add up to (`sys/internal/ui/resultant-acl`).

use std::collections::BTreeMap;

use symbolon_core::audit::Action;
use symbolon_core::path::ApiPath;
use symbolon_core::policy::{Capabilities, Operation};

use super::App;
use crate::access::Requester;
use crate::access::session::Attempt;
use crate::error::OpError;

/// Patterns and what each gives.
pub struct Rules {
    /// Whether everything is allowed.
    pub root: bool,
    /// Patterns without wildcard.
    pub exact: BTreeMap<String, Capabilities>,
    /// Patterns with one.
    pub globs: BTreeMap<String, Capabilities>,
}

/// The caller's own rules.
pub async fn own(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<Rules, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::Capabilities, api)
        .await?
        .authorise(Operation::Read, api)
        .await?;
    attempt.conclude(Vec::new()).await?;
    let (exact, globs) = attempt.acl().rules();
    Ok(Rules { root: attempt.acl().is_root(), exact, globs })
}
