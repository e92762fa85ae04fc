//! Where the broker is, whom it must be, and as whom we speak.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Method, Url};

use crate::call::Call;
use crate::error::Error;
use crate::token::Token;

/// Largest answer in bytes, unless a call knows better: a secret is at most 1 MiB, a long list is the largest.
pub(crate) const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Largest CA file.
const CA_BYTES_MAX: u64 = 1 << 20;
/// Deadline of a call unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Deadline of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker's client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Arc<Token>>,
    namespace: Option<String>,
}

/// Settings of a [`Client`].
#[must_use = "call build()"]
pub struct Builder {
    address: String,
    ca: Ca,
    token: Option<Token>,
    namespace: Option<String>,
    timeout: Duration,
}

enum Ca {
    System,
    File(PathBuf),
    Pem(Vec<u8>),
}

impl Client {
    /// Starts with an address such as `https://broker.internal:8200`; a path in it is kept as a prefix.
    pub fn builder(address: &str) -> Builder {
        Builder {
            address: address.to_owned(),
            ca: Ca::System,
            token: None,
            namespace: None,
            timeout: TIMEOUT,
        }
    }

    /// The same connections, speaking as another.
    #[must_use]
    pub fn with_token(&self, token: Arc<Token>) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// The address that calls go to.
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether calls carry a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// A call of any route of the Vault dialect; `path` is below `/v1/` and not encoded.
    #[must_use]
    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        let call = Call::new(&self.http, method, &self.base, "v1", path);
        call.token(self.token.as_deref()).namespace(self.namespace.as_deref())
    }

    /// A call outside the Vault dialect, without a token; `path` is below the address and not encoded.
    pub(crate) fn plain(&self, method: Method, path: &str) -> Call<'_> {
        Call::new(&self.http, method, &self.base, "", path)
    }

    /// Writes any path of the Vault dialect, such as `auth/kubernetes/role/x`. Gives `data` of the answer, if any.
    pub async fn write(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Option<serde_json::Value>, Error> {
        let answer = self.call(Method::PUT, path).json(body).send().await?;
        if answer.body().is_empty() { Ok(None) } else { answer.data("an answer with data").map(Some) }
    }

    /// Reads any path of the Vault dialect. Gives `data` of the answer.
    pub async fn read(&self, path: &str) -> Result<serde_json::Value, Error> {
        self.call(Method::GET, path).send().await?.data("an answer with data")
    }

    /// Fetches a public resource such as `/log/checkpoint`; the answer is at most `limit` bytes.
    pub async fn fetch_public(&self, path: &str, limit: usize) -> Result<bytes::Bytes, Error> {
        let answer = self.plain(Method::GET, path).limit(limit).send().await?;
        Ok(bytes::Bytes::copy_from_slice(answer.body()))
    }
}

impl Builder {
    /// Trusts the certificates in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Ca::File(path.into());
        self
    }

    /// Trusts these PEM certificates, and no others.
    pub fn ca_pem(mut self, pem: &[u8]) -> Self {
        self.ca = Ca::Pem(pem.to_vec());
        self
    }

    /// Speaks with this token.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Sends this in `X-Vault-Namespace`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Gives each call so long, connecting included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the settings. Connects to nothing yet.
    pub fn build(self) -> Result<Client, Error> {
        let base = base_url(&self.address)?;
        let http = http_client(&self.ca, self.timeout)?;
        Ok(Client { http, base, token: self.token.map(Arc::new), namespace: self.namespace })
    }
}

fn base_url(address: &str) -> Result<Url, Error> {
    let mut url = Url::parse(address.trim()).map_err(|_| Error::Address)?;
    let acceptable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    if !acceptable {
        return Err(Error::Address);
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Error::PlainHttp);
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn http_client(ca: &Ca, timeout: Duration) -> Result<reqwest::Client, Error> {
    install_crypto_provider();
    let mut http = reqwest::Client::builder()
        .user_agent(concat!("symbolon/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry X-Vault-Token to another host.
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout));
    let given = match ca {
        Ca::System => None,
        Ca::File(path) => Some((read_ca(path)?, path.clone())),
        Ca::Pem(pem) => Some((pem.clone(), PathBuf::from("(given in memory)"))),
    };
    if let Some((pem, path)) = given {
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(Error::CaEmpty { path });
        }
        http = http.tls_certs_only(certificates);
    }
    http.build().map_err(Error::Setup)
}

/// aws-lc-rs for the whole process, unless the service has already chosen its own provider.
pub fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race means that somebody else installed one, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let failed = |source| Error::CaFile { path: path.to_owned(), source };
    let mut pem = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(failed)?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in
            ["http://127.0.0.1:8200", "http://localhost:8200/", "http://[::1]:8200", "https://x/compat"]
        {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1:8200", "http://127.0.0.1.evil.example", "http://localhost.example"] {
            assert!(matches!(base_url(bad), Err(Error::PlainHttp)), "{bad}");
        }
        for bad in ["broker:8200", "", "ftp://x", "https://user:pass@x"] {
            assert!(matches!(base_url(bad), Err(Error::Address)), "{bad}");
        }
    }

    #[test]
    fn a_ca_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let built = Client::builder("https://x").ca_file(file.path()).build();
        assert!(matches!(built, Err(Error::CaEmpty { path }) if path == file.path()));
        let built = Client::builder("https://x").ca_file("/nowhere/ca.pem").build();
        assert!(matches!(built, Err(Error::CaFile { .. })));
    }
}
