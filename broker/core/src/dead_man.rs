//! The dead man's switch: a broker that has held no active lease for long seals itself (`docs/skb1.md` 5).
//!
//! Without a lease it serves nothing anyway, and keys of the custodians in memory are then only a risk.
//! Counted on the boot clock, which goes on while the machine sleeps and which no operator can set back.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Now;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// Counts the time since the last active lease.
#[derive(Debug)]
pub struct DeadMan {
    limit_ms: u64,
    last_leased_boot_ms: AtomicU64,
}

impl DeadMan {
    /// Begins to count now, at the unseal: until the first lease there is none.
    #[must_use]
    pub fn new(hours: u64, now: Now) -> Self {
        Self { limit_ms: hours.saturating_mul(HOUR_MS), last_leased_boot_ms: AtomicU64::new(now.boot_ms) }
    }

    /// Takes notice whether there is a lease now.
    pub fn notice(&self, leased: bool, now: Now) {
        if leased {
            self.last_leased_boot_ms.fetch_max(now.boot_ms, Ordering::AcqRel);
        }
    }

    /// Milliseconds left until the broker must seal itself if no lease comes; 0 if it must.
    #[must_use]
    pub fn left_ms(&self, now: Now) -> u64 {
        let without = now.boot_ms.saturating_sub(self.last_leased_boot_ms.load(Ordering::Acquire));
        self.limit_ms.saturating_sub(without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_ms: u64) -> Now {
        Now { unix_ms: 0, boot_ms }
    }

    #[test]
    fn it_counts_from_the_last_lease_and_never_back() {
        let switch = DeadMan::new(72, at(1000));
        assert_eq!(switch.left_ms(at(1000)), 72 * HOUR_MS, "the unseal is where it begins");
        switch.notice(true, at(1000 + HOUR_MS));
        switch.notice(false, at(1000 + 2 * HOUR_MS));
        assert_eq!(switch.left_ms(at(1000 + 2 * HOUR_MS)), 71 * HOUR_MS);
        switch.notice(true, at(1000)); // late news
        assert_eq!(switch.left_ms(at(1000 + 73 * HOUR_MS - 1)), 1);
        assert_eq!(switch.left_ms(at(1000 + 73 * HOUR_MS)), 0);
        assert_eq!(switch.left_ms(at(u64::MAX)), 0);
    }
}
