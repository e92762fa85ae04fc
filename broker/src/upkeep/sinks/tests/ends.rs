//! Peers of syslog whose end says nothing of the lines.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::peer::certificate;
use super::*;
use crate::audit::sinks::error::Fault;

/// How a peer behaves that reads everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// In order, when the other side has.
    Signed,
    /// Below TLS only.
    Unsigned,
    /// After some words.
    Answers,
    /// In order, before it has read anything.
    AtOnce,
}

async fn serve(ends: Ends, tls: Option<TlsAcceptor>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, mut task) = (listener.local_addr().unwrap().port(), JoinSet::new());
    task.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            match &tls {
                None => talk(stream, ends).await,
                Some(tls) => {
                    // a sink that is configured anew leaves in the middle of it
                    let Ok(stream) = tls.accept(stream).await else { continue };
                    talk(stream, ends).await;
                }
            }
        }
    });
    (port, task)
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, ends: Ends) {
    if ends == Ends::AtOnce {
        let _ = stream.shutdown().await;
    }
    let _ = stream.read_to_end(&mut Vec::new()).await;
    if ends == Ends::Answers {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    }
    if matches!(ends, Ends::Signed | Ends::Answers) {
        let _ = stream.shutdown().await;
    }
}

fn sink(transport: &str, port: u16) -> String {
    let ca = if transport == "tls" { "ca_file = \"$HOME/ca\"\n" } else { "" };
    format!(
        "[[audit.sinks]]\nname = \"one\"\nkind = \"syslog\"\ntransport = \"{transport}\"\nto = \"127.0.0.1:{port}\"\n{ca}"
    )
}

impl World {
    async fn fails_with(&self, why: &str) {
        self.wait("it fails", || self.state().failed == Some(Fault::Broken)).await;
        assert_eq!(self.state().next, Some(0), "nothing was acknowledged");
        assert!(self.state().detail.contains(why), "{:?}", self.state());
    }
}

/// Whoever is on the way can end a connection below TLS, and drop what was sent before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_of_tls_that_nobody_has_signed_is_no_acknowledgement() {
    let (ca, tls) = certificate();
    let (port, _peer) = serve(Ends::Unsigned, Some(tls.clone())).await;
    let (good, _good_peer) = serve(Ends::Signed, Some(tls)).await;
    let mut world = World::new(&sink("tls", port)).await;
    std::fs::write(world.file("ca"), ca).unwrap();
    world.grow(3).await;
    world.run();
    world.fails_with("unsigned_end = true").await;
    world.configure(&(sink("tls", port) + "unsigned_end = true\n"));
    world.arrive().await; // somebody has said so
    world.configure(&sink("tls", good));
    world.grow(3).await;
    world.arrive().await;
}

/// Something else than syslog at this port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_syslog_that_answers_has_acknowledged_nothing() {
    let (port, _peer) = serve(Ends::Answers, None).await;
    let mut world = World::new(&sink("tcp", port)).await;
    world.grow(3).await;
    world.run();
    world.fails_with("syslog has no answers").await;
}

/// Its tickets stand before its end, and do not hide it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_ended_tls_before_it_was_asked_has_acknowledged_nothing() {
    let (ca, tls) = certificate();
    let (port, _peer) = serve(Ends::AtOnce, Some(tls)).await;
    let mut world = World::new(&sink("tls", port)).await;
    std::fs::write(world.file("ca"), ca).unwrap();
    world.grow(3).await;
    world.run();
    world.fails_with("").await;
}
