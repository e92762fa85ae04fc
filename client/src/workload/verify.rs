//! Verifying the workload tokens that others present, with the keys that the broker publishes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{Error, Rejected};
use crate::kept::{Age, Kept};

/// How long fetched keys are used without asking again, as the broker's `Cache-Control` says.
const FRESH: Duration = Duration::from_secs(300);
/// How long they are used while the broker cannot be asked, as it says too.
const STALE: Duration = Duration::from_secs(86_400);
/// Keys are fetched again for an unknown key, but no more often than this, whether that succeeds or not:
/// anybody can name one.
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// How far clocks of ours may be apart, in seconds.
const LEEWAY_SECS: u64 = 5;
/// Longest token, and longest published document.
const TOKEN_BYTES_MAX: usize = 4096;
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Verifies workload tokens for one audience: this service.
pub struct Verifier {
    client: Client,
    audience: String,
    known: Kept<Arc<Published>>,
}

/// Who presents a token, as the broker attests.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Caller {
    /// `<login mount>:<subject>`, such as `kubernetes:system:serviceaccount:shop:checkout`.
    #[serde(rename = "sub")]
    pub subject: String,
    /// What it may do here, as far as its role says.
    #[serde(rename = "scope", default, deserialize_with = "words")]
    pub scopes: Vec<String>,
    /// Identifier of the token, for a log.
    #[serde(rename = "jti", default)]
    pub id: String,
    /// Until when the token is valid, Unix seconds.
    #[serde(rename = "exp")]
    pub expires: u64,
    /// Facts that the login has attested.
    #[serde(rename = "symbolon.attrs", default)]
    pub attributes: Map<String, Value>,
}

/// What the broker publishes, and when we fetched it.
struct Published {
    issuer: String,
    keys: HashMap<String, DecodingKey>,
    fetched: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

/// Keys of kinds that this library does not know yet are left out.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

fn words<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let text = String::deserialize(input)?;
    Ok(text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

impl Verifier {
    /// Accepts tokens that the broker of this client made for `audience`. Connects to nothing yet.
    #[must_use]
    pub fn new(client: Client, audience: &str) -> Self {
        Self { client, audience: audience.to_owned(), known: Kept::new(FETCH_EVERY) }
    }

    /// Who presents this token; [`Error::Rejected`] if it does not hold, other errors if that cannot be told
    /// now.
    pub async fn verify(&self, token: &str) -> Result<Caller, Error> {
        let kid = key_id(token)?;
        // The keys, fetched if they are old or do not have this one.
        let published = self.known.get(|known| known.age(&kid), self.fetch()).await?;
        let key = published.keys.get(&kid).ok_or(Rejected::UnknownKey)?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.leeway = LEEWAY_SECS;
        rules.validate_nbf = true;
        rules.set_audience(&[&self.audience]);
        rules.set_issuer(&[&published.issuer]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        Ok(decode::<Caller>(token, key, &rules).map_err(|error| rejected(error.kind()))?.claims)
    }

    async fn fetch(&self) -> Result<Arc<Published>, Error> {
        let fetched = Instant::now();
        let discovery: Discovery =
            self.document(".well-known/openid-configuration", "a discovery document").await?;
        let set: KeySet = self.document("oauth2/jwks", "a key set").await?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key).ok()?;
            let key = DecodingKey::from_jwk(&jwk).ok()?;
            Some((jwk.common.key_id?, key))
        });
        Ok(Arc::new(Published { issuer: discovery.issuer, keys: keys.collect(), fetched }))
    }

    /// Asks once: whoever presents a token waits as well, and the next caller asks again.
    async fn document<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        expected: &'static str,
    ) -> Result<T, Error> {
        let call = self.client.public(Method::GET, path).repeatable(false).limit(DOCUMENT_BYTES_MAX);
        call.send().await?.raw(expected)
    }
}

impl Published {
    /// How good they are for whoever names this key.
    fn age(&self, kid: &str) -> Age {
        match (self.keys.contains_key(kid), self.fetched.elapsed()) {
            (true, age) if age < FRESH => Age::Good,
            (true, age) if age < STALE => Age::Due,
            (false, age) if age < FETCH_EVERY => Age::Good, // good enough to say that there is no such key
            _ => Age::Ended,
        }
    }
}

/// Which key a token names, if it is an access token (RFC 9068) at all.
fn key_id(token: &str) -> Result<String, Rejected> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Rejected::Malformed);
    }
    let header = decode_header(token).map_err(|_| Rejected::Malformed)?;
    let is_access_token = header.typ.is_some_and(|typ| typ.eq_ignore_ascii_case("at+jwt"));
    header.kid.filter(|_| is_access_token && header.alg == Algorithm::ES256).ok_or(Rejected::Malformed)
}

fn rejected(kind: &ErrorKind) -> Rejected {
    match kind {
        ErrorKind::InvalidSignature => Rejected::Signature,
        ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => Rejected::Expired,
        ErrorKind::InvalidAudience => Rejected::Audience,
        ErrorKind::InvalidIssuer => Rejected::Issuer,
        _ => Rejected::Malformed,
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Verifier")
            .field("client", &self.client)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
