//! `/metrics`, and what every answer leaves in it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::nothing_here;
use crate::custody::App;
use crate::metrics::{Area, Metrics, Operation, Outcome, Served};
use crate::ops;

/// The text format of Prometheus.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a scrape, while the configuration says that there is somebody who may.
pub async fn show(State((app, metrics)): State<(Arc<App>, Arc<Metrics>)>) -> Response {
    if !app.config.lives.now().metrics.open {
        return nothing_here().await;
    }
    let session = app.session().ok();
    match metrics.text(&ops::seal::status(&app), session.as_deref()) {
        Ok(text) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Counts what is answered.
pub async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let (area, operation) = (area(request.uri().path()), operation(request.method(), request.uri()));
    let began = Instant::now();
    let response = next.run(request).await;
    metrics.answered(Served { area, operation, outcome: outcome(response.status()) }, began.elapsed());
    response
}

fn area(path: &str) -> Area {
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next()) {
        (Some("v1"), Some("sys")) => Area::System,
        (Some("v1"), Some("auth")) => Area::Logins,
        (Some("v1"), Some(_)) => Area::Secrets,
        (Some("oauth2" | ".well-known"), _) => Area::Oauth,
        (Some("log"), _) => Area::Log,
        _ => Area::Other,
    }
}

fn operation(method: &Method, uri: &Uri) -> Operation {
    match method.as_str() {
        "LIST" => Operation::List,
        "GET" if uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "list=true")) => {
            Operation::List
        }
        "GET" | "HEAD" => Operation::Read,
        "PUT" | "POST" | "PATCH" => Operation::Write,
        "DELETE" => Operation::Delete,
        _ => Operation::Other,
    }
}

fn outcome(status: StatusCode) -> Outcome {
    match status.as_u16() {
        200..=399 => Outcome::Done,
        404 => Outcome::Absent,
        401 | 403 => Outcome::Denied,
        429 => Outcome::Busy,
        400..=499 => Outcome::Refused,
        503 => Outcome::Unavailable,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_falls_into_a_closed_set() {
        for (path, expected) in [
            ("/v1/sys/health", Area::System),
            ("/v1/auth/kubernetes/login", Area::Logins),
            ("/v1/secret/data/app", Area::Secrets),
            ("/v1", Area::Other),
            ("/oauth2/token", Area::Oauth),
            ("/log/checkpoint", Area::Log),
            ("/metrics", Area::Other),
            ("*", Area::Other),
        ] {
            assert_eq!(area(path), expected, "{path}");
        }
        let list = Uri::from_static("/v1/secret/metadata?after=a&list=true");
        assert_eq!(operation(&Method::GET, &list), Operation::List);
        assert_eq!(operation(&Method::GET, &Uri::from_static("/v1/a?b=list=true")), Operation::Read);
        assert_eq!(outcome(StatusCode::PAYLOAD_TOO_LARGE), Outcome::Refused);
        assert_eq!(outcome(StatusCode::BAD_GATEWAY), Outcome::Failed);
    }
}
