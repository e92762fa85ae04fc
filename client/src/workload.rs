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

use crate::client::Client;
use crate::error::Error;
use crate::evidence::Evidence;
use crate::token::Token;

/// Workload tokens kept at once; a service talks to fewer others than this.
const AUDIENCES_MAX: usize = 256;

/// A short-lived token for one audience.
#[derive(Debug, Clone)]
pub struct WorkloadToken {
    token: Token,
    lifetime: Duration,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: u64,
}

/// Workload tokens of this service, each kept until shortly before its end.
pub struct WorkloadTokens {
    client: Client,
    proof: Evidence,
    kept: Mutex<HashMap<String, Arc<Place>>>,
}

/// Where the token for one audience is; held by the one caller who asks for another.
type Place = tokio::sync::Mutex<Option<Kept>>;

struct Kept {
    token: WorkloadToken,
    due: Instant,
    ends: Instant,
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

    /// A token that this audience accepts. It is used for four fifths of its life, and longer only while the
    /// broker cannot give another.
    pub async fn token(&self, audience: &str) -> Result<WorkloadToken, Error> {
        let place = self.place(audience);
        let mut kept = place.lock().await;
        let now = Instant::now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.due) {
            return Ok(kept.token.clone());
        }
        match self.exchange(audience).await {
            Ok(token) => {
                *kept = Some(Kept::new(token.clone(), now));
                Ok(token)
            }
            Err(error) => match kept.as_ref() {
                Some(kept) if error.is_temporary() && Instant::now() < kept.ends => Ok(kept.token.clone()),
                _ => Err(error),
            },
        }
    }

    async fn exchange(&self, audience: &str) -> Result<WorkloadToken, Error> {
        let proof = self.proof.read().await?;
        self.client.exchange_token(&proof, audience).await
    }

    fn place(&self, audience: &str) -> Arc<Place> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= AUDIENCES_MAX && !kept.contains_key(audience) {
            kept.clear();
        }
        Arc::clone(kept.entry(audience.to_owned()).or_default())
    }
}

impl Kept {
    fn new(token: WorkloadToken, asked: Instant) -> Self {
        let lifetime = token.lifetime;
        Self { token, due: asked + lifetime * 4 / 5, ends: asked + lifetime }
    }
}

impl std::fmt::Debug for WorkloadTokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WorkloadTokens").field("client", &self.client).finish_non_exhaustive()
    }
}
