//! A request of ours, sent with a token from the client's source. Paths are encoded once.

use std::fmt;

use reqwest::{Method, Url};
use serde::Serialize;

use crate::connection::Connection;
use crate::error::Error;
use crate::exchange::{Answer, Exchange, Pieces};
use crate::source::TokenSource;

/// A request being put together: see [`Client::call`](crate::Client::call).
#[must_use = "call send()"]
pub struct Call<'a> {
    connection: &'a Connection,
    source: Option<&'a TokenSource>,
    exchange: Exchange<'a>,
}

impl<'a> Call<'a> {
    /// `path` is not encoded yet; a slash at its end is kept.
    pub(crate) fn new(
        connection: &'a Connection,
        source: Option<&'a TokenSource>,
        method: Method,
        prefix: &str,
        path: &str,
    ) -> Self {
        Self { connection, source, exchange: Exchange::new(connection, method, prefix, path) }
    }

    /// Sends no token.
    pub fn without_token(mut self) -> Self {
        self.source = None;
        self
    }

    /// Whether the call is made again when the broker asks to come back later. Reads are; a write only if it
    /// is said here, because what became of the first one may be unknown.
    pub fn repeatable(mut self, is_repeatable: bool) -> Self {
        self.exchange.is_repeatable = is_repeatable;
        self
    }

    /// Adds `?name=value`.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(url) = &mut self.exchange.url {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    /// Sends a JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        self.exchange = self.exchange.serialised("application/json", body);
        self
    }

    /// Sends a JSON merge patch (RFC 7396).
    pub(crate) fn merge_patch<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        self.exchange = self.exchange.serialised("application/merge-patch+json", body);
        self
    }

    /// Sends a form body.
    pub(crate) fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        self.exchange = self.exchange.form(pairs);
        self
    }

    /// Takes at most so many bytes of answer.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.exchange.limit = bytes;
        self
    }

    /// Statuses beyond 2xx whose body is an answer and not a refusal.
    pub fn accept(mut self, statuses: &'static [u16]) -> Self {
        self.exchange.accept = statuses;
        self
    }

    /// Sends it with the client's token. A token that is refused is replaced once, if the client's source has
    /// another.
    pub async fn send(self) -> Result<Answer, Error> {
        let Some(source) = self.source else { return self.exchange.speak(None).await };
        let token = source.token(self.connection).await?;
        match self.exchange.speak(Some(&token)).await {
            Err(Error::Denied(refusal)) => match source.instead_of(self.connection, &token).await {
                // Nothing was done for the first one, so a write may be sent again as well.
                Ok(Some(token)) => self.exchange.speak(Some(&token)).await,
                // Why there is no other token is of less use than what this one was refused.
                Ok(None) | Err(_) => Err(Error::Denied(refusal)),
            },
            other => other,
        }
    }

    /// The same, once, for an answer of any length that is taken piece by piece. A refused token is not
    /// replaced.
    pub async fn pieces(self) -> Result<Pieces, Error> {
        let Some(source) = self.source else { return self.exchange.begin(None).await };
        let token = source.token(self.connection).await?;
        self.exchange.begin(Some(&token)).await
    }
}

/// Method and URL; neither a token nor a body.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Call({} {:?})", self.exchange.method, self.exchange.url.as_ref().map(Url::path))
    }
}

#[cfg(test)]
mod tests;
