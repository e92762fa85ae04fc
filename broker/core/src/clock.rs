//! The clock seam: the only way that time enters the broker's decisions.

/// One reading of both clocks, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the Unix epoch. May jump when an operator or NTP sets it.
    pub unix_ms: u64,
    /// Milliseconds since boot, counting suspension (CLOCK_BOOTTIME). Never goes back while the machine runs.
    pub boot_ms: u64,
}

impl Now {
    /// Seconds since the Unix epoch, rounded down.
    #[must_use]
    pub fn unix_secs(self) -> u64 {
        self.unix_ms / 1000
    }
}

/// Tells the time. The broker has one real implementation; tests move theirs by hand.
pub trait Clock: Send + Sync + 'static {
    /// Reads both clocks.
    fn now(&self) -> Now;
}
