//! What an orchestrator asks, `/livez`, `/readyz` and `/startupz`, from memory alone: a probe that waits for
//! a disk or for another server restarts the only one that could still answer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::custody::App;
use crate::ops;

/// The process serves. Sealed is alive: a restart would only cost a ceremony.
pub async fn alive() -> Response {
    answer(StatusCode::OK, "ok")
}

/// The store is open and the listener serves, which was so before the first request could come.
pub async fn started() -> Response {
    answer(StatusCode::OK, "ok")
}

/// 503 only when reads of secrets would fail, with the reason.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    match ops::seal::status(&app).unready() {
        None => answer(StatusCode::OK, "ok"),
        Some(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

fn answer(status: StatusCode, text: &str) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, headers, format!("{text}\n")).into_response()
}
