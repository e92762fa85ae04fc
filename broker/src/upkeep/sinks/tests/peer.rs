//! A receiver of the test's own that speaks HTTP, and can be any kind of bad.

use std::sync::Mutex;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: String,
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub(super) enum Does {
    /// Keeps it, and answers with this body.
    Takes(&'static str),
    /// Answers with this status, and keeps nothing.
    Refuses(u16),
    /// Reads it, and says nothing.
    Hangs,
}

/// What is told to the server, and what it has kept.
pub(super) struct Told {
    pub(super) does: Mutex<Does>,
    pub(super) came: Mutex<Vec<Came>>,
    pub(super) refused: std::sync::atomic::AtomicUsize,
}

/// The receiver.
pub(super) struct Peer {
    pub(super) port: u16,
    pub(super) told: Arc<Told>,
    task: AbortHandle,
    tls: Option<TlsAcceptor>,
}

/// A certificate for this machine, and what serves with it.
pub(super) fn certificate() -> (String, TlsAcceptor) {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

impl Peer {
    pub(super) async fn start(does: Does, tls: Option<TlsAcceptor>) -> Self {
        let told = Arc::new(Told { does: Mutex::new(does), came: Mutex::default(), refused: 0.into() });
        let (port, task) = serve(0, &told, tls.clone()).await;
        Self { port, told, task, tls }
    }

    pub(super) fn does(&self, does: Does) {
        *self.told.does.lock().unwrap() = does;
    }

    /// Ends with everything that is open.
    pub(super) fn kill(&self) {
        self.task.abort();
    }

    /// Begins again at the same port, with another certificate if there is one.
    pub(super) async fn revive(&mut self, tls: Option<TlsAcceptor>) {
        self.tls = tls.or(self.tls.take());
        (_, self.task) = serve(self.port, &self.told, self.tls.clone()).await;
    }

    pub(super) fn came(&self) -> Vec<Came> {
        self.told.came.lock().unwrap().clone()
    }
}

async fn serve(port: u16, told: &Arc<Told>, tls: Option<TlsAcceptor>) -> (u16, AbortHandle) {
    let listener = bind(port).await;
    let (port, told) = (listener.local_addr().unwrap().port(), Arc::clone(told));
    let task = tokio::spawn(async move {
        let mut all = JoinSet::new(); // which end with it
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (told, tls) = (Arc::clone(&told), tls.clone());
            all.spawn(async move {
                match tls {
                    None => talk(stream, &told).await,
                    Some(tls) => {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        talk(stream, &told).await;
                    }
                }
            });
        }
    });
    (port, task.abort_handle())
}

/// What was aborted needs a moment to let go of its port.
async fn bind(port: u16) -> TcpListener {
    for _ in 0..1000 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("port {port} stays taken");
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, told: &Told) {
    let mut bytes = Vec::new();
    while let Some(came) = request(&mut stream, &mut bytes).await {
        let does = told.does.lock().unwrap().clone();
        let (status, body) = match does {
            Does::Takes(body) => {
                told.came.lock().unwrap().push(came);
                (200, body)
            }
            Does::Refuses(status) => {
                told.refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                (status, "the broker's log must not repeat this: hvs.secret")
            }
            Does::Hangs => std::future::pending().await,
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Option<Came> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let length = length.unwrap_or(0);
            if body.len() >= length {
                bytes.drain(..head.len() + 4 + length);
                let path = head.split(' ').nth(1).unwrap().to_owned();
                return Some(Came { path, head: head.to_owned(), body: body[..length].to_owned() });
            }
        }
        let mut more = [0; 65536];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&more[..length]),
        }
    }
}
