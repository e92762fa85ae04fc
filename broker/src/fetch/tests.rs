//! A server on this machine, which nobody but an operator may have the broker ask.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers every request, and counts who came.
struct Inner {
    port: u16,
    ca_pem: String,
    came: Arc<AtomicUsize>,
}

const HERE: &str = "127.0.0.1";

impl Inner {
    async fn start(answer: &'static str) -> Self {
        let names = ["keys.example", "localhost", HERE].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), answer, Arc::clone(&came)));
        Self { port, ca_pem: made.cert.pem(), came }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/keys", self.port)
    }

    async fn fetch(&self, address: &Address) -> Result<Vec<u8>, FetchError> {
        fetch(address, &self.ca_pem, everything_is_here).await
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answer: &'static str, came: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        came.fetch_add(1, Ordering::SeqCst);
        let Ok(mut stream) = tls.accept(stream).await else { continue };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// A name service of somebody who means this machine, whatever the name.
fn everything_is_here(_: String) -> reach::Found {
    Box::pin(async { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]) })
}

fn both(_: String) -> reach::Found {
    let addresses = [([127, 0, 0, 1], 0), ([1, 1, 1, 1], 0)].map(SocketAddr::from);
    Box::pin(async move { Ok(addresses.to_vec()) })
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

#[tokio::test]
async fn what_a_document_names_does_not_lead_inside() {
    let inner = Inner::start(GOOD).await;
    let issuer = Address::configured("https://issuer.example").unwrap();
    let named = issuer.named(&inner.url("keys.example")).unwrap();
    assert!(matches!(inner.fetch(&named).await, Err(FetchError::Inside)), "the name leads to this machine");
    for host in [HERE, "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "169.254.169.254", "10.0.0.1"] {
        assert!(matches!(issuer.named(&inner.url(host)), Err(FetchError::Inside)), "{host}");
    }
    assert_eq!(inner.came(), 0, "nobody was connected to");
}

#[tokio::test]
async fn an_operator_may_mean_this_machine_and_its_documents_the_same_host() {
    let inner = Inner::start(GOOD).await;
    for host in ["keys.example", HERE] {
        let configured = Address::configured(&inner.url(host)).unwrap();
        assert_eq!(inner.fetch(&configured).await.unwrap(), b"{}", "{host}");
        let named = configured.named(&inner.url(host)).unwrap();
        assert_eq!(inner.fetch(&named).await.unwrap(), b"{}", "{host}");
    }
    let other = Address::configured(&inner.url("localhost")).unwrap().named(&inner.url("keys.example"));
    assert!(matches!(inner.fetch(&other.unwrap()).await, Err(FetchError::Inside)));
    let far = Address::configured("https://issuer.example").unwrap().named("https://keys.example").unwrap();
    assert!(far.named("https://127.0.0.1/").is_err(), "nor by a detour");
}

#[tokio::test]
async fn of_several_addresses_only_public_ones_are_used() {
    use reqwest::dns::Resolve;
    let resolve = async |reach| -> Vec<SocketAddr> {
        let found = Resolver::new(reach, both).resolve("keys.example".parse().unwrap()).await;
        found.unwrap().collect()
    };
    assert_eq!(resolve(Reach::Public).await, [SocketAddr::from(([1, 1, 1, 1], 0))]);
    assert_eq!(resolve(Reach::Anywhere).await.len(), 2);
}

#[tokio::test]
async fn redirects_and_long_documents_are_refused() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n";
    let inner = Inner::start(moved).await;
    let address = Address::configured(&inner.url("keys.example")).unwrap();
    assert!(matches!(inner.fetch(&address).await, Err(FetchError::Status { status: 302 })));
    assert_eq!(inner.came(), 1);
    let long = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(DOCUMENT_BYTES_MAX + 1));
    let inner = Inner::start(long.leak()).await;
    let address = Address::configured(&inner.url("keys.example")).unwrap();
    assert!(matches!(inner.fetch(&address).await, Err(FetchError::TooLong)));
}

#[test]
fn only_https_is_asked() {
    for text in ["http://issuer.example", "file:///etc/passwd", "issuer.example", "", "https://"] {
        assert!(matches!(Address::configured(text), Err(FetchError::Address)), "{text}");
    }
}
