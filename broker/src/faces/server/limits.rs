//! Keeping time and count of connections.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

/// Pause after the operating system refused to accept.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that was asked to end may take when nothing is under way.
const LINGER: Duration = Duration::from_secs(2);

/// Bounds of a server. The defaults are the ones that the broker runs with.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; further ones wait in the operating system's queue.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the head of a request, from its first byte; for the first request, from the handshake.
    pub head: Duration,
    /// Time that a connection may stay without a request, or without taking the answer.
    pub idle: Duration,
    /// Time for a request from head to answer.
    pub request: Duration,
    /// Time for open requests at shutdown.
    pub drain: Duration,
    /// Bytes of any request body.
    pub body_bytes_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            request: Duration::from_secs(90),
            drain: Duration::from_secs(10),
            body_bytes_max: 32 << 20,
        }
    }
}

/// What a connection is doing, told by its reads, writes and requests.
///
/// hyper's own timer cannot tell an idle connection from a head that drips in; this can, and it also ends
/// readers that take nothing.
pub(super) struct Activity {
    limits: ServerLimits,
    http1: bool,
    opened: Instant,
    running: AtomicUsize,
    /// Milliseconds after `opened` when something last moved.
    moved_ms: AtomicU64,
    /// One more than the milliseconds after `opened` when a head began; 0 if none has.
    head_ms: AtomicU64,
}

impl Activity {
    pub(super) fn new(limits: ServerLimits, http1: bool) -> Arc<Self> {
        Arc::new(Self {
            limits,
            http1,
            opened: Instant::now(),
            running: AtomicUsize::new(0),
            moved_ms: AtomicU64::new(0),
            head_ms: AtomicU64::new(1),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Notes that a request has begun; dropping the guard notes its end.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.head_ms.store(0, Ordering::Relaxed);
        Running(self.clone())
    }

    fn has_read(&self) {
        // Only HTTP/1 bytes outside a request are part of a head; HTTP/2 has frames of its own.
        let outside = self.http1 && self.running.load(Ordering::Relaxed) == 0;
        if outside && self.head_ms.load(Ordering::Relaxed) == 0 {
            self.head_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    fn has_written(&self) {
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Time until the connection is overdue, as things stand; zero if it is.
    fn left(&self) -> Duration {
        if self.running.load(Ordering::Relaxed) > 0 {
            // the request has its own deadline; look again later
            return self.limits.idle.min(self.limits.head);
        }
        let now = self.now_ms();
        let since = |ms: u64| Duration::from_millis(now.saturating_sub(ms));
        let idle = self.limits.idle.saturating_sub(since(self.moved_ms.load(Ordering::Relaxed)));
        match self.head_ms.load(Ordering::Relaxed) {
            0 => idle,
            begun => idle.min(self.limits.head.saturating_sub(since(begun - 1))),
        }
    }

    /// Resolves when the connection has been silent, or has dripped, for too long.
    pub(super) async fn expired(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            // A little more than needed, or a head that began meanwhile would be found late by one round.
            sleep(left.min(self.limits.head) + Duration::from_millis(1)).await;
        }
    }

    /// Resolves when a connection that was asked to end has had nothing under way for a moment.
    pub(super) async fn lingers(&self) {
        loop {
            sleep(LINGER).await;
            let quiet_ms = self.now_ms().saturating_sub(self.moved_ms.load(Ordering::Relaxed));
            if self.running.load(Ordering::Relaxed) == 0 && u128::from(quiet_ms) >= LINGER.as_millis() {
                return;
            }
        }
    }
}

/// A request under way.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.has_written();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells its [`Activity`] what moves.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn wrote(&self, count: usize) -> Poll<io::Result<usize>> {
        if count > 0 {
            self.activity.has_written();
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buffer))?;
        self.wrote(count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, buffers))?;
        self.wrote(count)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connections per address, so that one peer cannot take all. As many entries as connections at most.
#[derive(Clone)]
pub(super) struct PeerSlots {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    each_max: usize,
}

impl PeerSlots {
    pub(super) fn new(each_max: usize) -> Self {
        Self { taken: Arc::default(), each_max }
    }

    /// Takes a slot for this address, or nothing if it has its share.
    pub(super) fn take(&self, address: IpAddr) -> Option<PeerSlot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_insert(0);
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(PeerSlot { slots: self.clone(), address })
    }
}

/// One connection's slot.
pub(super) struct PeerSlot {
    slots: PeerSlots,
    address: IpAddr,
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
