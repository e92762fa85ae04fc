//! `sys/symbolon/ceremony`: raw JSON without envelope and without a token, as `docs/custody.md` has it.

use axum::http::StatusCode;
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

use super::super::Answer;
use super::super::envelope::json_response;
use super::super::error::FaceError;
use super::super::request::VaultRequest;
use crate::app::App;
use crate::ceremony::Notice;
use crate::ops;

pub(super) fn state(app: &App) -> Answer {
    Ok(answer(ops::ceremony::state(app).as_deref()))
}

pub(super) async fn submit(app: &App, request: &VaultRequest) -> Answer {
    let sealed = request.fields.reader().string("submission")?;
    let sealed = sealed.and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let sealed = sealed.ok_or(FaceError::Invalid("\"submission\" must be a sealed share in base64"))?;
    let notice = ops::ceremony::submit(app, &sealed, request.requester().remote).await?;
    Ok(answer(notice.as_deref()))
}

fn answer(notice: Option<&Notice>) -> axum::response::Response {
    json_response(StatusCode::OK, &json!({ "ceremony": notice.map(body) }))
}

fn body(notice: &Notice) -> Value {
    let refused = notice
        .refused
        .iter()
        .map(|refused| json!({ "at_ms": refused.at_ms, "name": refused.name, "reason": refused.reason }));
    json!({
        "type": notice.kind.name(),
        "stage": "collecting",
        "deployment": notice.deployment,
        "nonce": HEXLOWER.encode(&notice.nonce),
        "key": BASE64.encode(&notice.key),
        "fingerprint": notice.fingerprint,
        "opened_ms": notice.opened_ms,
        "expires_ms": notice.expires_ms,
        "threshold": notice.threshold,
        "give": { "manifest": BASE64.encode(&notice.manifest), "names": notice.given },
        "missing": notice.missing,
        "prove": null,
        "refused": refused.collect::<Vec<_>>(),
        "transcript": BASE64.encode(&notice.transcript),
    })
}
