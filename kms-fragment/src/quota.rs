//! Token bucket per key: how many elements a broker may have evaluated.
//!
//! Counted in elements, not requests, dummies included, because each element answers one capsule
//! (`docs/skb1.md` 3.2: q evaluations open at most q capsules). A refused request spends nothing. Time is the
//! boot clock, so setting the wall clock neither refills nor starves; the level survives a restart through
//! the evaluation log.

/// Milliseconds per hour: the bucket counts in element-milliseconds so that no refill is rounded away.
const HOUR_MS: u64 = 3_600_000;

/// How much a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Elements that may be spent at once.
    pub burst: u32,
    /// Elements that come back per hour.
    pub per_hour: u32,
}

impl Default for Quota {
    /// 16,384 at once, which opens every bucket of 16 million secrets once, and as many again per hour.
    fn default() -> Self {
        Self { burst: 16_384, per_hour: 16_384 }
    }
}

/// The allowance of one key.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    quota: Quota,
    /// Elements times [`HOUR_MS`].
    level: u64,
    filled_at_ms: u64,
}

impl Bucket {
    /// A bucket holding `elements`, at most its burst.
    pub(crate) fn holding(quota: Quota, elements: u32, now_ms: u64) -> Self {
        Self { quota, level: u64::from(elements.min(quota.burst)) * HOUR_MS, filled_at_ms: now_ms }
    }

    /// Takes `count` elements, or nothing.
    pub(crate) fn take(&mut self, count: u32, now_ms: u64) -> bool {
        self.refill(now_ms);
        let Some(level) = self.level.checked_sub(u64::from(count) * HOUR_MS) else { return false };
        self.level = level;
        true
    }

    /// Gives elements back that were taken for an evaluation that did not happen.
    pub(crate) fn give_back(&mut self, count: u32) {
        self.level = (self.level + u64::from(count) * HOUR_MS).min(self.capacity());
    }

    /// Whole elements left.
    pub(crate) fn left(&mut self, now_ms: u64) -> u32 {
        self.refill(now_ms);
        u32::try_from(self.level / HOUR_MS).unwrap_or(u32::MAX)
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_at_ms);
        let gained = elapsed_ms.saturating_mul(u64::from(self.quota.per_hour));
        self.level = self.level.saturating_add(gained).min(self.capacity());
        self.filled_at_ms = self.filled_at_ms.max(now_ms);
    }

    fn capacity(&self) -> u64 {
        u64::from(self.quota.burst) * HOUR_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { burst: 10, per_hour: 3600 };

    #[test]
    fn spends_to_the_last_and_no_further() {
        let mut bucket = Bucket::holding(QUOTA, 10, 0);
        assert!(bucket.take(8, 0));
        assert!(!bucket.take(3, 0));
        assert!(bucket.take(2, 0));
        assert_eq!(bucket.left(0), 0);
    }

    #[test]
    fn refills_by_the_second_and_not_beyond_its_burst() {
        let mut bucket = Bucket::holding(QUOTA, 0, 0);
        assert_eq!(bucket.left(999), 0);
        assert_eq!(bucket.left(1000), 1);
        assert_eq!(bucket.left(u64::MAX), 10);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let mut bucket = Bucket::holding(QUOTA, 0, 5000);
        assert_eq!(bucket.left(6000), 1);
        assert_eq!(bucket.left(5000), 1);
        assert_eq!(bucket.left(6000), 1);
    }

    #[test]
    fn slow_quotas_are_not_rounded_away() {
        let mut bucket = Bucket::holding(Quota { burst: 2, per_hour: 1 }, 0, 0);
        for ms in 0..HOUR_MS / 1000 {
            assert!(!bucket.take(1, ms * 1000));
        }
        assert!(bucket.take(1, HOUR_MS));
    }
}
