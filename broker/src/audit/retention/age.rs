//! What time it is at least.
//!
//! A clock that jumps forward must not make young entries old. So age is judged by a time that follows the
//! wall clock, and is never ahead of it, but goes forward at most a day for each hour that has passed on the
//! boot clock. A month in which the broker did not run is made up for in little more than a day; a clock that
//! is a year wrong has to stay wrong for two weeks, with certificates and tokens failing all the while. A
//! clock that goes back keeps everything longer.

use symbolon_core::clock::Now;

/// How much faster than time the judged time may go.
const CATCH_UP: u64 = 24;

/// The judged time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    unix_ms: u64,
    seen_boot_ms: u64,
}

impl Judged {
    /// Goes on from what was stored, or begins with the clock as it is: whoever configures a limit for the
    /// first time is believed to have looked at it.
    #[must_use]
    pub fn resume(stored_ms: Option<u64>, now: Now) -> Self {
        Self { unix_ms: stored_ms.unwrap_or(now.unix_ms), seen_boot_ms: now.boot_ms }
    }

    /// Looks at the clocks; milliseconds since the Unix epoch.
    pub fn look(&mut self, now: Now) -> u64 {
        let passed = now.boot_ms.saturating_sub(self.seen_boot_ms);
        self.seen_boot_ms = now.boot_ms;
        let reached = self.unix_ms.saturating_add(passed.saturating_mul(CATCH_UP));
        if now.unix_ms > self.unix_ms {
            self.unix_ms = now.unix_ms.min(reached);
        }
        self.unix_ms.min(now.unix_ms)
    }

    /// What is stored.
    #[must_use]
    pub const fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// Whether the wall clock is further ahead than an hour: it jumped, or the broker did not run for long.
    #[must_use]
    pub const fn is_behind(&self, now: Now) -> bool {
        now.unix_ms.saturating_sub(self.unix_ms) > 3_600_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    #[test]
    fn a_jump_forward_is_followed_slowly_and_one_back_at_once() {
        let start = Now { unix_ms: 1000 * DAY, boot_ms: 5 * HOUR };
        let mut judged = Judged::resume(None, start);
        let at = |hours: u64, ahead: u64| Now {
            unix_ms: start.unix_ms + hours * HOUR + ahead,
            boot_ms: start.boot_ms + hours * HOUR,
        };
        assert_eq!(judged.look(at(1, 0)), at(1, 0).unix_ms, "an honest clock is followed");
        let year = 365 * DAY;
        assert_eq!(judged.look(at(1, year)), at(1, 0).unix_ms, "nothing has passed");
        assert_eq!(judged.look(at(2, year)), at(1, 0).unix_ms + DAY);
        assert!(judged.is_behind(at(2, year)));
        assert_eq!(judged.look(at(3, 0)), at(3, 0).unix_ms, "put right again");
        assert_eq!(judged.look(at(3, 0)), at(3, 0).unix_ms);
    }

    #[test]
    fn a_downtime_is_made_up_for() {
        let now = Now { unix_ms: 1030 * DAY, boot_ms: 0 };
        let mut judged = Judged::resume(Some(1000 * DAY), now);
        assert_eq!(judged.look(now), 1000 * DAY);
        let later = Now { unix_ms: now.unix_ms + 32 * HOUR, boot_ms: 32 * HOUR };
        assert_eq!(judged.look(later), later.unix_ms);
    }
}
