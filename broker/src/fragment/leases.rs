//! Until when cached keys may be used: the remote's signed word, counted on this machine's boot clock.
//!
//! The end of a lease is the moment the question was sent plus the lease's ttl, on CLOCK_BOOTTIME: it counts suspension
//! and no operator can set it back. The wall clock can only shorten a lease, never lengthen it: if it moves back, passes the
//! end of the lease (a paused or restored machine, whose boot clock stood still), or disagrees with the time in a signed
//! lease by more than five minutes, cached keys are flushed (`docs/skb1.md` 5).
//! Only a [`VerifiedLease`] gets in here, so an unsigned error can neither flush nor extend (6.6).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_core::clock::Now;
use symbolon_proto::lease::{Standing, VerifiedLease};
use tokio::sync::watch;

/// Largest difference between our wall clock and the time in a lease, in seconds.
pub const CLOCK_DIFFERENCE_SECS_MAX: u64 = 300;

/// How far the wall clock may fall behind the boot clock before it counts as set back, in milliseconds. NTP slews both
/// clocks alike; what remains is a step.
const STEP_BACK_MS_MAX: i128 = 2_000;

/// What the lease allows, in one word for status pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// No lease yet.
    Unknown,
    /// Cached keys may be used.
    Active,
    /// The lease ended and was not renewed.
    Expired,
    /// The remote has suspended the key.
    Suspended,
    /// The remote has destroyed the key.
    Destroyed,
    /// A newer generation of this broker has registered.
    Fenced,
    /// Our clock moved back, or disagrees with the remote's.
    Clock,
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Destroyed => "destroyed",
            Self::Fenced => "fenced",
            Self::Clock => "clock",
        })
    }
}

/// The lease in force. Cheap to clone; all clones see the same.
#[derive(Clone, Debug)]
pub struct Leases {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    flush: watch::Sender<u64>,
}

#[derive(Debug)]
struct Held {
    /// The newest lease; older ones that overtook each other on the way are ignored.
    newest: Option<VerifiedLease>,
    state: LeaseState,
    /// 0 unless the state is active.
    until_boot_ms: u64,
    /// The same moment on the wall clock. It comes first if the machine was stopped without its boot clock noticing.
    until_unix_ms: u64,
    /// Wall clock minus boot clock when the lease was accepted.
    offset_ms: i128,
}

impl Default for Leases {
    fn default() -> Self {
        let held = Held {
            newest: None,
            state: LeaseState::Unknown,
            until_boot_ms: 0,
            until_unix_ms: 0,
            offset_ms: 0,
        };
        Self { shared: Arc::new(Shared { held: Mutex::new(held), flush: watch::Sender::new(0) }) }
    }
}

impl Leases {
    /// Takes over a lease that came with the answer to a question sent at `asked`. Older ones are ignored.
    pub fn accept(&self, lease: &VerifiedLease, asked: Now, received: Now) {
        let mut held = self.held();
        if held.newest.is_some_and(|newest| !lease.supersedes(&newest)) {
            return;
        }
        held.newest = Some(*lease);
        let state = match lease.standing() {
            Standing::Active if agrees(lease.terms().issued_secs, received) => LeaseState::Active,
            Standing::Active => LeaseState::Clock,
            Standing::Suspended => LeaseState::Suspended,
            Standing::Destroyed => LeaseState::Destroyed,
            Standing::Fenced => LeaseState::Fenced,
        };
        if state == LeaseState::Active {
            let ttl_ms = u64::from(lease.terms().ttl_secs) * 1000;
            held.state = state;
            held.until_boot_ms = asked.boot_ms.saturating_add(ttl_ms);
            held.until_unix_ms = asked.unix_ms.saturating_add(ttl_ms);
            held.offset_ms = offset_ms(received);
        } else {
            self.stop(&mut held, state);
        }
    }

    /// Until when cached keys may be used, in milliseconds on the boot clock; 0 if not at all. Notices what time has
    /// done meanwhile, and signals a flush if a lease has just come to its end.
    #[must_use]
    pub fn usable_until(&self, now: Now) -> u64 {
        let mut held = self.held();
        self.notice(&mut held, now);
        held.until_boot_ms
    }

    /// The state of the lease.
    #[must_use]
    pub fn state(&self, now: Now) -> LeaseState {
        let mut held = self.held();
        self.notice(&mut held, now);
        held.state
    }

    /// Changes each time cached keys must be wiped: suspension, destruction, fencing, expiry, a clock that lies.
    #[must_use]
    pub fn flushes(&self) -> watch::Receiver<u64> {
        self.shared.flush.subscribe()
    }

    fn notice(&self, held: &mut Held, now: Now) {
        if held.state != LeaseState::Active {
            return;
        }
        if offset_ms(now) < held.offset_ms - STEP_BACK_MS_MAX {
            self.stop(held, LeaseState::Clock);
        } else if now.boot_ms >= held.until_boot_ms || now.unix_ms >= held.until_unix_ms {
            self.stop(held, LeaseState::Expired);
        }
    }

    fn stop(&self, held: &mut Held, state: LeaseState) {
        held.until_boot_ms = 0;
        if held.state != state {
            held.state = state;
            self.shared.flush.send_modify(|count| *count += 1);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn agrees(issued_secs: u64, received: Now) -> bool {
    received.unix_secs().abs_diff(issued_secs) <= CLOCK_DIFFERENCE_SECS_MAX
}

fn offset_ms(now: Now) -> i128 {
    i128::from(now.unix_ms) - i128::from(now.boot_ms)
}

#[cfg(test)]
mod tests;
