//! Thumbprints of keys (RFC 7638).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// SHA-256 of a key: what is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

/// Not a thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the 43 characters of a SHA-256 thumbprint, as `tang-show-keys` and `jose jwk thp -a S256` print it"
)]
pub struct ThumbprintError;

impl Thumbprint {
    pub(super) fn of(canonical: &str) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, canonical.as_bytes()).as_ref());
        Self(out)
    }
}

impl FromStr for Thumbprint {
    type Err = ThumbprintError;

    fn from_str(text: &str) -> Result<Self, ThumbprintError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ThumbprintError)?;
        bytes.try_into().map(Self).map_err(|_| ThumbprintError)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Whether `name` is what a server calls a key. Old servers and old clients name keys by SHA-1: that finds a
/// key and makes nobody trust it.
pub(super) fn is_named(canonical: &str, name: &str) -> bool {
    let is = |by: &'static Algorithm| URL_SAFE_NO_PAD.encode(digest(by, canonical.as_bytes())) == name;
    is(&SHA256) || is(&SHA1_FOR_LEGACY_USE_ONLY)
}
