//! The two clocks of the service, behind a seam so that tests can move time by hand.

use std::fmt;

use rustix::time::{ClockId, clock_gettime};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Seconds since the Unix epoch: what leases, manifests and the log say.
    pub unix_secs: u64,
    /// Milliseconds since boot, suspension included (CLOCK_BOOTTIME): what quotas are counted on.
    pub boot_ms: u64,
}

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = clock_gettime(ClockId::Realtime);
        let boot = clock_gettime(ClockId::Boottime);
        Now {
            unix_secs: non_negative(wall.tv_sec),
            boot_ms: non_negative(boot.tv_sec) * 1000 + non_negative(boot.tv_nsec) / 1_000_000,
        }
    }
}

fn non_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
