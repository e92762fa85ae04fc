//! Where a request comes from, as far as counting goes: whoever has one address of an IPv6 /64 has them all.

use core::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, the /64 of an IPv6 address, or nothing known. Two requests of one source count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(Option<IpAddr>);

impl Source {
    /// The source of a request from `address`. An IPv4 address written as `::ffff:a.b.c.d` counts as IPv4.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
            address => address,
        }))
    }
}

/// `192.0.2.7`, `2001:db8::/64`, or `unknown`.
impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(IpAddr::V4(address)) => address.fmt(out),
            Some(IpAddr::V6(network)) => write!(out, "{network}/64"),
            None => out.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_network_is_one_source() {
        let source = |text: &str| Source::of(Some(text.parse().unwrap()));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_ne!(source("10.0.0.1"), Source::of(None));
        assert_eq!(source("::ffff:10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(Source::of(None).to_string(), "unknown");
    }
}
