//! What a connection is doing, and when it is overdue.
//!
//! hyper's own timers cannot tell an idle connection from a head that drips in, nor one that takes its
//! answers from one that only keeps them; this can.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use super::limits::ServerLimits;

/// How long a connection that was asked to end may stay when nothing is under way.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection is doing, told by its reads, requests and answers.
pub(super) struct Activity {
    limits: ServerLimits,
    http1: bool,
    opened: Instant,
    running: AtomicUsize,
    /// Milliseconds after `opened` when a request or answer last ended.
    moved_ms: AtomicU64,
    /// One more than the milliseconds after `opened` when a head began; 0 if none has.
    head_ms: AtomicU64,
    /// Answers that are not sent yet.
    sending: Mutex<Vec<Weak<Sending>>>,
}

/// How a connection is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing is asked: it may end in order.
    Idle,
    /// It drips, or keeps answers without taking them.
    Stuck,
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
            sending: Mutex::default(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn since(&self, ms: u64) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(ms))
    }

    /// Notes that a request has begun; dropping the guard notes its end.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.head_ms.store(0, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Notes that an answer is to be sent; dropping the guard notes that it is.
    pub(super) fn send(self: &Arc<Self>) -> Arc<Sending> {
        let sending = Arc::new(Sending { of: Arc::clone(self), moved_ms: AtomicU64::new(self.now_ms()) });
        self.sending().push(Arc::downgrade(&sending));
        sending
    }

    fn sending(&self) -> MutexGuard<'_, Vec<Weak<Sending>>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) {
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn has_read(&self) {
        // Only HTTP/1 bytes outside a request are part of a head; HTTP/2 has frames of its own.
        let outside = self.http1 && self.running.load(Ordering::Relaxed) == 0;
        if outside && self.head_ms.load(Ordering::Relaxed) == 0 {
            self.head_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    /// Time until the connection is overdue, as things stand; zero if it is.
    fn left(&self) -> (Duration, Overdue) {
        let answers = self.oldest_answer().map(|since| self.limits.answer.saturating_sub(since));
        let begun = self.head_ms.load(Ordering::Relaxed).checked_sub(1);
        let head = begun.map(|begun| self.limits.head.saturating_sub(self.since(begun)));
        if let Some(stuck) = answers.into_iter().chain(head).min() {
            return (stuck, Overdue::Stuck);
        }
        let idle = match self.running.load(Ordering::Relaxed) {
            0 => self.limits.idle.saturating_sub(self.since(self.moved_ms.load(Ordering::Relaxed))),
            _ => self.limits.idle.min(self.limits.head), // it has its own deadline; look again later
        };
        (idle, Overdue::Idle)
    }

    /// How long ago the peer took a part of the answer that has waited longest.
    fn oldest_answer(&self) -> Option<Duration> {
        let mut sending = self.sending();
        sending.retain(|one| one.strong_count() > 0);
        let moved = sending.iter().filter_map(|one| Some(one.upgrade()?.moved_ms.load(Ordering::Relaxed)));
        moved.min().map(|ms| self.since(ms))
    }

    /// Resolves when the connection has been silent, has dripped, or has kept answers for too long.
    pub(super) async fn overdue(&self) -> Overdue {
        loop {
            let (left, how) = self.left();
            if left.is_zero() {
                return how;
            }
            // A little more than needed, or what began meanwhile would be found late by one round.
            let look = self.limits.head.min(self.limits.answer);
            sleep(left.min(look) + Duration::from_millis(1)).await;
        }
    }

    /// Resolves when a connection that was asked to end has nothing under way any more.
    pub(super) async fn rests(&self) {
        loop {
            sleep(LINGER).await;
            if self.running.load(Ordering::Relaxed) == 0 && self.oldest_answer().is_none() {
                return;
            }
        }
    }
}

/// A request under way.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.has_ended();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that is not sent yet.
pub(super) struct Sending {
    of: Arc<Activity>,
    moved_ms: AtomicU64,
}

impl Sending {
    /// The peer has taken a part.
    pub(super) fn moves(&self) {
        self.moved_ms.store(self.of.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.of.has_ended();
    }
}

/// A stream that tells its [`Activity`] what comes in.
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
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
