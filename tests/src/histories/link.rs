//! The line between a broker and a fragment service, which breaks.

use std::net::SocketAddr;

use symbolon_cli::demo::world::free_port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on, unread, until it is cut.
pub struct Link {
    pub address: SocketAddr,
    passes: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    pub async fn to(service: SocketAddr) -> Self {
        let address = free_port().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let (passes, watched) = watch::channel(true);
        Self { address, passes, task: tokio::spawn(relay(listener, service, watched)) }
    }

    /// Breaks every connection off, and lets none pass until it is mended.
    pub fn cut(&self) {
        self.passes.send_replace(false);
    }

    /// Whether it was cut or not: what was broken off stays so, but new connections pass.
    pub fn mend(&self) {
        self.passes.send_replace(true);
    }

    pub fn passes(&self) -> bool {
        *self.passes.borrow()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(listener: TcpListener, service: SocketAddr, watched: watch::Receiver<bool>) {
    loop {
        let (broker, _) = listener.accept().await.unwrap();
        tokio::spawn(pass(broker, service, watched.clone()));
    }
}

async fn pass(mut broker: TcpStream, service: SocketAddr, mut watched: watch::Receiver<bool>) {
    if !*watched.borrow_and_update() {
        return;
    }
    let Ok(mut node) = TcpStream::connect(service).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut broker, &mut node) => {}
        _ = watched.changed() => {}
    }
}
