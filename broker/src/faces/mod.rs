//! The HTTP faces: they parse a dialect, call one operation and encode the answer.
//!
//! ```text
//! server.rs            connections, TLS, limits
//! mod.rs               routes, on one screen
//! vault/               the Vault dialect, /v1/…
//! oauth/               workload tokens
//! log.rs               the audit log as C2SP tiles, /log/…
//! body, ids, time      bodies within bounds, request ids, times as text
//! ```

pub mod body;
pub mod ids;
pub mod log;
pub mod oauth;
pub mod server;
pub mod time;
pub mod vault;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};

use crate::ops::App;

/// Every route that answers without a token. Each is also in the test that walks all routes; adding one is a decision.
pub const UNAUTHENTICATED: [(&str, &str); 15] = [
    ("GET", "/v1/sys/health"),
    ("GET", "/v1/sys/seal-status"),
    ("GET", "/v1/sys/init"),
    ("PUT", "/v1/sys/init"), // takes effect once, on a broker whose operator allowed it in the configuration
    ("PUT", "/v1/sys/unseal"), // takes shares, which prove themselves
    ("GET", "/v1/sys/leader"),
    ("GET", "/v1/sys/symbolon/ceremony"), // public keys and names, as in seal-status
    ("PUT", "/v1/sys/symbolon/ceremony/submit"), // takes shares, which prove themselves
    ("PUT", "/v1/sys/symbolon/ceremony/sign"), // takes signatures, which prove themselves
    ("PUT", "/v1/auth/{mount}/login"),    // takes evidence
    ("POST", "/oauth2/token"),            // takes evidence
    ("GET", "/oauth2/jwks"),              // public keys
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/log/{path}"), // signed, and without names; auditors need nobody's leave
];

/// The one request without the common deadline: it waits for the operator of the fragment service to approve, for as
/// long as the configuration says.
pub const PATIENT_PATH: &str = "/v1/sys/init";

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/{*path}", any(vault::handle))
        .route("/oauth2/token", post(oauth::token))
        .route("/oauth2/jwks", get(oauth::jwks))
        .route("/.well-known/openid-configuration", get(oauth::discovery))
        .route("/.well-known/oauth-authorization-server", get(oauth::discovery))
        .route("/log/{*path}", get(log::resource))
        .fallback(nothing_here)
        .with_state(app)
}

/// HTML on purpose: the External Secrets Operator takes a 404 with JSON, or with nothing, for an absent secret and may
/// then delete the customer's copy. A wrong base address must not do that.
async fn nothing_here() -> Response {
    (
        StatusCode::NOT_FOUND,
        Html("<!doctype html><title>Symbolon</title><p>Nothing is served at this address."),
    )
        .into_response()
}

#[cfg(test)]
mod tests;
