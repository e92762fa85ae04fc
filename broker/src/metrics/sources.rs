//! The numbers of sources of shares: from the configuration's order, never by name.

use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry};

use super::{PREFIX, number};
use crate::custody::sources::KINDS;
use crate::custody::unattended::journal::{Known, Standing};

const LABELS: [&str; 2] = ["source", "kind"];

/// What is known of each.
pub(super) fn gather(sources: &[(String, Known)]) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
    let gauge = |name: &str, help: &str, value: fn(&Known) -> u64| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &LABELS)?;
        for (place, (kind, known)) in sources.iter().enumerate() {
            let place = (place + 1).to_string();
            gauge.with_label_values(&[place.as_str(), name_of(kind)]).set(number(value(known)));
        }
        registry.register(Box::new(gauge))
    };
    gauge("source_failed", "Whether a source of shares gave nothing when it was asked.", |known| {
        matches!(known.standing, Standing::Failed(_)).into()
    })?;
    gauge("source_held", "Whether it is not asked although a share is wanted.", |known| {
        matches!(known.standing, Standing::Held | Standing::Weak).into()
    })?;
    gauge("source_failures", "Attempts that gave nothing, since the last that did.", |known| known.failures)?;
    Ok(registry.gather())
}

/// One of a closed set: what an operator has written must not become a label.
fn name_of(kind: &str) -> &'static str {
    KINDS.iter().find(|known| known.name == kind).map_or("none", |known| known.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;
    use crate::custody::sources::error::Fault;

    #[test]
    fn sources_are_told_by_place_and_never_by_name() {
        let known = |standing, failures| Known { standing, failures, ..Known::default() };
        let told = [
            ("attic".to_owned(), known(Standing::Gave, 0)),
            ("attic".to_owned(), known(Standing::Failed(Fault::Unreachable), 7)),
            ("attic".to_owned(), known(Standing::Held, 0)),
        ];
        let mut text = Vec::new();
        TextEncoder::new().encode(&gather(&told).unwrap(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "symbolon_source_failed{kind=\"none\",source=\"1\"} 0",
            "symbolon_source_failed{kind=\"none\",source=\"2\"} 1",
            "symbolon_source_failures{kind=\"none\",source=\"2\"} 7",
            "symbolon_source_held{kind=\"none\",source=\"3\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
        assert!(!text.contains("attic"), "{text}");
    }
}
