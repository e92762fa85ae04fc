//! The newest word of one node, and what time has made of it.

use symbolon_core::clock::Now;
use symbolon_proto::lease::{Standing, VerifiedLease};

use super::LeaseState;

/// Largest difference between our wall clock and the time in a lease, in seconds.
pub const CLOCK_DIFFERENCE_SECS_MAX: u64 = 300;

/// How far the wall clock may fall behind the boot clock before it counts as set back, in milliseconds. NTP
/// slews both clocks alike; what remains is a step.
const STEP_BACK_MS_MAX: i128 = 2_000;

#[derive(Debug)]
pub(super) struct Held {
    /// The newest lease; older ones that overtook each other on the way are ignored.
    newest: Option<VerifiedLease>,
    state: LeaseState,
    /// End of the lease without grace, on the boot clock.
    until_boot_ms: u64,
    /// The same moment on the wall clock. It comes first if the machine was stopped without its boot clock
    /// noticing.
    until_unix_ms: u64,
    /// Wall clock minus boot clock when the lease was accepted.
    offset_ms: i128,
}

impl Default for Held {
    fn default() -> Self {
        Self { newest: None, state: LeaseState::Unknown, until_boot_ms: 0, until_unix_ms: 0, offset_ms: 0 }
    }
}

impl Held {
    pub(super) fn state(&self) -> LeaseState {
        self.state
    }

    /// End of the use of cached keys on the boot clock; 0 if they may not be used.
    pub(super) fn usable_until(&self, grace_ms: u64) -> u64 {
        match self.state {
            LeaseState::Active | LeaseState::Grace => self.until_boot_ms.saturating_add(grace_ms),
            _ => 0,
        }
    }

    pub(super) fn left_ms(&self, now: Now) -> u64 {
        if self.state == LeaseState::Active { self.until_boot_ms.saturating_sub(now.boot_ms) } else { 0 }
    }

    pub(super) fn accept(&mut self, lease: &VerifiedLease, asked: Now, received: Now) {
        if self.newest.is_some_and(|newest| !lease.supersedes(&newest)) {
            return;
        }
        self.newest = Some(*lease);
        self.state = match lease.standing() {
            Standing::Active if agrees(lease.terms().issued_secs, received) => LeaseState::Active,
            Standing::Active => LeaseState::Clock,
            Standing::Suspended => LeaseState::Suspended,
            Standing::Destroyed => LeaseState::Destroyed,
            Standing::Fenced => LeaseState::Fenced,
        };
        let ttl_ms = u64::from(lease.terms().ttl_secs) * 1000;
        self.until_boot_ms = asked.boot_ms.saturating_add(ttl_ms);
        self.until_unix_ms = asked.unix_ms.saturating_add(ttl_ms);
        self.offset_ms = offset_ms(received);
    }

    /// What time does to an active lease.
    pub(super) fn notice(&mut self, now: Now, grace_ms: u64) {
        if !matches!(self.state, LeaseState::Active | LeaseState::Grace) {
            return;
        }
        let ended = |grace_ms: u64| {
            now.boot_ms >= self.until_boot_ms.saturating_add(grace_ms)
                || now.unix_ms >= self.until_unix_ms.saturating_add(grace_ms)
        };
        if offset_ms(now) < self.offset_ms - STEP_BACK_MS_MAX {
            self.state = LeaseState::Clock;
        } else if ended(grace_ms) {
            self.state = LeaseState::Expired;
        } else if ended(0) {
            self.state = LeaseState::Grace;
        }
    }
}

fn agrees(issued_secs: u64, received: Now) -> bool {
    received.unix_secs().abs_diff(issued_secs) <= CLOCK_DIFFERENCE_SECS_MAX
}

fn offset_ms(now: Now) -> i128 {
    i128::from(now.unix_ms) - i128::from(now.boot_ms)
}
