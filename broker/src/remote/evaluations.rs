//! What a node's evaluations came to and how long they took, since the broker was unsealed: for monitoring. A
//! node that was asked and then not waited for leaves nothing here.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec};

/// Seconds, from a service in the same rack to one that is about to be given up.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Histograms of one node, one for each outcome. `None` if the library takes them for malformed.
#[derive(Debug)]
pub struct Evaluations(Option<HistogramVec>);

impl Evaluations {
    /// Of the node in this place of the configuration, from 1.
    pub(crate) fn of(place: usize) -> Self {
        let help = "From a question for points to its judged answer, since the unseal.";
        let options = HistogramOpts::new("remote_evaluation_seconds", help).buckets(BUCKETS.to_vec());
        Self(HistogramVec::new(options.const_label("node", place.to_string()), &["outcome"]).ok())
    }

    /// An answer was judged after so long.
    pub(crate) fn judged(&self, is_done: bool, took: Duration) {
        if let Some(seconds) = &self.0 {
            let outcome = if is_done { "done" } else { "failed" };
            seconds.with_label_values(&[outcome]).observe(took.as_secs_f64());
        }
    }

    /// The numbers themselves, for a registry.
    #[must_use]
    pub fn seconds(&self) -> Option<HistogramVec> {
        self.0.clone()
    }
}
