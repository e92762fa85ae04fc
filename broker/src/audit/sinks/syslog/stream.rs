//! TCP and TLS.
//!
//! Syslog has no acknowledgement: that a write has succeeded says that this machine's kernel has the bytes.
//! So lines count as arrived when the connection has ended in order: this side says that nothing follows, and
//! the peer, which comes to know it only after it has read everything before, ends the connection too, within
//! TLS where there is TLS. If it does not, says anything, or the connection breaks, the lines are sent again
//! on the next one.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::message::Origin;
use super::{Settings, Transport};
use crate::audit::sinks::files::{authority, pem};
use crate::audit::sinks::threads::on_thread;
use crate::audit::sinks::{Line, Patience, Peer, Sending, Sent, Settling, SinkError};

/// How long a reset may at least be behind the end that it makes invalid: once sent again on a near network.
const AFTERMATH: Duration = Duration::from_millis(300);
/// The same in times of what the connection took to be made, which is at least one way there and back: lines
/// that are sent again once, and the reset that they cause.
const AFTERMATH_ROUNDS: u32 = 4;

/// What an operator is told whose server does not end TLS.
const UNSIGNED: &str = "it ended without the end of TLS (close_notify), which anybody on the way can do; a server that never sends it needs unsigned_end = true";

/// A connection, with TLS or without.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

struct StreamPeer {
    stream: Stream,
    /// What TCP took to connect.
    round: Duration,
    takes_unsigned_end: bool,
    origin: Origin,
    patience: Patience,
}

pub(super) async fn connect(settings: Arc<Settings>, patience: Patience) -> Result<Box<dyn Peer>, SinkError> {
    let after = patience.connect;
    let tls = match settings.transport {
        Transport::Tls => {
            let (bound, own) = (("let its files be read", after), Arc::clone(&settings));
            Some(on_thread(Path::new(&settings.to), bound, move || tls(&own)).await?)
        }
        _ => None,
    };
    let opened = timeout(after, open(&settings, tls)).await;
    let stream = opened.map_err(|_| SinkError::Silent { what: "accept the connection", after })?;
    let (stream, round) = stream.map_err(|error| SinkError::of_connect(&error))?;
    let (origin, takes_unsigned_end) = (settings.origin(), settings.unsigned_end);
    Ok(Box::new(StreamPeer { stream, round, takes_unsigned_end, origin, patience }))
}

/// The connection, and what TCP took for it.
async fn open(
    settings: &Settings,
    tls: Option<(TlsConnector, ServerName<'static>)>,
) -> io::Result<(Stream, Duration)> {
    let begun = Instant::now();
    let stream = TcpStream::connect(&settings.to).await?;
    let round = begun.elapsed();
    stream.set_nodelay(true)?;
    let stream = match tls {
        None => Stream::Plain(stream),
        Some((connector, name)) => Stream::Tls(Box::new(connector.connect(name, stream).await?)),
    };
    Ok((stream, round))
}

/// With what the files hold now.
fn tls(settings: &Settings) -> Result<(TlsConnector, ServerName<'static>), SinkError> {
    let name = settings.server_name.as_deref().unwrap_or_else(|| settings.host());
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|_| SinkError::Certificate("no certificate has such a name".to_owned()))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SinkError::Certificate(error.to_string()))?
        .with_root_certificates(roots(settings)?);
    let config = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            let unfit = |path: &Path, what| SinkError::Content { path: path.to_owned(), what };
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem(cert)?.as_bytes()).collect();
            let chain = chain.map_err(|_| unfit(cert, "certificate"))?;
            let own = PrivateKeyDer::from_pem_slice(pem(key)?.as_bytes()).map_err(|_| unfit(key, "key"))?;
            builder.with_client_auth_cert(chain, own).map_err(|_| unfit(key, "key of the certificate"))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn roots(settings: &Settings) -> Result<RootCertStore, SinkError> {
    let mut roots = RootCertStore::empty();
    let text = authority(settings.ca_file.as_ref())?;
    let what = "certificate of an authority";
    let path = settings.ca_file.clone().unwrap_or_default();
    let unfit = || SinkError::Content { path: path.clone(), what };
    for block in CertificateDer::pem_slice_iter(text.as_bytes()) {
        roots.add(block.map_err(|_| unfit())?).map_err(|_| unfit())?;
    }
    if roots.is_empty() { Err(unfit()) } else { Ok(roots) }
}

impl Peer for StreamPeer {
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        let frames: String = lines.iter().map(|line| self.origin.frame(line)).collect();
        Box::pin(async move {
            let after = self.patience.answer;
            let written = async {
                self.stream.write_all(frames.as_bytes()).await?;
                self.stream.flush().await
            };
            let written = timeout(after, written).await;
            let written = written.map_err(|_| SinkError::Silent { what: "read what it is sent", after })?;
            written.map_err(|error: io::Error| SinkError::Broken(error.to_string()))?;
            Ok(Sent { underway: true, ..Sent::default() })
        })
    }

    fn settle(mut self: Box<Self>) -> Settling {
        Box::pin(async move {
            let after = self.patience.answer;
            let ended = timeout(after, self.stream.end(self.takes_unsigned_end)).await;
            let ended = ended.map_err(|_| SinkError::Silent {
                what: "end a connection whose other side has ended",
                after,
            })?;
            ended.map_err(|error| SinkError::Broken(error.to_string()))?;
            // A peer that ended by itself, with lines on their way, resets the connection when they come.
            let aftermath = AFTERMATH.saturating_add(self.round.saturating_mul(AFTERMATH_ROUNDS));
            sleep(aftermath.min(after)).await;
            let reset = self.stream.tcp().take_error().and_then(|error| error.map_or(Ok(()), Err));
            reset.map_err(|error| SinkError::Broken(error.to_string()))
        })
    }
}

impl Stream {
    /// Says that nothing follows, and waits for the peer to say the same, within TLS if there is TLS: an end
    /// below it may be anybody's who is on the way, with lines dropped before.
    async fn end(&mut self, takes_unsigned_end: bool) -> io::Result<()> {
        let mut word = [0; 1];
        // Reads what TLS says by itself, too, such as tickets, so that an end behind them is seen.
        if self.read(&mut word).now_or_never().is_some() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.shutdown().await?;
        match self.read(&mut word).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("it answers, and syslog has no answers")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => match takes_unsigned_end {
                true => Ok(()),
                false => Err(io::Error::other(UNSIGNED)),
            },
            Err(error) => Err(error),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
