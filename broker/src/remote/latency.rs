//! How quickly a node has been answering: whom to ask first.
//!
//! One number per node, a moving average of its answer times in microseconds. A failure counts as a very slow
//! answer, and one that was given up as slow as it had become, in full, so that an absent node stands behind
//! all others after costing one hedging delay. Heartbeats reach every node, so one that has recovered works
//! its way back.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// What a failure counts as.
const FAILURE_MICROS: u64 = 4_000_000;

/// Nodes that nobody has asked yet are equal.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    /// The average. Two nodes are asked in its order.
    pub(crate) fn micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Starts to measure an answer.
    pub(crate) fn measure(&self) -> Measured<'_> {
        Measured { latency: self, since: Instant::now(), over: false }
    }

    fn sample(&self, micros: u64) {
        // Two samples at once may lose one of them; the average does not mind.
        let before = self.micros();
        let after = if before == 0 { micros } else { (before * 3 + micros) / 4 };
        self.0.store(after.max(1), Ordering::Relaxed);
    }
}

/// An answer that is awaited. Dropped before it is over, it counts as slow as it had become.
pub(crate) struct Measured<'a> {
    latency: &'a Latency,
    since: Instant,
    over: bool,
}

impl Measured<'_> {
    pub(crate) fn answered(mut self) {
        self.over = true;
        self.latency.sample(self.elapsed_micros());
    }

    pub(crate) fn failed(mut self) {
        self.over = true;
        self.latency.sample(FAILURE_MICROS);
    }

    fn elapsed_micros(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(FAILURE_MICROS).min(FAILURE_MICROS)
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let so_far = self.elapsed_micros();
        // Only a delay is news: whoever was not needed after all may have been about to answer. It counts in
        // full, so that the next question does not wait for the same node again.
        if !self.over {
            self.latency.0.fetch_max(so_far, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_puts_a_node_behind_and_answers_bring_it_back() {
        let (good, bad) = (Latency::default(), Latency::default());
        good.sample(900);
        bad.sample(700);
        bad.sample(FAILURE_MICROS);
        assert!(bad.micros() > good.micros());
        (0..60).for_each(|_| bad.sample(700));
        assert!(bad.micros() < good.micros());
    }

    #[test]
    fn an_answer_that_was_given_up_never_makes_a_node_faster() {
        let latency = Latency::default();
        latency.sample(FAILURE_MICROS);
        drop(latency.measure());
        assert_eq!(latency.micros(), FAILURE_MICROS);
    }
}
