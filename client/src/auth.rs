//! What a login asks and what it gives, in the Vault dialect.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::token::Token;

/// Longest lifetime that is believed: a hundred years. Sums of times like this cannot overflow.
const LIFETIME_SECS_MAX: u64 = 100 * 365 * 86_400;

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
    pub(crate) fn body(&self) -> BTreeMap<&'static str, &str> {
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
    /// Lifetime in seconds, a hundred years at most; 0 never ends.
    #[serde(default, deserialize_with = "lifetime_secs")]
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

/// A lifetime in seconds.
pub(crate) fn lifetime_secs<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    u64::deserialize(input).map(|secs| secs.min(LIFETIME_SECS_MAX))
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
