//! How long requests took.

use std::time::Duration;

/// Times of answered requests, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<u32>);

impl Times {
    /// Room for so many without growing, so that measuring costs nothing while it runs.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    pub(super) fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The times that these shares of a thousand requests kept within, by nearest rank; zero if there were
    /// none.
    pub(super) fn within(mut self, permille: [usize; 3]) -> [Duration; 3] {
        self.0.sort_unstable();
        permille.map(|permille| {
            let rank = (self.0.len() * permille).div_ceil(1000).max(1);
            Duration::from_micros(self.0.get(rank - 1).copied().unwrap_or_default().into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest() {
        let mut times = Times::with_capacity(0);
        (1..=1000).rev().for_each(|micros| times.add(Duration::from_micros(micros)));
        assert_eq!(times.count(), 1000);
        let micros = |within: [Duration; 3]| within.map(|time| time.as_micros());
        assert_eq!(micros(times.within([500, 990, 999])), [500, 990, 999]);
        assert_eq!(micros(Times::default().within([1, 2, 3])), [0, 0, 0]);
    }
}
