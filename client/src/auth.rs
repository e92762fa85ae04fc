//! Logins and tokens of the Vault dialect.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::Error;
use crate::token::Token;

/// Evidence for a token.
pub enum Login<'a> {
    /// An application role and its secret id.
    AppRole {
        /// The role's id.
        role_id: &'a str,
        /// A secret id issued for the role.
        secret_id: &'a str,
    },
    /// A service-account token of a Kubernetes cluster.
    Kubernetes {
        /// Role at the broker.
        role: &'a str,
        /// The token.
        jwt: &'a str,
    },
    /// A token of an OpenID Connect issuer; an empty role asks for the mount's default.
    Jwt {
        /// Role at the broker.
        role: &'a str,
        /// The token.
        jwt: &'a str,
    },
}

impl Login<'_> {
    /// Where the method is mounted unless an operator chose otherwise.
    #[must_use]
    pub fn default_mount(&self) -> &'static str {
        match self {
            Self::AppRole { .. } => "approle",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Jwt { .. } => "jwt",
        }
    }

    /// Borrowed, so that the evidence has no copy that nobody wipes.
    fn body(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from(match *self {
            Self::AppRole { role_id, secret_id } => [("role_id", role_id), ("secret_id", secret_id)],
            Self::Kubernetes { role, jwt } | Self::Jwt { role, jwt } => [("role", role), ("jwt", jwt)],
        })
    }
}

/// The method, not the evidence.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Login({})", self.default_mount())
    }
}

/// An issued token and what it may do.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct Auth {
    /// The token.
    #[serde(rename = "client_token", deserialize_with = "token")]
    pub token: Token,
    /// Accessor: names the token without being it. Empty for batch tokens.
    #[serde(default)]
    pub accessor: String,
    /// Policies in force.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Facts from the login.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Lifetime in seconds; 0 never ends.
    #[serde(default)]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// `service` or `batch`.
    #[serde(default)]
    pub token_type: String,
}

fn token<'de, D: Deserializer<'de>>(input: D) -> Result<Token, D::Error> {
    let text = Zeroizing::new(String::deserialize(input)?);
    Token::new(&text).map_err(serde::de::Error::custom)
}

/// What a token is, as `lookup` tells. The token itself is dropped on arrival.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenInfo {
    /// Accessor; empty for batch tokens.
    #[serde(default)]
    pub accessor: String,
    /// Name for logs.
    #[serde(default)]
    pub display_name: String,
    /// Policies in force.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Where it was issued.
    #[serde(default)]
    pub path: String,
    /// Facts from the login.
    #[serde(default)]
    pub meta: Option<BTreeMap<String, String>>,
    /// Seconds left; 0 with `expire_time` null never ends.
    #[serde(default)]
    pub ttl: u64,
    /// Unix seconds of issue.
    #[serde(default)]
    pub creation_time: u64,
    /// RFC 3339, or null if it never ends.
    #[serde(default)]
    pub expire_time: Option<String>,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Whether it outlives its parent.
    #[serde(default)]
    pub orphan: bool,
    /// Uses left; 0 means unlimited.
    #[serde(default)]
    pub num_uses: u64,
    /// `service` or `batch`.
    #[serde(rename = "type", default)]
    pub kind: String,
}

impl Client {
    /// Exchanges evidence for a token; `mount` is the login mount, such as `kubernetes`. Whoever needs a
    /// token for longer than one task takes a [`crate::TokenSource`] instead.
    pub async fn login(&self, mount: &str, login: &Login<'_>) -> Result<Auth, Error> {
        let call = self.call(Method::PUT, &format!("auth/{mount}/login")).repeatable(true);
        call.json(&login.body()).speak(None).await?.auth()
    }

    /// Extends a token by what it was issued for.
    pub(crate) async fn renew(&self, token: &Token) -> Result<Auth, Error> {
        self.call(Method::PUT, "auth/token/renew-self").json(&json!({})).speak(Some(token)).await?.auth()
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
