//! Tokens of others, and tokens for others.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use symbolon::{Auth, Error, Method, Token, TokenInfo};

use super::Operator;

/// Wishes for a new token; what is not given is inherited or defaulted by the broker.
#[derive(Debug, Default, Clone, Serialize)]
pub struct CreateToken {
    /// Policies; empty inherits the parent's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Lifetime such as `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Longest lifetime such as `24h`, renewals included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explicit_max_ttl: Option<String>,
    /// Lifetime of each renewal of a periodic token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// Name for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `service` or `batch`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Uses after which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_uses: Option<u64>,
    /// Whether it outlives the token that creates it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_parent: bool,
    /// Whether the policy `default` is left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_default_policy: bool,
    /// Whether it can be renewed; the broker's default is yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewable: Option<bool>,
    /// Free facts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
}

impl Operator {
    /// Facts about another token.
    pub async fn lookup(&self, token: &Token) -> Result<TokenInfo, Error> {
        let call = self.call(Method::PUT, "auth/token/lookup").json(&json!({ "token": token.expose() }));
        call.send().await?.data("facts about a token")
    }

    /// Facts about the token with this accessor.
    pub async fn lookup_accessor(&self, accessor: &str) -> Result<TokenInfo, Error> {
        let call =
            self.call(Method::PUT, "auth/token/lookup-accessor").json(&json!({ "accessor": accessor }));
        call.send().await?.data("facts about a token")
    }

    /// A new token below ours, and the broker's warnings.
    pub async fn create_token(&self, wishes: &CreateToken) -> Result<(Auth, Vec<String>), Error> {
        let answer = self.call(Method::PUT, "auth/token/create").json(wishes).send().await?;
        Ok((answer.auth()?, answer.warnings()))
    }

    /// Ends another token and all below it.
    pub async fn revoke(&self, token: &Token) -> Result<(), Error> {
        let call = self.call(Method::PUT, "auth/token/revoke").json(&json!({ "token": token.expose() }));
        call.send().await.map(drop)
    }

    /// Ends the token with this accessor and all below it.
    pub async fn revoke_accessor(&self, accessor: &str) -> Result<(), Error> {
        let call =
            self.call(Method::PUT, "auth/token/revoke-accessor").json(&json!({ "accessor": accessor }));
        call.send().await.map(drop)
    }
}
