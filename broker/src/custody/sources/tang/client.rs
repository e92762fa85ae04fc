//! One question, one answer: a Tang server is asked for what somebody configured, follows nobody elsewhere,
//! and is waited for to a bound.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode};
use tokio::time::timeout;

use super::settings::Settings;
use crate::custody::sources::SourceError;
use crate::fetch::{self, FetchError};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest authority that is read.
const PEM_BYTES_MAX: u64 = 256 << 10;

/// What asks.
pub(super) struct Client {
    http: reqwest::Client,
    patience: Duration,
}

impl Client {
    /// With what the file of the authority holds now.
    pub(super) async fn new(settings: &Settings) -> Result<Self, SourceError> {
        let patience = settings.patience;
        let Some(path) = settings.ca_file.clone() else { return Self::with("", patience, None) };
        let silent = |_| SourceError::Silent { after: patience };
        let (own, read) = (path.clone(), tokio::task::spawn_blocking(move || pem(&path)));
        let text = timeout(patience, read).await.map_err(silent)?.map_err(std::io::Error::from);
        let text = text.flatten().map_err(|source| SourceError::File { path: own.clone(), source })?;
        Self::with(&text, patience, Some(own))
    }

    fn with(ca: &str, patience: Duration, file: Option<PathBuf>) -> Result<Self, SourceError> {
        let path = file.unwrap_or_default();
        let unfit = |error: &dyn std::fmt::Display| SourceError::File {
            path: path.clone(),
            source: std::io::Error::other(error.to_string()),
        };
        let builder = fetch::builder(ca).map_err(|error| unfit(&error))?;
        let http = builder.timeout(patience).build().map_err(|error| unfit(&error))?;
        Ok(Self { http, patience })
    }

    /// The body of an answer that is one; `None` where the server says that it has no such thing.
    pub(super) async fn get(
        &self,
        url: &str,
        expected: &'static str,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        self.answer(self.http.get(url), expected).await
    }

    /// The same for a question with a key in it.
    pub(super) async fn post(
        &self,
        url: &str,
        body: String,
        expected: &'static str,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let request = self.http.post(url).header(CONTENT_TYPE, "application/jwk+json").body(body);
        self.answer(request, expected).await
    }

    async fn answer(
        &self,
        request: RequestBuilder,
        expected: &'static str,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let mut answer = request.send().await.map_err(|error| self.failed(error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(SourceError::Garbled { expected }),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(SourceError::Garbled { expected });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    fn failed(&self, error: reqwest::Error) -> SourceError {
        if error.is_timeout() {
            return SourceError::Silent { after: self.patience };
        }
        match FetchError::from(error) {
            FetchError::Unreachable { why, .. } => SourceError::Unreachable(why.to_string()),
            error => SourceError::Unreachable(error.to_string()),
        }
    }
}

fn pem(path: &std::path::Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(PEM_BYTES_MAX).read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(std::io::Error::other("expected a certificate in PEM, found nothing"));
    }
    Ok(text)
}
