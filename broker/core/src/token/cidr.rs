//! Address ranges that tokens and logins may be bound to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most ranges in one list.
const RANGES_MAX: usize = 64;

/// The text is no address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address range: expected at most 64 of the form 10.0.0.0/8 or 2001:db8::/32")]
pub struct BadCidr;

/// An address range such as `10.0.0.0/8`. A single address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix_bits: u8,
}

impl Cidr {
    /// Whether `address` lies in the range. An IPv4 address written as `::ffff:a.b.c.d` counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.shares_prefix(address.to_canonical())
    }

    /// Whether every address of this range lies in `other`.
    fn is_within(self, other: Self) -> bool {
        // The families as they are written: a range of IPv6 that begins with a mapped IPv4 address is none.
        self.network.is_ipv4() == other.network.is_ipv4()
            && self.prefix_bits >= other.prefix_bits
            && other.shares_prefix(self.network)
    }

    /// Whether an address of the same family, as it is written, has the network's leading bits.
    fn shares_prefix(self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                u32::from(network).checked_shr(shift) == u32::from(address).checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                u128::from(network).checked_shr(shift) == u128::from(address).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let (network, prefix) = match text.trim().split_once('/') {
            Some((network, prefix)) => (network, Some(prefix)),
            None => (text.trim(), None),
        };
        let network: IpAddr = network.parse().map_err(|_| BadCidr)?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits,
            Some(prefix) if !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().ok().filter(|&prefix| prefix <= bits).ok_or(BadCidr)?
            }
            Some(_) => return Err(BadCidr),
        };
        Ok(Self { network, prefix_bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

impl TryFrom<String> for Cidr {
    type Error = BadCidr;

    fn try_from(text: String) -> Result<Self, BadCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// A bounded list of ranges; empty means no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CidrList(Vec<Cidr>);

impl CidrList {
    /// Parses every element.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadCidr> {
        if texts.len() > RANGES_MAX {
            return Err(BadCidr);
        }
        texts.iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no bound.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the list leaves any address out of each family that it names: a list with `0.0.0.0/0` or
    /// `::/0` is no reason to let somebody in.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.is_empty() && self.0.iter().all(|range| range.prefix_bits > 0)
    }

    /// Whether any range contains `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// Whether whoever asks from `remote` keeps this bound. An unknown address satisfies none.
    #[must_use]
    pub fn admits(&self, remote: Option<IpAddr>) -> bool {
        self.is_empty() || remote.is_some_and(|remote| self.contains(remote))
    }

    /// Whether this list allows no address that `outer` does not: each of its ranges lies in one of those.
    #[must_use]
    pub fn is_within(&self, outer: &Self) -> bool {
        outer.is_empty() || (!self.is_empty() && self.0.iter().all(|range| outer.covers(*range)))
    }

    /// The bound of both lists together; `None` if no address keeps both. Two ranges are apart or one lies in
    /// the other, so the result has ranges of these two only.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Option<Self> {
        if self.is_empty() || other.is_empty() {
            return Some(if self.is_empty() { other.clone() } else { self.clone() });
        }
        let ours = self.0.iter().filter(|range| other.covers(**range));
        let theirs = other.0.iter().filter(|range| self.covers(**range) && !self.0.contains(range));
        let both: Vec<Cidr> = ours.chain(theirs).copied().collect();
        (!both.is_empty()).then_some(Self(both))
    }

    fn covers(&self, range: Cidr) -> bool {
        self.0.iter().any(|outer| range.is_within(*outer))
    }

    /// As texts, for answers.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(Cidr::to_string).collect()
    }
}
