//! Workload tokens: RFC 8693 token exchange at `/oauth2/token`.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::Error;
use crate::token::{Token, TokenError};

/// Largest file with a subject token.
const SUBJECT_BYTES_MAX: u64 = 64 << 10;

/// Proof of who a workload is, such as a Kubernetes service-account token. No `Debug`.
pub struct SubjectToken(Zeroizing<String>);

/// A short-lived token for one audience. No `Debug`.
pub struct WorkloadToken {
    text: Zeroizing<String>,
    lifetime: Duration,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: u64,
}

impl SubjectToken {
    /// Takes a JWT; white space at the ends is dropped.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        Token::new(text).map(|token| Self(Zeroizing::new(token.expose().to_owned())))
    }

    /// Reads a file anew: kubelet replaces projected tokens while the process runs.
    pub async fn read(path: &Path) -> Result<Self, Error> {
        let owned = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read_small(&owned)).await;
        let failed = |source| Error::TokenFile { path: path.to_owned(), source };
        let text = read.map_err(|join| failed(std::io::Error::other(join)))?.map_err(failed)?;
        Ok(Self::new(&text)?)
    }

    /// The text, for the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn read_small(path: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read;
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)?.take(SUBJECT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

impl WorkloadToken {
    /// The token, for an `Authorization: Bearer` header.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Lifetime counted from when it was issued.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

impl Client {
    /// Exchanges proof of identity for a token that one audience accepts.
    pub async fn exchange_token(
        &self,
        subject: &SubjectToken,
        audience: &str,
    ) -> Result<WorkloadToken, Error> {
        let call = self.plain(Method::POST, "oauth2/token").form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("audience", audience),
        ]);
        let issued: Issued = call.send().await?.raw("an access token")?;
        let text = Zeroizing::new(issued.access_token);
        Token::new(&text)?;
        Ok(WorkloadToken { text, lifetime: Duration::from_secs(issued.expires_in) })
    }
}
