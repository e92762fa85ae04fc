//! A root token for custodians who have lost every other: asked for with a card, made of shares.

use std::net::IpAddr;
use std::sync::Arc;

use symbolon_proto::custody::RootScope;

use super::ceremony;
use crate::custody::App;
use crate::custody::ceremony::Notice;
use crate::custody::ceremony::root::WaitingToken;
use crate::error::OpError;

/// What a custodian's request must say to count at this moment, and whether anybody has a card to sign it.
pub fn scope(app: &App) -> Result<(RootScope, bool), OpError> {
    app.seal.root_scope()
}

/// What came of a request.
pub struct Asked {
    /// The ceremony under way.
    pub ceremony: Option<Arc<Notice>>,
    /// The token that was fetched.
    pub token: Option<WaitingToken>,
}

/// Does what a custodian's signed request asks for: begins or gives up a ceremony, hands out the token that
/// is sealed to the card, or forgets it. The request proves itself; nobody else can.
pub async fn ask(app: &App, request: &[u8], from: Option<IpAddr>) -> Result<Asked, OpError> {
    let token = app.seal.ask_for_root(request, from).await?;
    Ok(Asked { ceremony: ceremony::state(app).await?, token })
}
