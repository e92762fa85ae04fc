//! Logins and renewals, with no other token than the one they are about.

use reqwest::Method;
use serde_json::json;

use crate::auth::{Auth, Login};
use crate::connection::Connection;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::token::Token;

/// Exchanges evidence for a token.
pub(crate) async fn login(connection: &Connection, mount: &str, login: &Login<'_>) -> Result<Auth, Error> {
    let mut exchange = Exchange::new(connection, Method::PUT, "v1", &format!("auth/{mount}/login"));
    exchange.is_repeatable = true;
    exchange.serialised("application/json", &login.body()).speak(None).await?.auth()
}

/// Extends a token by what it was issued for.
pub(crate) async fn renew(connection: &Connection, token: &Token) -> Result<Auth, Error> {
    let exchange = Exchange::new(connection, Method::PUT, "v1", "auth/token/renew-self");
    exchange.serialised("application/json", &json!({})).speak(Some(token)).await?.auth()
}
