//! What is left of the evaluations that the nodes allow, as far as this broker knows.
//!
//! Every answer to an evaluation says what its node has left for the key, whichever broker of the deployment
//! has spent it. Nothing proves it: a node that says too little makes us wait, which it could do by silence,
//! and one that says too much refuses us when it is spent. In between, time refills by what the manifest
//! says.

use std::sync::{Mutex, PoisonError};

const HOUR_MS: u64 = 3_600_000;

/// What may be evaluated, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// At once.
    pub burst: u32,
    /// In an hour.
    pub per_hour: u32,
    /// Now. Nodes that have not said anything yet count as full.
    pub left: u32,
}

/// What one node has said last, and when by the boot clock.
#[derive(Default)]
pub(crate) struct Said(Mutex<Option<(u32, u64)>>);

impl Said {
    pub(crate) fn hear(&self, left: u32, boot_ms: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((left, boot_ms));
    }

    /// What the node has left now, of a quota of `burst` elements and `per_hour`.
    pub(crate) fn left(&self, burst: u32, per_hour: u32, boot_ms: u64) -> u32 {
        let Some((left, heard)) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else {
            return burst;
        };
        let refilled = boot_ms.saturating_sub(heard).saturating_mul(u64::from(per_hour)) / HOUR_MS;
        u32::try_from(u64::from(left).saturating_add(refilled)).unwrap_or(u32::MAX).min(burst)
    }
}

/// What t nodes together have left: as much as the t-th of them, the fullest first.
pub(crate) fn of_threshold(mut left: Vec<u32>, threshold: u16) -> u32 {
    left.sort_unstable_by(|a, b| b.cmp(a));
    left.get(usize::from(threshold).saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_refills_what_was_said_up_to_the_burst() {
        let said = Said::default();
        assert_eq!(said.left(100, 3600, 0), 100, "nobody has said anything");
        said.hear(10, 5_000);
        assert_eq!(said.left(100, 3600, 5_999), 10);
        assert_eq!(said.left(100, 3600, 7_000), 12);
        assert_eq!(said.left(100, 3600, 4_000), 10, "a clock that goes back refills nothing");
        assert_eq!(said.left(100, 3600, u64::MAX), 100);
        assert_eq!(said.left(5, 3600, 5_000), 5, "a quota that was lowered");
    }

    #[test]
    fn as_many_nodes_as_are_needed_must_have_some_left() {
        assert_eq!(of_threshold(vec![3, 50, 20], 2), 20);
        assert_eq!(of_threshold(vec![7], 1), 7);
        assert_eq!(of_threshold(vec![7], 2), 0);
    }
}
