//! Which servers, and whose signature is believed.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use symbolon_core::tang::Thumbprint;

use crate::config::Raw;

/// Most servers of a source.
const SERVERS_MAX: usize = 8;
/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 512;

/// As they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    servers: Vec<WrittenServer>,
    /// How long each question may take.
    #[serde(default = "timeout")]
    timeout_ms: u64,
    /// Authority of servers with https, PEM; the system's if it is not given.
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenServer {
    /// Without `/adv`.
    url: String,
    /// Of the key that signs its advertisements.
    thumbprint: String,
}

const fn timeout() -> u64 {
    5000
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Without a slash at its end.
    pub(super) url: String,
    pub(super) thumbprint: Thumbprint,
}

/// Settings that were looked at.
pub(super) struct Settings {
    pub(super) servers: Vec<Server>,
    pub(super) patience: Duration,
    pub(super) ca_file: Option<PathBuf>,
}

impl Settings {
    pub(super) fn read(raw: &Raw) -> Result<Self, String> {
        let written: Written = raw.parse()?;
        if !(1..=SERVERS_MAX).contains(&written.servers.len()) {
            return Err(format!("servers must list 1 to {SERVERS_MAX} servers"));
        }
        if !(100..=60_000).contains(&written.timeout_ms) {
            return Err("timeout_ms must be from 100 to 60000".to_owned());
        }
        let mut servers: Vec<Server> = Vec::new();
        for server in written.servers {
            let server = Server::read(&server)?;
            if servers.iter().any(|other| other.url == server.url) {
                return Err("servers lists an url twice".to_owned());
            }
            servers.push(server);
        }
        let patience = Duration::from_millis(written.timeout_ms);
        Ok(Self { servers, patience, ca_file: written.ca_file })
    }
}

impl Server {
    fn read(written: &WrittenServer) -> Result<Self, String> {
        let url = Url::parse(&written.url).ok().filter(|_| written.url.len() <= URL_BYTES_MAX);
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        let url = url.ok_or("url must begin with http:// or https:// and name a host")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a Tang server asks for no credential: url must have none".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("url must end with the path below which /adv and /rec are".to_owned());
        }
        let thumbprint = written.thumbprint.parse().map_err(|error| format!("thumbprint: {error}"))?;
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), thumbprint })
    }
}
