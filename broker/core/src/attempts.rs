//! How many refused shares a source may send before it must wait.
//!
//! Only refusals count, and each source has an allowance of its own: whoever sends rubbish slows down nobody
//! else, and whoever sends the right share is never kept waiting by their own successes. An IPv6 source is
//! its /64.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::clock::Now;
use symbolon_proto::source::Source;

/// Refusals that a source may have at once.
pub const REFUSALS_MAX: u64 = 10;
/// Time after which one more is allowed, in milliseconds.
pub const REFUSAL_MS: u64 = 6_000;
/// Sources remembered. Beyond it the one that has been quiet the longest is forgotten, which lets it begin
/// afresh.
const SOURCES_MAX: usize = 1024;

/// Refusals of each source. Every one "lasts" [`REFUSAL_MS`]; a source has used up its allowance while so
/// many last.
#[derive(Debug, Default)]
pub struct Attempts {
    lasting_until_boot_ms: HashMap<Source, u64>,
}

impl Attempts {
    /// Whether a source may try now.
    #[must_use]
    pub fn allows(&self, source: Option<IpAddr>, now: Now) -> bool {
        let until = self.lasting_until_boot_ms.get(&Source::of(source)).copied().unwrap_or(0);
        until.saturating_sub(now.boot_ms) <= (REFUSALS_MAX - 1) * REFUSAL_MS
    }

    /// Counts a refusal.
    pub fn refused(&mut self, source: Option<IpAddr>, now: Now) {
        let source = Source::of(source);
        if !self.lasting_until_boot_ms.contains_key(&source)
            && self.lasting_until_boot_ms.len() >= SOURCES_MAX
        {
            self.forget_quietest();
        }
        let until = self.lasting_until_boot_ms.entry(source).or_default();
        *until = (*until).max(now.boot_ms).saturating_add(REFUSAL_MS);
    }

    fn forget_quietest(&mut self) {
        let quietest = self.lasting_until_boot_ms.iter().min_by_key(|(_, until)| **until);
        if let Some(source) = quietest.map(|(source, _)| *source) {
            self.lasting_until_boot_ms.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_ms: u64) -> Now {
        Now { unix_ms: 0, boot_ms }
    }

    fn source(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_source_that_is_refused_too_often_waits_and_others_do_not() {
        let mut attempts = Attempts::default();
        for _ in 0..REFUSALS_MAX {
            assert!(attempts.allows(source(1), at(5)));
            attempts.refused(source(1), at(5));
        }
        assert!(!attempts.allows(source(1), at(5)));
        assert!(attempts.allows(source(2), at(5)) && attempts.allows(None, at(5)));
        assert!(!attempts.allows(source(1), at(4 + REFUSAL_MS)));
        assert!(attempts.allows(source(1), at(5 + REFUSAL_MS)), "one more after a while");
    }

    #[test]
    fn one_network_is_one_source_and_many_are_bounded() {
        let mut attempts = Attempts::default();
        let address = |network: u16, host: u16| Some(IpAddr::from([0x2001, network, 0, 0, 0, 0, 0, host]));
        for host in 0..10 {
            attempts.refused(address(1, host), at(5));
        }
        assert!(!attempts.allows(address(1, 99), at(5)));
        for network in 2..2000 {
            attempts.refused(address(network, 1), at(6));
        }
        assert_eq!(attempts.lasting_until_boot_ms.len(), SOURCES_MAX);
        assert!(!attempts.allows(address(1, 99), at(6)), "the loudest is not forgotten first");
    }
}
