//! Documents of other people's servers: the one HTTP client of the broker that goes where somebody says.
//!
//! What an operator configures may be anywhere, and the broker goes there. What a document names, or a
//! redirect, or an answer of the name service to such a name, is somebody else's wish: it must be a public
//! address, or be on the host of the document that names it. Otherwise whoever writes a document could have
//! the broker ask its own machine, its neighbours, or the metadata service of its cloud. Addresses are
//! checked where the connection is made, after the name was looked up, so a name that answers differently
//! each time gains nothing. Redirects are not followed, proxies of the environment not used; size and time
//! are bounded.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use self::reach::{Inside, Lookup, Reach, Resolver, system_lookup};

mod reach;
#[cfg(test)]
mod tests;

/// Longest fetch.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// Longest document.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an address that is asked at all.
    #[error("the address is malformed or does not begin with https://")]
    Address,
    /// Somebody else named an address inside.
    #[error(
        "a document names another host whose address is not public, and such hosts are not asked; if they are meant, an operator must configure that address itself (jwks_url)"
    )]
    Inside,
    /// No connection, a bad certificate, or no answer in time.
    #[error("the server cannot be reached: {why}")]
    Unreachable {
        /// What is in the way.
        why: Obstacle,
        /// The same as the libraries say it.
        source: reqwest::Error,
    },
    /// The authority's certificate cannot be read.
    #[error(
        "the configured certificate authority is not readable PEM: expected one or more blocks CERTIFICATE"
    )]
    Authority,
    /// Anything but 200.
    #[error("the server answered with status {status}, where 200 was expected")]
    Status {
        /// The status.
        status: u16,
    },
    /// Too long a document.
    #[error("the document is longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
}

/// Why a server cannot be reached, and who can change that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It was reached, and showed something else than was expected.
    #[error(
        "its certificate is not accepted; whoever configures this must give the authority that signed it, and the name that it is made for"
    )]
    Certificate,
    /// It took too long.
    #[error("it did not answer within {} seconds; check it and the network", FETCH_TIME.as_secs())]
    Time,
    /// No connection.
    #[error("there is no connection to it; check its name, its port and the network")]
    Connection,
}

/// An `https://` address, and how far whoever named it lets the broker go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    url: Url,
    reach: Reach,
}

impl Address {
    /// One that an operator configured.
    pub fn configured(text: &str) -> Result<Self, FetchError> {
        Ok(Self { url: parse(text)?, reach: Reach::Anywhere })
    }

    /// One that the document at this address names.
    pub fn named(&self, text: &str) -> Result<Self, FetchError> {
        let url = parse(text)?;
        let reach = if url.host_str() == self.url.host_str() { self.reach } else { Reach::Public };
        if reach.allows_host(&url) { Ok(Self { url, reach }) } else { Err(FetchError::Inside) }
    }
}

fn parse(text: &str) -> Result<Url, FetchError> {
    Url::parse(text).ok().filter(|url| url.scheme() == "https").ok_or(FetchError::Address)
}

/// Fetches a document. `ca_pem` is its server's authority; empty takes the system's.
pub async fn document(address: &Address, ca_pem: &str) -> Result<Vec<u8>, FetchError> {
    fetch(address, ca_pem, system_lookup).await
}

async fn fetch(address: &Address, ca_pem: &str, lookup: Lookup) -> Result<Vec<u8>, FetchError> {
    let client = client(address.reach, ca_pem, lookup)?;
    let mut answer = client.get(address.url.clone()).send().await?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(FetchError::Status { status: answer.status().as_u16() });
    }
    let mut document = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

fn client(reach: Reach, ca_pem: &str, lookup: Lookup) -> Result<reqwest::Client, FetchError> {
    let resolver = Arc::new(Resolver::new(reach, lookup));
    Ok(builder(ca_pem)?.https_only(true).dns_resolver(resolver).timeout(FETCH_TIME).build()?)
}

/// What every HTTP client of the broker has in common: it follows nobody elsewhere, and trusts the given
/// authority or, if that is empty, the system's.
pub fn builder(ca_pem: &str) -> Result<reqwest::ClientBuilder, FetchError> {
    if CryptoProvider::get_default().is_none() {
        // Without one the HTTP client panics. Somebody else may have been faster, with the same one.
        let _ = aws_lc_rs::default_provider().install_default();
    }
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    if ca_pem.is_empty() { Ok(client) } else { Ok(client.tls_certs_only(authority(ca_pem)?)) }
}

/// The authority that a configuration gives as PEM, if it gives one: certificates that can be trusted.
pub fn check_authority(ca_pem: &str) -> Result<(), FetchError> {
    if ca_pem.is_empty() { Ok(()) } else { authority(ca_pem).map(drop) }
}

/// The HTTP client would take text without certificates for an authority of nobody.
fn authority(ca_pem: &str) -> Result<Vec<reqwest::Certificate>, FetchError> {
    let mut trusted = RootCertStore::empty();
    let mut certificates = Vec::new();
    for block in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = block.map_err(|_| FetchError::Authority)?;
        certificates.push(reqwest::Certificate::from_der(&certificate).map_err(|_| FetchError::Authority)?);
        trusted.add(certificate).map_err(|_| FetchError::Authority)?;
    }
    if certificates.is_empty() { Err(FetchError::Authority) } else { Ok(certificates) }
}

impl From<reqwest::Error> for FetchError {
    fn from(source: reqwest::Error) -> Self {
        if has_cause(&source, |cause| cause.is::<Inside>()) {
            return Self::Inside;
        }
        let why = if has_cause(&source, is_certificate) {
            Obstacle::Certificate
        } else if source.is_timeout() {
            Obstacle::Time
        } else {
            Obstacle::Connection
        };
        Self::Unreachable { why, source }
    }
}

/// Whether anything that led to an error is of this kind.
fn has_cause(error: &(dyn Error + 'static), is: impl Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if is(inner) {
            return true;
        }
        cause = cause_of(inner);
    }
    false
}

/// What an I/O error wraps is not its source.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
}
