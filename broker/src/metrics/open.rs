//! The numbers of an open broker: since its unseal, and not told while it is sealed.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::{PREFIX, number};
use crate::access::Session;
use crate::upkeep::collect::{Collected, endings};
use crate::upkeep::rotation;

/// Everything that is at hand, read from memory.
pub(super) fn gather(session: &Session) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
    let entries = IntGauge::new("log_entries", "Entries in the audit log.")?;
    entries.set(number(session.ledger().writer.size()));
    registry.register(Box::new(entries))?;
    registry.register(Box::new(collected(session)?))?;
    let help = "Requests by nobody known that are counted in the audit log, without an entry of their own.";
    let coalesced = IntCounter::new("refusals_coalesced_total", help)?;
    coalesced.inc_by(session.strangers_counted());
    registry.register(Box::new(coalesced))?;
    for seconds in session.keys.evaluations().iter().filter_map(|node| node.seconds()) {
        registry.register(Box::new(seconds))?;
    }
    for (name, value) in rotation::at_hand(session) {
        registry.register(of_rotations(name, value)?)?;
    }
    Ok(registry.gather())
}

fn collected(session: &Session) -> Result<IntCounterVec, prometheus::Error> {
    let options = Opts::new("collected_rows_total", "Rows that have ended and were removed.");
    let rows = IntCounterVec::new(options, &["table"])?;
    for ending in endings() {
        rows.with_label_values(&[ending.table.name]); // zero is told, too
    }
    for (table, count) in session.of::<Collected>().rows() {
        rows.with_label_values(&[table]).inc_by(count);
    }
    Ok(rows)
}

/// By its name, as the status of rotations has it: what only grows ends in `_total`.
fn of_rotations(name: &str, value: u64) -> Result<Box<dyn Collector>, prometheus::Error> {
    let help = "Of rotations, as in sys/symbolon/rotation.";
    let name = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name);
    if name.ends_with("_total") {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        return Ok(Box::new(counter));
    }
    let gauge = IntGauge::new(name, help)?;
    gauge.set(number(value));
    Ok(Box::new(gauge))
}
