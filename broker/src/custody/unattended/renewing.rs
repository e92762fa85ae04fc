//! Follows devices whose keys change: an open broker binds the key of a source to the new ones while the old
//! ones still give it.

use symbolon_core::audit::{Action, Draft};
use tracing::{info, warn};

use crate::access::Session;
use crate::config::SourceConfig;
use crate::custody::sources::{enrolling, registry};
use crate::error::OpError;

/// Looks at one source, and renews its binding if its device has turned to other keys.
pub(super) async fn renew(session: &Session, config: &SourceConfig) {
    match renewed(session, config).await {
        Ok(true) => info!(source = config.name, "bound to the new keys of its device"),
        Ok(false) => {}
        Err(reason) => warn!(source = config.name, %reason, "whether its device has new keys is not known"),
    }
}

async fn renewed(session: &Session, config: &SourceConfig) -> Result<bool, OpError> {
    let found = registry::read_one(session.rows.store(), &config.name).await?;
    let Some((file, revision)) = found else { return Ok(false) };
    let deployment = session.unsealed().deployment();
    let Some(renewed) = enrolling::renewed(config, &file, deployment).await? else { return Ok(false) };
    let draft = Draft::by_broker(
        Action::Ceremony,
        format!("source {} is bound to new keys of its device", config.name),
    );
    session.commit(vec![registry::rebound(&renewed, revision)], draft).await.map(drop)?;
    Ok(true)
}
