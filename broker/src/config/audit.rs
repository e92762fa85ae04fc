//! How long the audit log is kept, and where it goes before it is pruned.

use serde::{Deserialize, Serialize};

use super::{Bucket, SinkConfig};

/// A hundred years: whoever wants longer leaves it out.
const KEEP_DAYS_MAX: u64 = 36_500;
/// Least MiB that can be asked for: sixteen segments of a log as it usually is.
const MIB_MIN: u64 = 32;
/// Most of them: an exabyte.
const MIB_MAX: u64 = 1 << 40;
/// What stands in `export` if entries are pruned without being exported.
const NOWHERE: &str = "none";

/// How long the log is kept. Without limits, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days after which entries are pruned, 1 to 36500; for ever if it is not given.
    pub keep_days: Option<u64>,
    /// MiB of entries beyond which the oldest are pruned, at least 32; any number if it is not given. Either
    /// limit is enough.
    pub keep_mib: Option<u64>,
    /// Where entries go before they are pruned: a directory on another disk, as an absolute path, or
    /// `s3://bucket/prefix`. `none`: nowhere, and what is pruned is gone for good. Who sets a limit says one
    /// or the other.
    pub export: Option<String>,
    /// How a bucket is reached. Files of credentials are read for each round, so they can be renewed.
    pub bucket: Option<Bucket>,
    /// MiB that the log may take in the store, at least 32. Four fifths of it are an alarm.
    pub disk_budget_mib: Option<u64>,
    /// What happens when they are used up.
    pub when_full: WhenFull,
    /// Where entries are sent as they come (`docs/audit-sinks.md`).
    pub sinks: Vec<SinkConfig>,
}

/// What happens at the end of the disk budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Nothing is answered that needs an entry and has no reserve, until somebody prunes, or raises the
    /// budget.
    #[default]
    Refuse,
    /// The oldest entries that were exported are pruned, whatever `keep_days` and `keep_mib` say. If none
    /// was, as with `refuse`.
    Prune,
}

impl AuditConfig {
    /// The place that entries are exported to, if they are.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.export.as_deref().filter(|export| *export != NOWHERE)
    }

    /// Whether it says what can be done.
    pub(super) fn is_sound(&self) -> bool {
        let in_bounds =
            |value: Option<u64>, least, most| value.is_none_or(|value| (least..=most).contains(&value));
        let is_place = |place: &str| {
            place.starts_with('/') || (place.starts_with("s3://") && place.len() > "s3://".len())
        };
        let prunes = self.keep_days.is_some() || self.keep_mib.is_some();
        in_bounds(self.keep_days, 1, KEEP_DAYS_MAX)
            && in_bounds(self.keep_mib, MIB_MIN, MIB_MAX)
            && in_bounds(self.disk_budget_mib, MIB_MIN, MIB_MAX)
            && self.place().is_none_or(is_place)
            && (!prunes || self.export.is_some())
            // a sink that is dead must not fill the disk
            && (!prunes || self.disk_budget_mib.is_some() || self.sinks.iter().all(|sink| !sink.hold))
            && (self.when_full == WhenFull::Refuse
                || (self.disk_budget_mib.is_some() && self.place().is_some()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Config, ConfigError, SMALL};
    use super::*;

    #[test]
    fn limits_say_where_entries_go_and_what_happens_at_the_end() {
        let parse = |audit: &str| Config::parse(&format!("{SMALL}\n[audit]\n{audit}"));
        assert_eq!(Config::parse(SMALL).unwrap().lives.now().audit, AuditConfig::default());
        for good in [
            "",
            "export = \"/mnt/archive\"",
            "keep_days = 400\nexport = \"s3://bucket/log\"",
            "keep_mib = 32\nexport = \"none\"",
            "disk_budget_mib = 4096",
            "disk_budget_mib = 4096\nexport = \"/mnt/archive\"\nwhen_full = \"prune\"",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "keep_days = 400",
            "keep_days = 0\nexport = \"none\"",
            "keep_days = 36501\nexport = \"none\"",
            "keep_mib = 31\nexport = \"none\"",
            "disk_budget_mib = 0",
            "export = \"archive\"",
            "export = \"s3://\"",
            "disk_budget_mib = 4096\nexport = \"none\"\nwhen_full = \"prune\"",
            "export = \"/mnt/archive\"\nwhen_full = \"prune\"",
        ] {
            assert!(matches!(parse(bad), Err(ConfigError::Audit)), "{bad}");
        }
        let sink = "[[audit.sinks]]\nname = \"a\"\nkind = \"stdout\"\n";
        let limits = "keep_days = 400\nexport = \"none\"\n";
        assert!(matches!(parse(&format!("{limits}{sink}")), Err(ConfigError::Audit)), "held without end");
        assert!(parse(&format!("{limits}{sink}hold = false")).is_ok());
        assert!(parse(&format!("{limits}disk_budget_mib = 4096\n{sink}")).is_ok() && parse(sink).is_ok());
        assert!(matches!(parse("when_full = \"panic\""), Err(ConfigError::Parse { .. })));
        assert_eq!(AuditConfig { export: Some("none".to_owned()), ..Default::default() }.place(), None);
    }
}
