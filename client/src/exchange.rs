//! One request and its answer, with the token that it is told: bodies bounded and wiped, refusals sorted.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::Auth;
use crate::connection::Connection;
use crate::error::{Error, Unavailable};
use crate::form;
use crate::path::join;
use crate::refusal::{Refusal, printable};
use crate::retry::{Patience, retry_after};
use crate::token::Token;
use crate::wiped::Wiped;

/// Largest answer in bytes, unless a call knows better: a secret is at most 1 MiB, a long list is the
/// largest.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Longest answer that is taken piece by piece.
const PIECES_TIME: Duration = Duration::from_secs(24 * 3600);
/// Reserved for an answer before it comes, at most.
const RESERVED_BYTES: u64 = 64 << 10;
/// The same for a body that we send.
const RESERVED_BODY: usize = 4 << 10;
/// Largest error body that is read for its messages.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A request being put together.
pub(crate) struct Exchange<'a> {
    connection: &'a Connection,
    pub(crate) method: Method,
    pub(crate) url: Result<Url, Error>,
    body: Result<Option<Body>, Error>,
    /// Whether it is made again when the broker asks to come back later.
    pub(crate) is_repeatable: bool,
    /// At most so many bytes of answer.
    pub(crate) limit: usize,
    /// Statuses beyond 2xx whose body is an answer.
    pub(crate) accept: &'static [u16],
}

/// Wiped when the last request that sends it is gone.
struct Body {
    media_type: &'static str,
    bytes: Bytes,
}

/// A successful answer. Its body is wiped on drop.
pub struct Answer {
    status: u16,
    body: Wiped,
}

/// The body of a success that is taken piece by piece, however long it is.
pub struct Pieces {
    response: reqwest::Response,
    /// Longest wait for the next one.
    pause: Duration,
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

impl<'a> Exchange<'a> {
    /// `path` is not encoded yet; a slash at its end is kept.
    pub(crate) fn new(connection: &'a Connection, method: Method, prefix: &str, path: &str) -> Self {
        Self {
            connection,
            is_repeatable: method == Method::GET,
            method,
            url: join(&connection.base, prefix, path),
            body: Ok(None),
            limit: ANSWER_BYTES_MAX,
            accept: &[],
        }
    }

    /// Puts a JSON body in.
    pub(crate) fn serialised<T: Serialize + ?Sized>(mut self, media_type: &'static str, body: &T) -> Self {
        let mut bytes = Wiped::with_capacity(RESERVED_BODY);
        self.body = match serde_json::to_writer(&mut bytes, body) {
            Ok(()) => Ok(Some(Body::new(media_type, bytes))),
            Err(_) => Err(Error::Shape { wanted: std::any::type_name::<T>() }),
        };
        self
    }

    /// Puts a form in.
    pub(crate) fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        self.body = Ok(Some(Body::new("application/x-www-form-urlencoded", form::encoded(pairs))));
        self
    }

    /// Sends it with this token. Waits for a broker that asks for it, if the call may be repeated.
    pub(crate) async fn speak(&self, token: Option<&Token>) -> Result<Answer, Error> {
        let within = if self.is_repeatable { self.connection.retry_within } else { Duration::ZERO };
        let mut patience = Patience::new(within);
        loop {
            match self.once(token).await {
                Err(error) if patience.outlasts(&error).await => {}
                other => return other,
            }
        }
    }

    /// Sends it once with this token, and leaves the body of a success to be taken piece by piece.
    pub(crate) async fn begin(&self, token: Option<&Token>) -> Result<Pieces, Error> {
        let request = self.request(token)?.timeout(PIECES_TIME);
        let response = tokio::time::timeout(self.connection.timeout, self.answered(request)).await;
        let response = response.map_err(|_| Unavailable::Timeout)??;
        Ok(Pieces { response, pause: self.connection.timeout })
    }

    async fn once(&self, token: Option<&Token>) -> Result<Answer, Error> {
        let mut response = self.answered(self.request(token)?).await?;
        let body = read_bounded(&mut response, self.limit).await?;
        Ok(Answer { status: response.status().as_u16(), body })
    }

    /// The head of an answer that is no refusal.
    async fn answered(&self, request: RequestBuilder) -> Result<reqwest::Response, Error> {
        let mut response = request.send().await.map_err(Error::from_transport)?;
        let status = response.status().as_u16();
        if response.status().is_success() || self.accept.contains(&status) {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers());
        // A refusal stays a refusal when its body is oversized or broken.
        let body = read_bounded(&mut response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        Err(Error::from_refusal(Refusal::read(status, retry_after, body.as_ref())))
    }

    fn request(&self, token: Option<&Token>) -> Result<RequestBuilder, Error> {
        let mut request = self.connection.request(self.method.clone(), self.url.clone()?);
        request = request.header(ACCEPT, HeaderValue::from_static("application/json, text/plain, */*;q=0.5"));
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.header());
        }
        if let Some(body) = self.body.as_ref().map_err(Error::clone)? {
            request = request.header(CONTENT_TYPE, body.media_type).body(body.bytes.clone());
        }
        Ok(request)
    }
}

impl Body {
    fn new(media_type: &'static str, bytes: Wiped) -> Self {
        Self { media_type, bytes: Bytes::from_owner(bytes) }
    }
}

impl Pieces {
    /// The next piece; `None` at the end. An answer that breaks off is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = tokio::time::timeout(self.pause, self.response.chunk()).await;
        piece.map_err(|_| Unavailable::Timeout)?.map_err(Error::from_transport)
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
        self.body.as_ref()
    }

    /// The whole body as JSON, for routes without an envelope. `expected` says what should be there, for the
    /// error.
    pub fn raw<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, Error> {
        serde_json::from_slice(self.body()).map_err(|_| Error::Foreign { expected })
    }

    /// The `data` of the envelope. `expected` says what should be there, for the error.
    pub fn data<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, Error> {
        let envelope: Envelope<T> = self.raw(expected)?;
        envelope.data.ok_or(Error::Foreign { expected })
    }

    /// The `auth` of the envelope.
    pub fn auth(&self) -> Result<Auth, Error> {
        let expected = "an `auth` object with a token";
        self.raw::<AuthEnvelope>(expected)?.auth.ok_or(Error::Foreign { expected })
    }

    /// Warnings of the envelope, made printable.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let envelope = serde_json::from_slice::<Envelope<serde::de::IgnoredAny>>(self.body());
        printable(&envelope.ok().and_then(|envelope| envelope.warnings).unwrap_or_default())
    }

    /// An accepted answer that turns out to be a refusal.
    pub(crate) fn refused(&self) -> Error {
        Error::from_refusal(Refusal::read(self.status, None, self.body()))
    }
}

/// The status, not the body.
impl fmt::Debug for Pieces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pieces({})", self.response.status().as_u16())
    }
}

/// The status, not the body.
impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Answer({})", self.status)
    }
}

/// Reads a body chunk by chunk, so that a hostile length costs nothing.
async fn read_bounded(response: &mut reqwest::Response, limit: usize) -> Result<Wiped, Error> {
    let expected = response.content_length().unwrap_or(0).min(RESERVED_BYTES);
    let mut body = Wiped::with_capacity(usize::try_from(expected).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(Error::from_transport)? {
        if body.as_ref().len() + chunk.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        body.extend(&chunk);
    }
    Ok(body)
}
