//! One request: its place, its peer, its body limit and its deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use tokio::time::timeout;
use tower::ServiceExt;

use super::activity::Activity;
use super::standing::{Standing, Ticket};
use super::{Peer, ServerLimits, outgoing};
use crate::faces::PATIENT_PATH;

/// Deadline of the one patient request; its own configured bound is shorter.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Who came in.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) peer: Peer,
    pub(super) standing: Arc<Standing>,
}

/// Answers, unless others need the place.
pub(super) async fn answer(
    router: Router,
    request: Request<Incoming>,
    guest: &Guest,
    limits: ServerLimits,
    activity: &Arc<Activity>,
) -> Response {
    let Some(ticket) = guest.standing.begin(limits.wait).await else { return busy() };
    let response = tokio::select! {
        response = routed(router, request, guest.peer, &ticket, limits) => response,
        () = ticket.lost() => return busy(),
    };
    outgoing::hold(response, ticket, activity).unwrap_or_else(busy)
}

async fn routed(
    router: Router,
    request: Request<Incoming>,
    peer: Peer,
    ticket: &Arc<Ticket>,
    limits: ServerLimits,
) -> Response {
    let head_only = request.method() == Method::HEAD;
    let mut request =
        request.map(|body| Body::new(http_body_util::Limited::new(body, limits.body_bytes_max)));
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Arc::clone(ticket));
    let deadline = if request.uri().path() == PATIENT_PATH { PATIENCE } else { limits.request };
    let mut response = match timeout(deadline, router.oneshot(request)).await {
        Ok(answered) => answered.unwrap_or_else(|never| match never {}),
        Err(_) => too_slow(),
    };
    if head_only {
        *response.body_mut() = Body::empty();
    }
    response
}

/// No body: an answer that costs nothing to keep. Clients of Vault try again.
fn busy() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn too_slow() -> Response {
    let mut response = Response::new(Body::from(r#"{"errors":["the request took too long"]}"#));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
