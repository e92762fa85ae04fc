//! `sys/symbolon/ceremony/root`: what a custodian asks with a card, as `docs/custody.md` has it.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

use crate::custody::App;
use crate::custody::ceremony::root::WaitingToken;
use crate::dialect::time::rfc3339;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::{Answer, Reply, Status, VaultRequest};
use crate::ops::root::{self, Asked};

/// For which state of the deployment a request counts.
pub(super) fn scope(app: &App) -> Answer {
    let (scope, has_cards) = root::scope(app)?;
    let scope = json!({
        "deployment": scope.deployment.to_string(),
        "generation": format!("{:016x}", scope.generation),
        "set": HEXLOWER.encode(&scope.set),
        "cards": has_cards,
        "at_ms": app.clock.now().unix_ms,
    });
    Ok(Reply::json(Status::OK, &json!({ "scope": scope })))
}

/// Does what a signed request asks for.
pub(super) async fn ask(app: &App, request: &VaultRequest) -> Answer {
    let signed = request.fields.reader().string("request")?;
    let signed = signed.and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let signed = signed.ok_or(FaceError::Invalid("\"request\" must be a signed request in base64"))?;
    let Asked { ceremony, token } = root::ask(app, &signed, request.requester().remote).await?;
    let body = json!({
        "ceremony": ceremony.as_deref().map(super::ceremony::body),
        "token": token.as_ref().map(waiting),
    });
    Ok(Reply::json(Status::OK, &body))
}

fn waiting(token: &WaitingToken) -> Value {
    json!({
        "request": BASE64.encode(&token.asker.request().encode()),
        "sealed": BASE64.encode(token.sealed.as_bytes()),
        "accessor": token.accessor,
        "ends": rfc3339(token.ends_secs.saturating_mul(1000)),
    })
}
