//! What is configured of a TPM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use symbolon_core::tpm::PcrSet;

use crate::config::Raw;

/// The frame waits for 60 s at most.
const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

/// Where a TPM is, and when it gives what it keeps.
pub(super) struct Settings {
    pub place: Place,
    /// PCRs that must be as they were, or as somebody signed.
    pub pcrs: PcrSet,
    pub signed: Option<Signed>,
    /// For a whole call, waiting for a turn included.
    pub timeout: Duration,
}

/// What leads to it.
#[derive(Clone)]
pub(super) enum Place {
    File(PathBuf),
    /// On loopback: what is no secret crosses it in the clear.
    Tcp(SocketAddr),
}

/// Whose signed policies are followed.
pub(super) struct Signed {
    pub signer_file: PathBuf,
    pub folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "device")]
    device: String,
    #[serde(default = "pcrs")]
    pcrs: Vec<u8>,
    signer_file: Option<PathBuf>,
    policies_dir: Option<PathBuf>,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
}

fn device() -> String {
    "/dev/tpmrm0".to_owned()
}

fn pcrs() -> Vec<u8> {
    vec![7]
}

const fn timeout_ms() -> u64 {
    10_000
}

impl Settings {
    /// From a configuration. The text says what is wrong.
    pub fn parse(raw: &Raw) -> Result<Self, String> {
        let written: Written = raw.parse()?;
        if !TIMEOUTS_MS.contains(&written.timeout_ms) {
            return Err("timeout_ms must be from 100 to 60000".to_owned());
        }
        Ok(Self {
            place: place(&written.device)?,
            pcrs: PcrSet::new(&written.pcrs).ok_or("pcrs must be numbers from 0 to 23, at least one")?,
            signed: signed(written.signer_file, written.policies_dir)?,
            timeout: Duration::from_millis(written.timeout_ms),
        })
    }
}

fn place(device: &str) -> Result<Place, String> {
    if device.starts_with('/') {
        return Ok(Place::File(device.into()));
    }
    match device.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Place::Tcp(address)),
        _ => Err("device must be an absolute path, or an address and port of loopback".to_owned()),
    }
}

fn signed(signer_file: Option<PathBuf>, folder: Option<PathBuf>) -> Result<Option<Signed>, String> {
    match (signer_file, folder) {
        (None, None) => Ok(None),
        (Some(signer_file), Some(folder)) if signer_file.is_absolute() && folder.is_absolute() => {
            Ok(Some(Signed { signer_file, folder }))
        }
        _ => Err("signer_file and policies_dir go together, as absolute paths".to_owned()),
    }
}
