//! The machine's clocks, behind the `Clock` seam.

use rustix::time::{ClockId, clock_gettime};
use symbolon_core::clock::{Clock, Now};

/// Reads CLOCK_REALTIME and CLOCK_BOOTTIME.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { unix_ms: read(ClockId::Realtime), boot_ms: read(ClockId::Boottime) }
    }
}

/// Milliseconds on a clock; 0 if it stands before its epoch.
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
    secs.saturating_mul(1000).saturating_add(millis)
}
