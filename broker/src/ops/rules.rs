//! What the caller's policies add up to (`sys/internal/ui/resultant-acl`).

use std::collections::BTreeMap;

use symbolon_core::audit::Action;
use symbolon_core::policy::{Capabilities, Operation};

use crate::access::{Asker, Object, Request, Route};
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
pub async fn own(who: &Asker<'_>) -> Result<Rules, OpError> {
    let request = Request::begin(who, Action::Capabilities, &Route::system("internal/ui/resultant-acl"))
        .await?
        .authorise(Operation::Read)
        .await?;
    request.commit(Object::Path, Vec::new()).await?;
    let (exact, globs) = request.acl().rules();
    Ok(Rules { root: request.acl().is_root(), exact, globs })
}
