//! The HTTP faces: they parse a dialect, call one operation and encode the answer.
//!
//! ```text
//! server.rs            connections, TLS, limits
//! mod.rs               routes, on one screen
//! vault/               the Vault dialect, /v1/…
//! backup.rs            a backup as it is made
//! follow.rs            the audit log as its entries come
//! streamed.rs          what the two have in common: answers that have no length
//! oauth/               workload tokens
//! log.rs               the audit log as C2SP tiles, /log/…
//! observed.rs          /metrics, and what every answer leaves in it
//! probes.rs            /livez, /readyz, /startupz
//! body, ids            bodies within bounds, request ids
//! ```

mod backup;
pub mod body;
mod follow;
pub mod ids;
pub mod log;
pub mod oauth;
mod observed;
mod probes;
pub mod server;
mod streamed;
pub mod vault;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post, put};

use crate::auth::METHODS;
use crate::custody::App;
use crate::engines::ENGINES;
use crate::metrics::{CertificateEnd, Metrics};
use crate::ops::SYSTEM;

/// Routes outside the Vault dialect that answer without a token.
const OPEN: [(&str, &str); 8] = [
    ("POST", "/oauth2/token"), // takes evidence
    ("GET", "/oauth2/jwks"),   // public keys
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/livez"), // without names
    ("GET", "/readyz"),
    ("GET", "/startupz"),
    ("GET", "/log/{path}"), // signed, and without names; auditors need nobody's leave
];

/// Every route that answers without a token, as the descriptors have them. The test that walks all routes has
/// a list of its own: adding one is a decision.
#[must_use]
pub fn unauthenticated() -> Vec<(&'static str, String)> {
    let system = SYSTEM.open.iter().map(|(verb, path)| (*verb, format!("/v1/sys/{path}")));
    let methods = METHODS.iter().flat_map(|method| method.facts.open);
    let logins = methods.map(|(verb, path)| (*verb, format!("/v1/auth/{{mount}}/{path}")));
    let engines = ENGINES.iter().flat_map(|engine| engine.facts.open);
    let secrets = engines.map(|(verb, path)| (*verb, format!("/v1/{{mount}}/{path}")));
    let others = OPEN.iter().map(|(verb, path)| (*verb, (*path).to_owned()));
    let mut all: Vec<_> = system.chain(logins).chain(secrets).chain(others).collect();
    all.sort();
    all.dedup();
    all
}

/// The one request without the common deadline: it waits for the operator of the fragment service to approve,
/// for as long as the configuration says.
pub const PATIENT_PATH: &str = "/v1/sys/init";

/// All routes. `/metrics` tells the end of the certificate, if there is one.
pub fn router(app: Arc<App>, certificate: Option<CertificateEnd>) -> Router {
    let metrics = Metrics::new(certificate);
    let metrics = Arc::new(metrics.expect("names of numbers are words, and no two are the same"));
    let scrapes = Router::new().route("/metrics", get(observed::show));
    Router::new()
        .route("/v1/{*path}", any(vault::handle))
        .route(backup::PATH, put(backup::stream).post(backup::stream).fallback(vault::handle))
        .route(follow::PATH, get(follow::stream).fallback(vault::handle))
        .route("/oauth2/token", post(oauth::token))
        .route("/oauth2/jwks", get(oauth::jwks))
        .route("/.well-known/openid-configuration", get(oauth::discovery))
        .route("/.well-known/oauth-authorization-server", get(oauth::discovery))
        .route("/log/{*path}", get(log::resource))
        .route("/livez", get(probes::alive))
        .route("/readyz", get(probes::ready))
        .route("/startupz", get(probes::started))
        .fallback(nothing_here)
        .with_state(Arc::clone(&app))
        .merge(scrapes.with_state((app, Arc::clone(&metrics))))
        .layer(from_fn_with_state(metrics, observed::count))
}

/// HTML on purpose: the External Secrets Operator takes a 404 with JSON, or with nothing, for an absent
/// secret and may then delete the customer's copy. A wrong base address must not do that.
async fn nothing_here() -> Response {
    (
        StatusCode::NOT_FOUND,
        Html("<!doctype html><title>Symbolon</title><p>Nothing is served at this address."),
    )
        .into_response()
}

#[cfg(test)]
mod tests;
