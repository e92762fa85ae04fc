//! Workload tokens: how one service presents itself to another (RFC 8693 token exchange at `/oauth2/token`).

#[cfg(feature = "verify")]
pub(crate) mod verify;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::auth::lifetime_secs;
use crate::client::Client;
use crate::error::Error;
use crate::evidence::Evidence;
use crate::kept::{Age, Kept};
use crate::token::Token;

/// Workload tokens kept at once; a service talks to fewer others than this.
const AUDIENCES_MAX: usize = 256;
/// After an exchange that failed: how long until the next for the same audience.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A short-lived token for one audience.
#[derive(Debug, Clone)]
pub struct WorkloadToken {
    token: Token,
    lifetime: Duration,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    #[serde(deserialize_with = "lifetime_secs")]
    expires_in: u64,
}

/// Workload tokens of this service, each kept until shortly before its end.
pub struct WorkloadTokens {
    client: Client,
    proof: Evidence,
    /// By audience.
    kept: Mutex<HashMap<String, Arc<Kept<Exchanged>>>>,
}

/// A token, and when it was asked for: its life is counted from there, which errs on the safe side.
#[derive(Clone)]
struct Exchanged {
    token: WorkloadToken,
    asked: Instant,
}

impl WorkloadToken {
    /// The token, for an `Authorization: Bearer` header.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.token.expose()
    }

    /// Lifetime counted from when it was issued.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

impl Client {
    /// Exchanges proof of identity for a token that one audience accepts.
    pub async fn exchange_token(&self, proof: &Token, audience: &str) -> Result<WorkloadToken, Error> {
        let call = self.public(Method::POST, "oauth2/token").repeatable(true).form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", proof.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("audience", audience),
        ]);
        let issued: Issued = call.send().await?.raw("an access token")?;
        let text = Zeroizing::new(issued.access_token);
        let token = Token::new(&text).map_err(|_| Error::Foreign { expected: "an access token" })?;
        Ok(WorkloadToken { token, lifetime: Duration::from_secs(issued.expires_in) })
    }
}

impl WorkloadTokens {
    /// `proof` names the broker's issuer as its only audience; in Kubernetes it is a projected token of its
    /// own.
    #[must_use]
    pub fn new(client: Client, proof: Evidence) -> Self {
        Self { client, proof, kept: Mutex::default() }
    }

    /// A token that this audience accepts. It is used for four fifths of its life, and longer only while
    /// another is asked for or cannot be had. Without one, a failure is shared by the calls of the next five
    /// seconds.
    pub async fn token(&self, audience: &str) -> Result<WorkloadToken, Error> {
        let kept = self.kept(audience);
        Ok(kept.get(Exchanged::age, self.exchange(audience)).await?.token)
    }

    async fn exchange(&self, audience: &str) -> Result<Exchanged, Error> {
        let asked = Instant::now();
        let proof = self.proof.read().await?;
        Ok(Exchanged { token: self.client.exchange_token(&proof, audience).await?, asked })
    }

    fn kept(&self, audience: &str) -> Arc<Kept<Exchanged>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= AUDIENCES_MAX && !kept.contains_key(audience) {
            kept.clear();
        }
        let fresh = || Arc::new(Kept::new(TRY_AGAIN_AFTER));
        Arc::clone(kept.entry(audience.to_owned()).or_insert_with(fresh))
    }
}

impl Exchanged {
    fn age(&self) -> Age {
        let (age, lifetime) = (self.asked.elapsed(), self.token.lifetime);
        if age < lifetime * 4 / 5 {
            Age::Good
        } else if age < lifetime {
            Age::Due
        } else {
            Age::Ended
        }
    }
}

impl std::fmt::Debug for WorkloadTokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WorkloadTokens").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
