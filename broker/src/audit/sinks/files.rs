//! Files that a sink names: read when a connection is made, so what is in them can be renewed.

use std::path::{Path, PathBuf};

use symbolon_proto::Zeroizing;

use super::SinkError;
use crate::place;

/// Longest authority or certificate that is read, in bytes.
const PEM_BYTES_MAX: u64 = 256 << 10;

/// The first line of a file that holds a credential.
pub(super) fn credential(path: &Path) -> Result<Zeroizing<String>, SinkError> {
    let line = place::line(path).map_err(|source| unusable(path, source))?;
    if line.is_empty() {
        return Err(SinkError::Content { path: path.to_owned(), what: "credential in its first line" });
    }
    Ok(line)
}

/// A PEM file; empty if there is none, which means the system's authorities.
pub(super) fn authority(path: Option<&PathBuf>) -> Result<String, SinkError> {
    let Some(path) = path else { return Ok(String::new()) };
    let text = pem(path)?;
    if text.trim().is_empty() {
        return Err(SinkError::Content { path: path.clone(), what: "certificate" });
    }
    Ok(text.as_str().to_owned())
}

/// A PEM file of any kind.
pub(super) fn pem(path: &Path) -> Result<Zeroizing<String>, SinkError> {
    let length = std::fs::metadata(path).map_err(|source| unusable(path, source))?.len();
    if length > PEM_BYTES_MAX {
        return Err(SinkError::Content {
            path: path.to_owned(),
            what: "certificate or key of less than 256 KiB",
        });
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|source| unusable(path, source))
}

pub(super) fn unusable(path: &Path, source: std::io::Error) -> SinkError {
    SinkError::File { path: path.to_owned(), source }
}
