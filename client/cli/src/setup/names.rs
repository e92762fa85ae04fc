//! Names and addresses as people type them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A DNS name or an IP address, without port or scheme.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(String);

/// Where somebody else reaches a server: a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
}

/// Why a text is no name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// With a scheme or path.
    #[error(
        "give the name alone, without https:// and without a path, such as broker.example or 192.168.1.5"
    )]
    Url,
    /// Every address of this machine is none that others could use.
    #[error("0.0.0.0 and :: are where to listen; give a name or address at which others reach this machine")]
    Unspecified,
    /// Letters that no host name has.
    #[error(
        "a host name has letters a to z, digits and dashes, in parts between dots, none of them empty or longer \
         than 63, and a wildcard is none"
    )]
    Host,
    /// No port, or none that exists.
    #[error("write it as name:port, such as nas.example:8300 or [2001:db8::5]:8300")]
    Port,
}

impl Host {
    /// As it stands in a URL.
    #[must_use]
    pub fn in_url(&self) -> String {
        if self.0.contains(':') { format!("[{}]", self.0) } else { self.0.clone() }
    }

    /// As it stands in a certificate.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.contains("://") || text.contains('/') {
            return Err(NameError::Url);
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return if address.is_unspecified() {
                Err(NameError::Unspecified)
            } else {
                Ok(Self(address.to_string()))
            };
        }
        let is_part = |part: &str| {
            let allowed = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            allowed && (1..=63).contains(&part.len()) && !part.starts_with('-') && !part.ends_with('-')
        };
        // A last part of digits would be an address that somebody mistyped.
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = text.len() <= 253
            && text.split('.').all(is_part)
            && !text.rsplit('.').next().is_some_and(is_number);
        if is_name { Ok(Self(text.to_ascii_lowercase())) } else { Err(NameError::Host) }
    }
}

impl FromStr for Address {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.contains("://") || text.contains('/') {
            return Err(NameError::Url);
        }
        let (host, port) = text.rsplit_once(':').ok_or(NameError::Port)?;
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        let port = port.parse().ok().filter(|port| *port != 0 && !is_bare_v6).ok_or(NameError::Port)?;
        Ok(Self { host: host.parse()?, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host.in_url(), self.port)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_and_nothing_else() {
        for (text, read) in [
            ("Broker.Example", "broker.example"),
            ("nas", "nas"),
            ("192.168.1.5", "192.168.1.5"),
            ("[::1]", "::1"),
            ("xn--mller-kva.example", "xn--mller-kva.example"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().as_str(), read);
        }
        let long = "a".repeat(64);
        for (text, error) in [
            ("https://broker.example", NameError::Url),
            ("0.0.0.0", NameError::Unspecified),
            ("::", NameError::Unspecified),
            ("", NameError::Host),
            ("a..b", NameError::Host),
            ("-a", NameError::Host),
            ("*.example", NameError::Host),
            ("a b", NameError::Host),
            ("a\"b", NameError::Host),
            ("broker:8200", NameError::Host),
            ("192.168.1.500", NameError::Host),
            ("müller.example", NameError::Host),
            (&long, NameError::Host),
        ] {
            assert_eq!(text.parse::<Host>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        for text in ["nas.example:8300", "192.168.1.5:1", "[2001:db8::5]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["nas.example", "nas:0", "nas:65536", "2001:db8::5:8300", "nas:"] {
            assert_eq!(text.parse::<Address>(), Err(NameError::Port), "{text}");
        }
        assert_eq!("https://nas:8300".parse::<Address>(), Err(NameError::Url));
        assert_eq!("0.0.0.0:8300".parse::<Address>(), Err(NameError::Unspecified));
    }
}
