//! Logins, and what a client does with its own token.

use reqwest::Method;
use serde_json::json;

use super::Client;
use crate::auth::{Auth, Login, TokenInfo};
use crate::error::Error;
use crate::login;

impl Client {
    /// Exchanges evidence for a token; `mount` is the login mount, such as `kubernetes`. Whoever needs a
    /// token for longer than one task takes a [`crate::TokenSource`] instead.
    pub async fn login(&self, mount: &str, login: &Login<'_>) -> Result<Auth, Error> {
        login::login(&self.connection, mount, login).await
    }

    /// Facts about our own token.
    pub async fn lookup_self(&self) -> Result<TokenInfo, Error> {
        self.call(Method::GET, "auth/token/lookup-self").send().await?.data("facts about a token")
    }

    /// Extends our own token; `increment` such as `1h`.
    pub async fn renew_self(&self, increment: Option<&str>) -> Result<Auth, Error> {
        let body = increment.map_or_else(|| json!({}), |increment| json!({ "increment": increment }));
        self.call(Method::PUT, "auth/token/renew-self").json(&body).send().await?.auth()
    }

    /// Ends our own token.
    pub async fn revoke_self(&self) -> Result<(), Error> {
        self.call(Method::PUT, "auth/token/revoke-self").send().await.map(drop)
    }
}
