//! A server of somebody else on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// From the path of a request to the bytes that come back.
type Answers = dyn Fn(&str) -> String + Send + Sync;

/// Answers every request over TLS, and counts who came.
pub(crate) struct Https {
    pub(crate) port: u16,
    pub(crate) ca_pem: String,
    came: Arc<AtomicUsize>,
}

impl Https {
    /// For the names `localhost` and `keys.example`, and for 127.0.0.1.
    pub(crate) async fn start(answers: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let names = ["keys.example", "localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = Arc::new(AtomicUsize::new(0));
        let tls = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(serve(listener, tls, Arc::new(answers), Arc::clone(&came)));
        Self { port, ca_pem: made.cert.pem(), came }
    }

    /// How many have connected.
    pub(crate) fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// An answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answers: Arc<Answers>, came: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        came.fetch_add(1, Ordering::SeqCst);
        let Ok(mut stream) = tls.accept(stream).await else { continue };
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&request[..read]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let _ = stream.write_all(answers(path).as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}
