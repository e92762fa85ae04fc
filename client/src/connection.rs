//! To whom requests go, and what all of them carry.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};

/// What clones of a client share.
pub(crate) struct Connection {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) namespace: Option<String>,
    /// Deadline of one request.
    pub(crate) timeout: Duration,
    /// How long a call waits for a broker that asks to come back later.
    pub(crate) retry_within: Duration,
}

impl Connection {
    /// A request with what all requests carry.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url).timeout(self.timeout);
        let request = request.header("X-Vault-Request", "true");
        match &self.namespace {
            Some(namespace) => request.header("X-Vault-Namespace", namespace),
            None => request,
        }
    }
}
