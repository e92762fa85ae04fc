//! Syslog as in RFC 5424: over TCP and TLS with octet counting (RFC 6587, RFC 5425), UDP (RFC 5426), and a
//! Unix socket.
//!
//! ```text
//! message.rs    one line as a message
//! stream.rs     TCP and TLS; tells what has arrived by the end of the connection
//! datagram.rs   UDP and Unix sockets; tells nothing
//! ```
//!
//! The framing is written here: a message is one line of a format with six fields that have no escapes, and
//! crates for it open sockets of their own that neither wait nor say what has arrived.

mod datagram;
mod message;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use self::message::Origin;
use super::{Connecting, Kind, Patience, Sink};

/// The facility of what is about audits (RFC 5424, table 1).
const LOG_AUDIT: u8 = 13;
/// The highest one.
const FACILITY_MAX: u8 = 23;

/// The descriptor.
pub static KIND: Kind = Kind {
    name: "syslog",
    parse: |raw, patience| {
        let settings: Settings = raw.parse()?;
        settings.check()?;
        Ok(Box::new(SyslogSink { settings: Arc::new(settings), patience }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    transport: Transport,
    /// `host:port`, or the path of a Unix socket.
    to: String,
    /// Authority of the peer's certificate, PEM.
    ca_file: Option<PathBuf>,
    /// Name in the peer's certificate, if it is not the host of `to`.
    server_name: Option<String>,
    /// Certificate of this broker, PEM, if the peer asks for one.
    cert_file: Option<PathBuf>,
    /// Its key.
    key_file: Option<PathBuf>,
    /// Whether the end of the connection below TLS is enough, of a server that does not end TLS itself.
    #[serde(default)]
    unsigned_end: bool,
    /// 0 to 23.
    #[serde(default = "facility")]
    facility: u8,
    /// What stands for the machine in each message.
    #[serde(default = "symbolon")]
    hostname: String,
    /// What stands for the program.
    #[serde(default = "symbolon")]
    app_name: String,
}

fn facility() -> u8 {
    LOG_AUDIT
}

fn symbolon() -> String {
    "symbolon".to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Transport {
    Tcp,
    Tls,
    Udp,
    Unix,
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        let is_word = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
        };
        let tls =
            [self.ca_file.is_some(), self.server_name.is_some(), self.cert_file.is_some(), self.unsigned_end];
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let host = self.to.rsplit_once(':').filter(|(host, port)| !host.is_empty() && is_port(port));
        let wrong = match self.transport {
            Transport::Unix if !self.to.starts_with('/') => "to must be the absolute path of a socket",
            Transport::Tcp | Transport::Tls | Transport::Udp if host.is_none() => "to must be host:port",
            Transport::Tcp | Transport::Udp | Transport::Unix if tls.contains(&true) => {
                "ca_file, server_name, cert_file and unsigned_end are for transport = \"tls\""
            }
            Transport::Tls if self.ca_file.is_none() => "transport = \"tls\" needs ca_file",
            _ if self.cert_file.is_some() != self.key_file.is_some() => {
                "cert_file and key_file belong together"
            }
            _ if self.facility > FACILITY_MAX => "facility must be 0 to 23",
            _ if !is_word(&self.hostname, 255) => "hostname must be 1 to 255 printable characters of ASCII",
            _ if !is_word(&self.app_name, 48) => "app_name must be 1 to 48 printable characters of ASCII",
            _ => return Ok(()),
        };
        Err(wrong.to_owned())
    }

    fn origin(&self) -> Origin {
        let Self { facility, hostname, app_name, .. } = self;
        Origin { facility: *facility, hostname: hostname.clone(), app_name: app_name.clone() }
    }

    fn host(&self) -> &str {
        let host = self.to.rsplit_once(':').map_or(self.to.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

struct SyslogSink {
    settings: Arc<Settings>,
    patience: Patience,
}

impl Sink for SyslogSink {
    fn connect(&self) -> Connecting<'_> {
        match self.settings.transport {
            Transport::Tcp | Transport::Tls => {
                Box::pin(stream::connect(Arc::clone(&self.settings), self.patience))
            }
            Transport::Udp | Transport::Unix => Box::pin(datagram::connect(&self.settings, self.patience)),
        }
    }
}

#[cfg(test)]
mod tests;
