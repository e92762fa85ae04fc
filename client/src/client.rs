//! Where the broker is, whom it must be, and as whom we speak.

mod own_token;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::connection::Connection;
use crate::error::Error;
use crate::http;
use crate::source::TokenSource;
use crate::token::Token;

/// Deadline of one request unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a call waits for a broker that asks to come back later, unless told otherwise.
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// A broker's client. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    connection: Arc<Connection>,
    source: Option<Arc<TokenSource>>,
}

/// Settings of a [`Client`].
#[must_use = "call build()"]
pub struct Builder {
    address: String,
    ca: http::Ca,
    http: Option<reqwest::Client>,
    source: Option<TokenSource>,
    namespace: Option<String>,
    timeout: Duration,
    retry_within: Duration,
}

impl Client {
    /// Starts with an address such as `https://broker.internal:8200`; a path in it is kept as a prefix.
    pub fn builder(address: &str) -> Builder {
        Builder {
            address: address.to_owned(),
            ca: http::Ca::System,
            http: None,
            source: None,
            namespace: None,
            timeout: TIMEOUT,
            retry_within: RETRY_WITHIN,
        }
    }

    /// The same connections, speaking as another.
    #[must_use]
    pub fn with_token(&self, token: Token) -> Self {
        self.with_source(TokenSource::fixed(token))
    }

    /// The same connections, with tokens from another source.
    #[must_use]
    pub fn with_source(&self, source: TokenSource) -> Self {
        Self { connection: Arc::clone(&self.connection), source: Some(Arc::new(source)) }
    }

    /// The address that calls go to.
    #[must_use]
    pub fn address(&self) -> &str {
        self.connection.base.as_str().trim_end_matches('/')
    }

    /// Whether calls carry a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.source.is_some()
    }

    /// Reads any route of the dialect, such as `auth/token/lookup-self`: `data` of the answer.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Method::GET, path).send().await?.data("an answer with data")
    }

    /// Writes to any route of the dialect, such as `auth/kubernetes/role/x`: `data` of the answer, if it has
    /// any.
    pub async fn write<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<Option<serde_json::Value>, Error> {
        let answer = self.call(Method::PUT, path).json(body).send().await?;
        if answer.body().is_empty() { Ok(None) } else { answer.data("an answer with data").map(Some) }
    }

    /// A call of any route of the Vault dialect; `path` is below `/v1/` and not encoded.
    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call::new(&self.connection, self.source.as_deref(), method, "v1", path)
    }

    /// A call outside the dialect, without a token, such as `log/checkpoint`; `path` is not encoded.
    pub fn public(&self, method: Method, path: &str) -> Call<'_> {
        Call::new(&self.connection, None, method, "", path)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("address", &self.address()).field("source", &self.source).finish()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Builder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Builder {
    /// Trusts the certificates in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = http::Ca::File(path.into());
        self
    }

    /// Trusts these PEM certificates, and no others.
    pub fn ca_pem(mut self, pem: &[u8]) -> Self {
        self.ca = http::Ca::Pem(pem.to_vec());
        self
    }

    /// Uses this HTTP client, whose TLS settings count then and not those of this builder. It must not follow
    /// redirects, because a token would go with them; and for plain HTTP it needs `no_proxy()`, or a proxy of
    /// the environment reads the token.
    pub fn http_client(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Speaks with this token.
    pub fn token(self, token: Token) -> Self {
        self.token_source(TokenSource::fixed(token))
    }

    /// Takes its tokens from there.
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.source = Some(source);
        self
    }

    /// Sends this in `X-Vault-Namespace`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Gives each request so long, connecting included [default: 60 s].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets each read, login and token exchange be repeated for so long while the broker answers 503 or 429
    /// and asks to come back later [default: 10 s]. Zero repeats nothing.
    pub fn retry_within(mut self, within: Duration) -> Self {
        self.retry_within = within;
        self
    }

    /// Checks the settings. Connects to nothing yet.
    pub fn build(self) -> Result<Client, Error> {
        let base = http::base_url(&self.address)?;
        let http = match self.http {
            Some(http) => http,
            None => http::client(&base, &self.ca, self.timeout)?,
        };
        let Self { source, namespace, timeout, retry_within, .. } = self;
        let connection = Connection { http, base, namespace, timeout, retry_within };
        Ok(Client { connection: Arc::new(connection), source: source.map(Arc::new) })
    }
}
