//! One request and its answer: paths encoded once, bodies bounded, refusals sorted.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::auth::Auth;
use crate::client::ANSWER_BYTES_MAX;
use crate::error::{Error, Refusal};
use crate::token::Token;

/// Longest path in bytes, as on the broker.
const PATH_BYTES_MAX: usize = 1024;
/// Largest error body that is read for its messages.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A request being put together.
pub struct Call<'a> {
    http: &'a reqwest::Client,
    method: Method,
    url: Result<Url, Error>,
    token: Option<&'a Token>,
    namespace: Option<&'a str>,
    body: Option<(&'static str, Zeroizing<Vec<u8>>)>,
    limit: usize,
    accept: &'static [u16],
}

/// A successful answer.
pub struct Answer {
    status: u16,
    body: Zeroizing<Vec<u8>>,
}

/// The envelope of the Vault dialect, as far as this client looks.
#[derive(serde::Deserialize)]
struct Envelope<T> {
    data: Option<T>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct AuthEnvelope {
    auth: Option<Auth>,
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<String>,
    /// RFC 6749 5.2, from the token endpoint.
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

impl<'a> Call<'a> {
    /// `path` is not encoded yet; a slash at its end is kept.
    pub(crate) fn new(
        http: &'a reqwest::Client,
        method: Method,
        base: &Url,
        prefix: &str,
        path: &str,
    ) -> Self {
        let url = join(base, prefix, path);
        Self {
            http,
            method,
            url,
            token: None,
            namespace: None,
            body: None,
            limit: ANSWER_BYTES_MAX,
            accept: &[],
        }
    }

    pub(crate) fn token(mut self, token: Option<&'a Token>) -> Self {
        self.token = token;
        self
    }

    /// Sends no token.
    #[must_use]
    pub fn without_token(self) -> Self {
        self.token(None)
    }

    pub(crate) fn namespace(mut self, namespace: Option<&'a str>) -> Self {
        self.namespace = namespace;
        self
    }

    /// Adds `?name=value`.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    /// Sends a JSON body.
    pub fn json(self, body: &impl Serialize) -> Self {
        self.serialised("application/json", body)
    }

    /// Sends a JSON merge patch (RFC 7396).
    pub(crate) fn merge_patch(self, body: &impl Serialize) -> Self {
        self.serialised("application/merge-patch+json", body)
    }

    fn serialised(mut self, media_type: &'static str, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("bodies are maps with text keys");
        self.body = Some((media_type, Zeroizing::new(bytes)));
        self
    }

    /// Sends a form body.
    pub(crate) fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        // The one encoder of forms at hand is that of queries.
        let mut encoder = Url::parse("form:x").expect("a constant");
        encoder.query_pairs_mut().extend_pairs(pairs);
        let bytes = encoder.query().unwrap_or_default().as_bytes().to_vec();
        self.body = Some(("application/x-www-form-urlencoded", Zeroizing::new(bytes)));
        self
    }

    /// Takes at most so many bytes of answer.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Statuses beyond 2xx whose body is an answer and not a refusal.
    pub fn accept(mut self, statuses: &'static [u16]) -> Self {
        self.accept = statuses;
        self
    }

    /// Sends it. A refusal, and an answer larger than its bound, are errors.
    pub async fn send(self) -> Result<Answer, Error> {
        let (limit, accept) = (self.limit, self.accept);
        let mut response = self.request()?.send().await.map_err(Error::from_transport)?;
        let status = response.status().as_u16();
        if response.status().is_success() || accept.contains(&status) {
            let body = read_bounded(&mut response, limit).await?;
            return Ok(Answer { status, body });
        }
        // A refusal stays a refusal when its body is oversized or broken.
        let body = read_bounded(&mut response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        Err(Error::from_refusal(Refusal::new(status, &messages(&body))))
    }

    fn request(self) -> Result<RequestBuilder, Error> {
        let mut request = self.http.request(self.method, self.url?);
        request = request.header("X-Vault-Request", HeaderValue::from_static("true"));
        request = request.header(ACCEPT, HeaderValue::from_static("application/json, text/plain, */*;q=0.5"));
        if let Some(token) = self.token {
            request = request.header("X-Vault-Token", token.header());
        }
        if let Some(namespace) = self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some((media_type, bytes)) = self.body {
            request = request.header(CONTENT_TYPE, media_type).body(bytes.to_vec());
        }
        Ok(request)
    }
}

impl Answer {
    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole body as JSON, for routes without an envelope.
    pub fn raw<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| Error::Protocol { expected })
    }

    /// The `data` of the envelope.
    pub fn data<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, Error> {
        let envelope: Envelope<T> = self.raw(expected)?;
        envelope.data.ok_or(Error::Protocol { expected })
    }

    /// The `auth` of the envelope.
    pub fn auth(&self) -> Result<Auth, Error> {
        let expected = "an `auth` object with a token";
        self.raw::<AuthEnvelope>(expected)?.auth.ok_or(Error::Protocol { expected })
    }

    /// Warnings of the envelope, made printable.
    pub fn warnings(&self) -> Vec<String> {
        let envelope = serde_json::from_slice::<Envelope<serde_json::Value>>(&self.body);
        let warnings = envelope.ok().and_then(|envelope| envelope.warnings).unwrap_or_default();
        Refusal::new(self.status, &warnings).messages().to_vec()
    }
}

fn join(base: &Url, prefix: &str, path: &str) -> Result<Url, Error> {
    let (body, is_folder) = match path.strip_suffix('/') {
        Some(body) => (body, true),
        None => (path, false),
    };
    let sound = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.chars().any(char::is_control);
    if path.len() > PATH_BYTES_MAX || !body.split('/').all(sound) {
        return Err(Error::Path);
    }
    let mut url = base.clone();
    {
        let mut segments = url.path_segments_mut().map_err(|()| Error::Address)?;
        segments.pop_if_empty();
        if !prefix.is_empty() {
            segments.push(prefix);
        }
        segments.extend(body.split('/'));
        if is_folder {
            segments.push("");
        }
    }
    Ok(url)
}

/// Reads a body chunk by chunk, so that a hostile length costs nothing.
async fn read_bounded(response: &mut reqwest::Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(Error::from_transport)? {
        if body.len() + chunk.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn messages(body: &[u8]) -> Vec<String> {
    let Ok(parsed) = serde_json::from_slice::<ErrorBody>(body) else { return Vec::new() };
    let ErrorBody { mut errors, error, error_description } = parsed;
    match (error, error_description) {
        (Some(error), Some(text)) => errors.push(format!("{error}: {text}")),
        (Some(error), None) => errors.push(error),
        _ => {}
    }
    errors
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(path: &str) -> Result<String, Error> {
        join(&Url::parse("https://broker/compat/").unwrap(), "v1", path).map(String::from)
    }

    #[test]
    fn paths_are_encoded_once_and_below_the_prefix() {
        assert_eq!(url("secret/data/a b?%").unwrap(), "https://broker/compat/v1/secret/data/a%20b%3F%25");
        assert_eq!(url("secret/metadata/team/").unwrap(), "https://broker/compat/v1/secret/metadata/team/");
    }

    #[test]
    fn a_path_cannot_climb() {
        for path in ["secret/../sys/seal", "a//b", "/a", "", ".", "a/\u{7f}/b", &"a".repeat(1025)] {
            assert!(matches!(url(path), Err(Error::Path)), "{path}");
        }
    }

    #[test]
    fn messages_of_both_dialects_are_read() {
        assert_eq!(messages(br#"{"errors":["a","b"]}"#), ["a", "b"]);
        assert_eq!(
            messages(br#"{"error":"invalid_request","error_description":"x"}"#),
            ["invalid_request: x"]
        );
        assert!(messages(b"<html>").is_empty());
    }
}
