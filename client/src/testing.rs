//! A broker that answers what a test wants, on plain HTTP of this machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{advance, pause, resume, sleep};

use crate::client::{Builder, Client};

/// A request as far as tests look: method and path, token, body.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) token: String,
    pub(crate) body: String,
}

/// Status, further header lines, body. A status of 0 is no answer: the caller waits.
pub(crate) type Told = (u16, &'static str, String);

/// Lets time pass for the client. Only between requests: the runtime would skip over a paused time while it
/// waits for a socket.
pub(crate) async fn later(secs: u64) {
    pause();
    advance(Duration::from_secs(secs)).await;
    resume();
}

/// A server, and what it was asked.
pub(crate) struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers each request with what `answer` makes of it and of the number of requests before it.
    pub(crate) async fn start(answer: impl Fn(usize, &Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&noted), Arc::clone(&answer)));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn client(&self) -> Builder {
        Client::builder(&self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn has_been_asked(&self, times: usize) {
        while self.asked().len() < times {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many requests had this in their first line.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line.contains(part)).count()
    }
}

/// One request a connection: the client opens another.
async fn converse(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<impl Fn(usize, &Asked) -> Told>,
) {
    let Some(request) = receive(&mut stream).await else { return };
    let before = {
        let mut asked = asked.lock().expect("no test panics with it");
        asked.push(request.clone());
        asked.len() - 1
    };
    let (status, headers, body) = answer(before, &request);
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await; // the client may have gone
}

async fn receive(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.clone().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let length = header("content-length").map_or(0, |text| text.parse().unwrap_or(0));
            if body.len() >= length {
                let line = head.lines().next()?.to_owned();
                return Some(Asked {
                    line,
                    token: header("x-vault-token").unwrap_or_default(),
                    body: body.to_owned(),
                });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
