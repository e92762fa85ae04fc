//! What an operator sees of sinks, and what stands for a name in them.

use symbolon_core::audit::Action;
use symbolon_core::policy::Operation;
use symbolon_proto::hierarchy::SinkKey;

use crate::access::{Asker, Authorised, Object, Request, Route};
use crate::audit::retention::journal::Known;
use crate::audit::sinks::journal::State;
use crate::audit::sinks::lines::keyed;
use crate::error::OpError;

/// What is known of each sink, with the detail of a failure.
pub async fn state(who: &Asker<'_>) -> Result<Vec<State>, OpError> {
    let request = begin(who, "symbolon/audit/sinks", Operation::Read).await?;
    let known = request.session().of::<Known>();
    let states = known.get().map(|retention| retention.sinks.states()).unwrap_or_default();
    request.commit(Object::Named(format!("{} sinks", states.len())), Vec::new()).await?;
    Ok(states)
}

/// What stands for a name in sinks that are told keyed hashes. Whoever may ask can test guesses against a
/// sink, so it needs `sudo` like the log itself.
pub async fn hash(who: &Asker<'_>, name: &str) -> Result<String, OpError> {
    let request = begin(who, "symbolon/audit/hash", Operation::Update).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(keyed(&SinkKey::of(&request.session().unsealed().audit()), name))
}

async fn begin(who: &Asker<'_>, route: &str, operation: Operation) -> Result<Authorised, OpError> {
    Request::begin(who, Action::AuditRead, &Route::system(route)).await?.authorise(operation).await
}
