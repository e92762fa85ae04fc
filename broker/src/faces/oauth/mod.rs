//! Workload tokens over OAuth: the token endpoint, discovery, and the keys that verifiers fetch.
//!
//! The rules are `symbolon_core::oauth`; here they meet HTTP. Errors have the body of RFC 6749 section 5.2.

pub mod form;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest, Sha256};
use symbolon_core::json::Map;
use symbolon_core::oauth::{self, AccessToken, JWKS_CACHE_CONTROL, OAuthError};

use super::body;
use super::ids::request_id;
use super::server::Peer;
use crate::access::Requester;
use crate::auth::workload::{self, WorkloadError};
use crate::custody::App;
use crate::dialect::vault::error::BodyError;
use crate::dialect::vault::limits::OPEN_BODY_BYTES_MAX;
use crate::error::OpError;

/// Bytes of a request: one credential and a few short parameters, as much as a login may have.
const FORM_BYTES_MAX: usize = OPEN_BODY_BYTES_MAX;

/// `POST /oauth2/token`.
pub async fn token(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match issue(&app, request).await {
        Ok(token) => json_answer(StatusCode::OK, &token.body(), "no-store"),
        Err(error) => error_answer(error),
    }
}

async fn issue(app: &App, request: Request<Body>) -> Result<AccessToken, OAuthError> {
    let (head, body) = request.into_parts();
    check_head(&head.headers)?;
    let body = body::collect(body, FORM_BYTES_MAX).await.map_err(|error| {
        OAuthError::InvalidRequest(match error {
            BodyError::TooLarge => "the form is longer than 96 KiB",
            BodyError::Cut | BodyError::TooSlow => "the form did not arrive",
        })
    })?;
    let pairs = form::parse(&body).map_err(|_| OAuthError::InvalidRequest("the form is malformed"))?;
    let wish = oauth::parse(pairs.as_slice())?;
    let request_id = request_id();
    let remote = head.extensions.get::<Peer>().map(Peer::ip);
    let parameters = Map::new(); // no policy decides here, roles do
    let who =
        Requester { token: None, request_id: &request_id, remote, parameters: &parameters, wrap_ttl_secs: 0 };
    let session = app.fresh_session().await.map_err(|error| op_error(&error))?;
    workload::issue(&who.of(&session), &app.config.issuer(), &wish).await.map_err(|error| match error {
        WorkloadError::OAuth(error) => error,
        WorkloadError::Op(error) => op_error(&error),
    })
}

/// One credential per request: an `Authorization` header would be a second one.
fn check_head(headers: &HeaderMap) -> Result<(), OAuthError> {
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(OAuthError::InvalidRequest(
            "exactly one credential is expected; remove the Authorization header",
        ));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(())
    } else {
        Err(OAuthError::InvalidRequest("expected Content-Type application/x-www-form-urlencoded"))
    }
}

/// The one match from operations to codes of this endpoint.
fn op_error(error: &OpError) -> OAuthError {
    match error {
        OpError::Sealed(_) | OpError::Unavailable(_) | OpError::Conflict(_) | OpError::Busy(_) => {
            OAuthError::TemporarilyUnavailable
        }
        OpError::Unauthenticated(_) | OpError::Denied(_) | OpError::Absent(_) | OpError::Refused(_) => {
            OAuthError::InvalidGrant
        }
        OpError::Invalid(_) | OpError::Damaged(_) | OpError::Unlogged(_) => OAuthError::ServerError,
    }
}

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`. Says nothing that
/// the configuration does not, so it answers while sealed too.
pub async fn discovery(State(app): State<Arc<App>>) -> Response {
    json_answer(StatusCode::OK, &oauth::discovery(&app.config.issuer()), JWKS_CACHE_CONTROL)
}

async fn jwks_of(app: &App) -> Result<Value, OpError> {
    workload::jwks(app.session()?.as_ref()).await
}

/// `GET /oauth2/jwks`.
pub async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let keys = match jwks_of(&app).await {
        Ok(keys) => keys,
        Err(error) => return error_answer(op_error(&error)),
    };
    let mut response = json_answer(StatusCode::OK, &keys, JWKS_CACHE_CONTROL);
    let tag = format!("\"{}\"", &HEXLOWER.encode(&Sha256::digest(keys.to_string()))[..32]);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    let tag = HeaderValue::try_from(tag).expect("quoted hex digits are a header value");
    response.headers_mut().insert(header::ETAG, tag);
    response
}

fn error_answer(error: OAuthError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_answer(status, &error.body(), "no-store");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn json_answer(status: StatusCode, body: &Value, cache_control: &'static str) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    response
}
