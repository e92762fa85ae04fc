//! Times of many requests of one kind.

use std::time::Duration;

use super::narrator::shown;

/// Times of requests of one kind.
#[derive(Debug, Default, Clone)]
pub struct Meter {
    times: Vec<Duration>,
}

impl Meter {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.times.push(time);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// The time that this share of requests kept within, by nearest rank.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (times.len() * percent).div_ceil(100).max(1);
        times.get(rank - 1).copied().unwrap_or_default()
    }

    /// Count and times in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.times.is_empty() {
            return "none".to_owned();
        }
        let [p50, p99, max] = [50, 99, 100].map(|percent| shown(self.percentile(percent)));
        format!("{}, p50 {p50}, p99 {p99}, longest {max}", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest() {
        let mut meter = Meter::default();
        (1..=100).rev().for_each(|millis| meter.add(Duration::from_millis(millis)));
        let at = |percent| meter.percentile(percent).as_millis();
        assert_eq!([at(0), at(50), at(99), at(100)], [1, 50, 99, 100]);
        assert_eq!(Meter::default().summary(), "none");
    }
}
