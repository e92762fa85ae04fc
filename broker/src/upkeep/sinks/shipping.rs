//! One sink: some lines are read and sent, and when the peer has them the cursor moves.

use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::beginning;
use super::error::Stop;
use super::pace::Pace;
use super::reading::{Next, next};
use crate::access::Session;
use crate::audit::sinks::cursor::Cursor;
use crate::audit::sinks::journal::Shipping;
use crate::audit::sinks::{self, Line, Peer, Sent, Sink};
use crate::config::SinkConfig;

/// Bytes under way after which it is found out whether they have arrived.
const UNDERWAY_BYTES_MAX: usize = 8 << 20;

/// How a step ended.
enum Step {
    /// There may be more to do.
    On,
    /// Nothing is to do.
    Idle,
    /// What is gone was left out, which says nothing of the peer.
    Skipped,
}

/// Lines that have left, and of which it is not known whether they arrived.
struct Underway {
    since: Instant,
    bytes: usize,
    cursor: Cursor,
}

/// One sink.
pub struct Ship {
    session: Weak<Session>,
    shipping: Arc<Shipping>,
    config: SinkConfig,
    pace: Pace,
}

/// The same on its way.
struct Voyage<'a> {
    ship: &'a Ship,
    sink: &'a dyn Sink,
    peer: Option<Box<dyn Peer>>,
    /// What the peer has.
    cursor: Cursor,
    underway: Option<Underway>,
    /// As it is stored, and since when.
    marked: (u64, Instant),
}

impl Ship {
    /// For one sink of the configuration.
    pub fn new(session: Weak<Session>, shipping: Arc<Shipping>, config: SinkConfig, pace: Pace) -> Self {
        Self { session, shipping, config, pace }
    }

    /// Sends until the session ends.
    pub async fn run(self) {
        let (mut failures, mut sink) = (0, None);
        loop {
            let Err(stop) = self.voyage(&mut sink, &mut failures).await;
            if matches!(stop, Stop::Sealed) {
                return;
            }
            self.tell(&stop);
            sleep(self.pace.pause(failures)).await;
            failures += 1;
        }
    }

    /// From the cursor on, until something fails.
    async fn voyage(
        &self,
        sink: &mut Option<Box<dyn Sink>>,
        failures: &mut u32,
    ) -> Result<std::convert::Infallible, Stop> {
        // one for all voyages: it may know what has left before and was not acknowledged
        let sink = match sink {
            Some(sink) => sink,
            None => sink.insert(sinks::parse(&self.config, self.pace.patience).map_err(Stop::Settings)?),
        };
        let cursor = beginning::begin(&*self.open()?, &self.config).await?;
        self.shipping.note(&self.config.name, |known| {
            (known.cursor, known.stored) = (Some(cursor.clone()), cursor.next);
        });
        let marked = (cursor.next, Instant::now());
        let mut voyage =
            Voyage { ship: self, sink: sink.as_ref(), peer: None, cursor, underway: None, marked };
        loop {
            let before = voyage.cursor.next;
            match voyage.step().await {
                Ok(Step::On) => {}
                Ok(Step::Skipped) => continue,
                Ok(Step::Idle) => {
                    if voyage.underway.is_none() {
                        self.recovered(); // it has everything, whatever failed before
                    }
                    sleep(self.pace.tick).await;
                }
                Err(stop) => {
                    // what has arrived need not be sent again
                    let _ = voyage.mark().await;
                    return Err(stop);
                }
            }
            if voyage.cursor.next > before {
                *failures = 0;
                self.recovered();
            }
        }
    }

    fn open(&self) -> Result<Arc<Session>, Stop> {
        self.session.upgrade().ok_or(Stop::Sealed)
    }

    fn tell(&self, stop: &Stop) {
        let Some(now) = self.session.upgrade().map(|open| open.now()) else { return };
        let name = &self.config.name;
        if self.shipping.failed(name, stop.fault(), &stop.to_string(), now) {
            warn!(sink = name, error = %stop, "entries of the audit log do not reach a sink; it is tried again");
        }
    }

    fn recovered(&self) {
        let name = &self.config.name;
        let mut had_failed = false;
        self.shipping.note(name, |known| {
            had_failed = known.failed.take().is_some();
            known.detail.clear();
        });
        if had_failed {
            info!(sink = name, "entries of the audit log reach this sink again");
        }
    }
}

impl Voyage<'_> {
    /// Some lines, or what is to do when there are none.
    async fn step(&mut self) -> Result<Step, Stop> {
        let Ship { session, shipping, config, .. } = self.ship;
        match next(session, shipping, config, self.at()).await? {
            Next::Lines(lines) => self.send(lines).await,
            Next::Nothing => self.rest().await,
            Next::Pruned { minimum } => {
                self.settle().await?;
                if self.cursor.next < minimum {
                    self.cursor = beginning::skip(&*self.ship.open()?, self.cursor.clone(), minimum).await?;
                    self.marked = (self.cursor.next, Instant::now());
                    self.note(|known| known.stored = self.cursor.next);
                    self.tell();
                }
                Ok(Step::Skipped)
            }
        }
    }

    /// The first entry that was not sent.
    fn at(&self) -> u64 {
        self.underway.as_ref().map_or(self.cursor.next, |underway| underway.cursor.next)
    }

    async fn send(&mut self, lines: Vec<Line>) -> Result<Step, Stop> {
        let Some(last) = lines.last() else { return Ok(Step::Idle) };
        if self.underway.is_none() {
            let since = lines.first().map(|line| line.time_ms);
            self.note(|known| known.waits_since_ms = since);
        }
        let mut peer = match self.peer.take() {
            Some(peer) => peer,
            None => self.sink.connect().await?,
        };
        let sent = peer.send(&lines).await?;
        self.peer = Some(peer);
        let bytes = lines.iter().map(|line| line.text.len()).sum();
        let rejected = sent.rejected.min(lines.len() as u64); // whatever it says
        self.sent(Sent { rejected, ..sent }, last, bytes).await
    }

    async fn sent(&mut self, sent: Sent, last: &Line, bytes: usize) -> Result<Step, Stop> {
        let before = self.underway.as_ref().map_or(&self.cursor, |underway| &underway.cursor);
        let rejected = before.rejected.saturating_add(sent.rejected);
        let (next, hash) = (last.index + 1, last.hash.clone());
        let cursor = Cursor { next, hash, rejected, ..before.clone() };
        if sent.underway {
            let (since, before) = self
                .underway
                .as_ref()
                .map_or((Instant::now(), 0), |underway| (underway.since, underway.bytes));
            self.underway = Some(Underway { since, bytes: before + bytes, cursor });
            return self.settle_if_due().await;
        }
        if sent.rejected > 0 {
            let now = self.ship.open()?.now().boot_ms;
            self.note(|known| known.rejected_at = Some(now));
        }
        self.arrived(cursor).await?;
        Ok(Step::On)
    }

    /// Nothing is to be sent.
    async fn rest(&mut self) -> Result<Step, Stop> {
        if self.underway.is_some() {
            self.settle_if_due().await?;
        } else if self.marked.1.elapsed() >= self.ship.pace.mark {
            self.mark().await?;
        }
        Ok(Step::Idle)
    }

    async fn settle_if_due(&mut self) -> Result<Step, Stop> {
        let is_due = self.underway.as_ref().is_some_and(|underway| {
            underway.bytes >= UNDERWAY_BYTES_MAX || underway.since.elapsed() >= self.ship.pace.linger
        });
        if is_due {
            self.settle().await?;
        }
        Ok(Step::On)
    }

    /// Finds out whether what is under way has arrived.
    async fn settle(&mut self) -> Result<(), Stop> {
        let Some(underway) = self.underway.take() else { return Ok(()) };
        if let Some(peer) = self.peer.take() {
            peer.settle().await?;
        }
        self.arrived(underway.cursor).await
    }

    /// The peer has everything before this.
    async fn arrived(&mut self, cursor: Cursor) -> Result<(), Stop> {
        self.cursor = cursor;
        self.tell();
        if self.marked.1.elapsed() >= self.ship.pace.mark {
            self.mark().await?;
        }
        Ok(())
    }

    fn tell(&self) {
        let cursor = self.cursor.clone();
        self.note(|known| (known.cursor, known.waits_since_ms) = (Some(cursor), None));
    }

    fn note(&self, change: impl FnOnce(&mut sinks::journal::Known)) {
        self.ship.shipping.note(&self.ship.config.name, change);
    }

    /// Stores the cursor.
    async fn mark(&mut self) -> Result<(), Stop> {
        if self.marked.0 == self.cursor.next {
            return Ok(());
        }
        let open = self.ship.open()?;
        open.bookmark(self.cursor.mark(&open.rows)?).await?;
        self.marked = (self.cursor.next, Instant::now());
        self.note(|known| known.stored = self.cursor.next);
        Ok(())
    }
}
