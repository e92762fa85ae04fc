//! What kinds have in common that speak HTTP: an address, an authority, a credential from a file, one request
//! at a time, and an answer that is read to a bound.

use std::path::{Path, PathBuf};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::files::{authority, credential, pem};
use super::threads::on_thread;
use super::{Patience, SinkError};
use crate::config::Raw;
use crate::fetch;

/// Longest answer that is read: those that are looked at are short.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where a sink is reached, as its settings say it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    /// `https://`, or `http://` on this machine.
    url: String,
    /// Authority of its certificate, PEM; the system's if it is not given.
    ca_file: Option<PathBuf>,
    /// Certificate of this broker, PEM, if the server asks for one.
    cert_file: Option<PathBuf>,
    /// Its key.
    key_file: Option<PathBuf>,
}

/// What of a sink's settings is its address.
const ADDRESS: [&str; 4] = ["url", "ca_file", "cert_file", "key_file"];

/// An address that was looked at.
#[derive(Clone)]
pub(super) struct Endpoint {
    url: Url,
    address: Address,
    patience: Patience,
}

impl Endpoint {
    /// Of a sink's settings, and what is left of them.
    pub(super) fn read<T: for<'a> Deserialize<'a>>(
        raw: &Raw,
        patience: Patience,
    ) -> Result<(Self, T), String> {
        let (address, rest) = raw.split(&ADDRESS)?;
        Ok((Self::new(address.parse()?, patience)?, rest.parse()?))
    }

    fn new(address: Address, patience: Patience) -> Result<Self, String> {
        let url = Url::parse(&address.url).map_err(|_| "url is not an address".to_owned())?;
        let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && is_here) {
            return Err("url must begin with https://, or with http:// for a peer on this machine".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a credential belongs into a file and not into url".to_owned());
        }
        if address.cert_file.is_some() != address.key_file.is_some() {
            return Err("cert_file and key_file belong together".to_owned());
        }
        Ok(Self { url, address, patience })
    }

    /// The same host, with this path in place of an empty one.
    pub(super) fn or_path(mut self, path: &str) -> Self {
        if matches!(self.url.path(), "" | "/") {
            self.url.set_path(path);
        }
        self
    }

    /// A client with what the files hold now. `scheme` stands before the credential. A file may hang.
    pub(super) async fn client(
        &self,
        scheme: &'static str,
        file: Option<&PathBuf>,
    ) -> Result<Caller, SinkError> {
        let (own, file) = (self.clone(), file.cloned());
        let bound = ("let its files be read", self.patience.connect);
        on_thread(Path::new(self.url.as_str()), bound, move || own.read_client(scheme, file.as_ref())).await
    }

    fn read_client(&self, scheme: &str, file: Option<&PathBuf>) -> Result<Caller, SinkError> {
        let Address { ca_file, cert_file, key_file, .. } = &self.address;
        let ca = authority(ca_file.as_ref())?;
        let content = |what| {
            let path = ca_file.as_ref().or(cert_file.as_ref()).cloned().unwrap_or_default();
            SinkError::Content { path, what }
        };
        let mut builder = fetch::builder(&ca)
            .map_err(|_| content("certificate"))?
            .connect_timeout(self.patience.connect)
            .timeout(self.patience.answer)
            .pool_max_idle_per_host(1);
        if let (Some(cert), Some(key)) = (cert_file, key_file) {
            let both = symbolon_proto::Zeroizing::new(format!("{}\n{}", *pem(cert)?, *pem(key)?));
            let identity = reqwest::Identity::from_pem(both.as_bytes());
            let unfit =
                |_| SinkError::Content { path: cert.clone(), what: "certificate with its key in key_file" };
            builder = builder.identity(identity.map_err(unfit)?);
        }
        let mut headers = HeaderMap::new();
        if let Some(file) = file {
            let text = symbolon_proto::Zeroizing::new(format!("{scheme}{}", *credential(file)?));
            let value = HeaderValue::from_str(&text);
            let unfit =
                |_| SinkError::Content { path: file.clone(), what: "credential that a header can hold" };
            let mut value = value.map_err(unfit)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = builder.build().map_err(|_| content("certificate that can be used"))?;
        Ok(Caller { client, url: self.url.clone(), headers, patience: self.patience })
    }
}

/// What sends requests to one place.
pub(super) struct Caller {
    client: Client,
    url: Url,
    headers: HeaderMap,
    patience: Patience,
}

/// Status, and the beginning of the body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, if it is some.
    pub(super) fn json<T: for<'a> Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Why these lines were not taken.
    pub(super) fn refused(&self, expected: &'static str, code: Option<i64>) -> SinkError {
        SinkError::Refused { status: self.status, expected, code }
    }
}

impl Caller {
    /// With another header in each request.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Posts to the address itself.
    pub(super) async fn post(&self, kind: &'static str, body: Vec<u8>) -> Result<Answer, SinkError> {
        self.post_to(self.url.clone(), kind, body).await
    }

    /// Posts to another path of the same server.
    pub(super) async fn post_at(
        &self,
        path: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Result<Answer, SinkError> {
        let mut url = self.url.clone();
        url.set_path(path);
        self.post_to(url, kind, body).await
    }

    /// The path of the address.
    pub(super) fn path(&self) -> &str {
        self.url.path()
    }

    /// How long an answer may take.
    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    async fn post_to(&self, url: Url, kind: &'static str, body: Vec<u8>) -> Result<Answer, SinkError> {
        let failed = |error| SinkError::of_request(error, self.patience.answer);
        let request = self.client.post(url).headers(self.headers.clone()).header(CONTENT_TYPE, kind);
        let mut answer = request.body(body).send().await.map_err(failed)?;
        let (status, mut body) = (answer.status().as_u16(), Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            let room = ANSWER_BYTES_MAX - body.len();
            body.extend(chunk.into_iter().take(room));
            if body.len() == ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(Answer { status, body })
    }
}
