//! One HTTP/2 connection to a fragment service, and one frame each way on it.
//!
//! Not reqwest: the remote binds each connection to a generation, so the broker must know when a connection
//! is new.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::CertificateError;
use rustls_pki_types::ServerName;
use symbolon_proto::frame::RESPONSE_BYTES_MAX;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::{ClientKey, Pin, client_config};

const ROUTE: &str = "/skb1";
/// A connection that says nothing is asked whether it lives so often, and given up after the second time.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection. Clones share it.
pub(crate) type Sender = http2::SendRequest<Full<Bytes>>;

/// What went wrong between frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// No connection, or one that broke.
    Unreachable,
    /// The server's key is not the pinned one.
    Impostor,
    /// The service does not know us.
    NotEnrolled,
    /// The service has too much to do.
    Busy,
    /// An answer that is no frame.
    NoFrame,
}

/// An address that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteConfigError {
    /// Not `https://host:port`.
    #[error("the address of the fragment service must be https://host:port, without a path")]
    Url,
    /// The TLS configuration was refused, which a sound identity does not cause.
    #[error("the broker's network identity was refused by TLS")]
    Tls,
}

/// Where a service is and how to tell that it is the right one.
pub(crate) struct Wire {
    host: String,
    port: u16,
    route: Uri,
    name: ServerName<'static>,
    connector: TlsConnector,
}

/// Whether this can be the address of a fragment service.
pub fn check_url(url: &str) -> Result<(), RemoteConfigError> {
    authority(url).map(drop)
}

/// Where it is, and the name that is looked up there.
fn authority(url: &str) -> Result<(Authority, String, ServerName<'static>), RemoteConfigError> {
    let uri: Uri = url.parse().map_err(|_| RemoteConfigError::Url)?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let (Some("https"), Some(authority), true) = (uri.scheme_str(), uri.authority(), plain) else {
        return Err(RemoteConfigError::Url);
    };
    if authority.as_str().contains('@') {
        return Err(RemoteConfigError::Url);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| RemoteConfigError::Url)?;
    Ok((authority.clone(), host, name))
}

impl Wire {
    pub(crate) fn new(url: &str, client: &ClientKey, pin: Pin) -> Result<Self, RemoteConfigError> {
        let (authority, host, name) = authority(url)?;
        let route = format!("https://{authority}{ROUTE}").parse().map_err(|_| RemoteConfigError::Url)?;
        let config = client_config(client, pin).map_err(|_| RemoteConfigError::Tls)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { host, port: authority.port_u16().unwrap_or(443), route, name, connector })
    }

    /// Opens a connection. The caller sets the deadline.
    pub(crate) async fn connect(&self) -> Result<Sender, WireError> {
        let address = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(address).await.map_err(|_| WireError::Unreachable)?;
        // Failing to switch off Nagle costs time, nothing else.
        let _ = stream.set_nodelay(true);
        let stream =
            self.connector.connect(self.name.clone(), stream).await.map_err(|error| reason(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(WireError::Unreachable);
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .max_header_list_size(4096)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| WireError::Unreachable)?;
        // Ends by itself when the last sender is dropped or the peer leaves; senders then learn of it.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a frame and reads the answer. The caller sets the deadline.
    pub(crate) async fn exchange(&self, sender: &Sender, frame: Vec<u8>) -> Result<Bytes, WireError> {
        let mut request = Request::new(Full::new(Bytes::from(frame)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.route.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let mut sender = sender.clone();
        sender.ready().await.map_err(|_| WireError::Unreachable)?;
        let response = sender.send_request(request).await.map_err(|_| WireError::Unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(WireError::NotEnrolled),
            StatusCode::SERVICE_UNAVAILABLE => return Err(WireError::Busy),
            _ => return Err(WireError::NoFrame),
        }
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(WireError::NoFrame),
            Err(_) => Err(WireError::Unreachable),
        }
    }
}

fn reason(error: &io::Error) -> WireError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
            WireError::Impostor
        }
        _ => WireError::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::remote::BrokerIdentity;

    #[test]
    fn only_https_without_a_path_is_an_address() {
        let client = ClientKey::new(&BrokerIdentity::generate().unwrap()).unwrap();
        let check = |url: &str| Wire::new(url, &client, Pin::Noted(Arc::default())).is_ok();
        for url in
            ["https://fragment.example:8300", "https://127.0.0.1:8300/", "https://[::1]:8300", "https://host"]
        {
            assert!(check(url), "{url}");
        }
        for url in
            ["http://host:1", "host:1", "https://host/x", "https://user@host", "https://", "", "https://h?q"]
        {
            assert!(!check(url), "{url}");
        }
    }
}
