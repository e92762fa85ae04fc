//! Where the broker is, and a connection that asks it: TLS and the least of HTTP/1.1 that keeps a connection
//! alive.

use std::sync::Arc;

use reqwest::Url;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::LoadError;

/// Longest answer, head and body.
const ANSWER_BYTES_MAX: usize = 128 << 10;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;

/// A broker's address and the certificates that it may show.
#[derive(Clone)]
pub struct Endpoint {
    address: String,
    name: ServerName<'static>,
    tls: TlsConnector,
}

/// Why there is nobody to connect to.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not `https://host:port`.
    #[error("the load needs an address like https://broker.internal:8200")]
    Address,
    /// The host is no name and no address.
    #[error("the host of the address is not a name that a certificate can have")]
    Name(#[from] InvalidDnsNameError),
    /// No certificate in what was given as CA.
    #[error("the CA file holds no certificate")]
    Ca,
}

/// An answer as far as it matters here.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Endpoint {
    /// A broker at `https://host:port` whose certificate comes from this CA.
    pub fn new(url: &str, ca_pem: &[u8]) -> Result<Self, EndpointError> {
        symbolon::install_crypto_provider();
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "https").ok_or(EndpointError::Address)?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(EndpointError::Address);
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca_pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(EndpointError::Ca);
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self {
            address: format!("{host}:{port}"),
            name: ServerName::try_from(name)?,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// `host:port`, as in the header of a request.
    pub(super) fn host(&self) -> &str {
        &self.address
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Connection, LoadError> {
        let socket = TcpStream::connect(&self.address).await?;
        socket.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), socket).await?;
        Ok(Connection { stream, buffer: vec![0; READ_BYTES] })
    }

    #[cfg(test)]
    pub(super) fn for_tests(address: &str) -> Self {
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("the provider knows TLS 1.3")
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        Self { address: address.to_owned(), name, tls: TlsConnector::from(Arc::new(config)) }
    }
}

/// A connection that is kept alive.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request and waits for the whole answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, LoadError> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.grow()?;
            }
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                count => filled += count,
            }
            if let Some((status, body)) = whole(&self.buffer[..filled]) {
                return Ok(Answer { status, body: &self.buffer[body] });
            }
        }
    }

    fn grow(&mut self) -> Result<(), LoadError> {
        match self.buffer.len() {
            ANSWER_BYTES_MAX.. => Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge).into()),
            bytes => {
                self.buffer.resize(bytes * 2, 0);
                Ok(())
            }
        }
    }
}

/// Status and place of the body, once all of it is there. Answers without a length count as empty.
fn whole(bytes: &[u8]) -> Option<(u16, std::ops::Range<usize>)> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.filter_map(|(_, value)| value.trim().parse::<usize>().ok()).next().unwrap_or(0);
    let body = head_end + 4..head_end + 4 + length;
    (bytes.len() >= body.end).then_some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_length_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..answer.len() {
            assert!(whole(&answer[..cut]).is_none(), "{cut}");
        }
        let (status, body) = whole(answer).unwrap_or_default();
        assert_eq!((status, &answer[body]), (200, &b"abc"[..]));
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n"), Some((204, 27..27)));
    }

    #[test]
    fn an_endpoint_needs_https_and_a_ca() {
        assert!(matches!(Endpoint::new("http://127.0.0.1:8200", b""), Err(EndpointError::Address)));
        assert!(matches!(Endpoint::new("https://127.0.0.1:8200", b"nothing"), Err(EndpointError::Ca)));
    }
}
