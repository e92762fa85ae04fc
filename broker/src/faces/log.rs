//! The audit log as C2SP tlog-tiles: `/log/checkpoint`, `/log/tile/<L>/<N>[.p/<W>]`,
//! `/log/tile/entries/<N>[.p/<W>]`.
//!
//! Public, and served while sealed too: whoever holds the log's key can verify it without asking anybody's
//! leave. Entries tell when something happened, of which kind, and how it ended; who and what stand in their
//! sealed detail.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::audit::log::{LogError, LogReader};
use crate::custody::App;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Full tiles never change.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// The checkpoint and what was pruned do, and partial tiles disappear.
const NEVER: &str = "no-store";

/// `GET /log/…`.
pub async fn resource(State(app): State<Arc<App>>, Path(path): Path<String>) -> Response {
    match part(&app, &path).await {
        Ok(Some(bytes)) if path == "checkpoint" => answer(StatusCode::OK, TEXT, NEVER, bytes),
        Ok(Some(bytes)) if path == "pruned" => answer(StatusCode::OK, TEXT, NEVER, bytes),
        Ok(Some(bytes)) if path.contains(".p/") => answer(StatusCode::OK, BYTES, NEVER, bytes),
        Ok(Some(bytes)) => answer(StatusCode::OK, BYTES, FOREVER, bytes),
        Ok(None) => answer(StatusCode::NOT_FOUND, TEXT, NEVER, b"the log has no such part\n".to_vec()),
        Err(error) => {
            tracing::error!(%error, "the audit log cannot be read");
            let text = b"the log cannot be read; see the broker's own log\n".to_vec();
            answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, NEVER, text)
        }
    }
}

/// A part of the log; `None` if it has no such thing. The checkpoint of an open broker covers everything
/// that was answered; if it cannot be written, and of a sealed one, it is the last one that was.
async fn part(app: &App, path: &str) -> Result<Option<Vec<u8>>, LogError> {
    if path == "checkpoint"
        && let Ok(open) = app.session()
        && let Err(error) = open.store_checkpoint().await
    {
        tracing::warn!(%error, "no new checkpoint of the audit log could be written; an older one is shown");
    }
    LogReader::new(Arc::clone(&app.store)).resource(path).await
}

fn answer(status: StatusCode, kind: &'static str, cache_control: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    response
}
