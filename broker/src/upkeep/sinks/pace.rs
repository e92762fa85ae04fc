//! How long a sink waits for what.

use std::time::Duration;

use rand_core::Rng as _;

use crate::audit::sinks::Patience;
use crate::random::os_rng;

/// How long a sink waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For its peer.
    pub patience: Patience,
    /// Between two looks at the configuration.
    pub look: Duration,
    /// Between two looks for new entries.
    pub tick: Duration,
    /// For more lines, before it is found out whether those under way have arrived.
    pub linger: Duration,
    /// Between two commits of its cursor.
    pub mark: Duration,
    /// After the first failure.
    pub again: Duration,
    /// After many.
    pub again_max: Duration,
}

impl Pace {
    /// As a broker serves.
    pub const SERVING: Self = Self {
        patience: Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            index: Duration::from_secs(300),
        },
        look: Duration::from_secs(1),
        tick: Duration::from_millis(200),
        linger: Duration::from_secs(2),
        mark: Duration::from_secs(1),
        again: Duration::from_secs(1),
        again_max: Duration::from_secs(60),
    };

    /// The pause after so many failures in a row: twice as long each time up to the longest, of which half is
    /// left to chance, so that sinks and brokers do not come back all at once.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        let whole = self.again.saturating_mul(1 << failures.min(16)).min(self.again_max);
        let chance = f64::from(os_rng().next_u32()) / f64::from(u32::MAX);
        whole.mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_never_all_the_same() {
        let pauses: Vec<_> = (0..40).map(|failures| Pace::SERVING.pause(failures)).collect();
        assert!(pauses.iter().all(|pause| (500..=60_000).contains(&pause.as_millis())), "{pauses:?}");
        assert!(pauses.iter().skip(7).all(|pause| pause.as_secs() >= 30), "{pauses:?}");
        assert!(pauses.iter().skip(7).any(|pause| *pause != Duration::from_secs(60)), "{pauses:?}");
    }
}
