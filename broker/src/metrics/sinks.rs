//! The numbers of sinks: from the configuration's order, never by name.

use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{PREFIX, number};
use crate::audit::sinks::SINKS;
use crate::audit::sinks::journal::State;

const LABELS: [&str; 2] = ["sink", "kind"];

/// What is known of each.
pub(super) fn gather(sinks: &[State]) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
    let gauge = |name: &str, help: &str, value: fn(&State) -> u64| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &LABELS)?;
        for (place, state) in sinks.iter().enumerate() {
            let place = (place + 1).to_string();
            gauge.with_label_values(&[place.as_str(), kind(state)]).set(number(value(state)));
        }
        registry.register(Box::new(gauge))
    };
    gauge("sink_lag_entries", "Entries of the log that a sink has not had.", |state| state.lag)?;
    gauge("sink_lag_seconds", "For how long the first of them has waited.", |state| state.lag_secs)?;
    gauge("sink_failed", "Whether entries do not reach it.", |state| state.failed.is_some().into())?;
    let counter = |name: &str, help: &str, value: fn(&State) -> u64| {
        let counter = IntCounterVec::new(Opts::new(name, help), &LABELS)?;
        for (place, state) in sinks.iter().enumerate() {
            let place = (place + 1).to_string();
            counter.with_label_values(&[place.as_str(), kind(state)]).inc_by(value(state));
        }
        registry.register(Box::new(counter))
    };
    counter("sink_pruned_entries_total", "Entries that were pruned before it had them.", |state| {
        state.pruned
    })?;
    counter("sink_rejected_entries_total", "Entries that it would not keep.", |state| state.rejected)?;
    Ok(registry.gather())
}

/// One of a closed set: what an operator has written must not become a label.
fn kind(state: &State) -> &'static str {
    SINKS.iter().find(|kind| kind.name == state.kind).map_or("none", |kind| kind.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;
    use crate::audit::sinks::error::Fault;

    #[test]
    fn sinks_are_told_by_place_and_kind_and_never_by_name() {
        let well = State { name: "zanzibar".to_owned(), kind: "file".to_owned(), lag: 3, ..State::default() };
        let ill = State { kind: "hec".to_owned(), failed: Some(Fault::Silent), pruned: 9, ..well.clone() };
        let mut text = Vec::new();
        TextEncoder::new().encode(&gather(&[well, ill]).unwrap(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "symbolon_sink_lag_entries{kind=\"file\",sink=\"1\"} 3",
            "symbolon_sink_lag_seconds{kind=\"file\",sink=\"1\"} 0",
            "symbolon_sink_failed{kind=\"file\",sink=\"1\"} 0",
            "symbolon_sink_failed{kind=\"hec\",sink=\"2\"} 1",
            "symbolon_sink_pruned_entries_total{kind=\"hec\",sink=\"2\"} 9",
            "symbolon_sink_rejected_entries_total{kind=\"hec\",sink=\"2\"} 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
        assert!(!text.contains("zanzibar"), "{text}");
        assert!(gather(&[]).unwrap().iter().all(|family| family.get_metric().is_empty()));
    }
}
