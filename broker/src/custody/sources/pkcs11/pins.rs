//! A PIN from its file, and which PINs a token has refused.
//!
//! A token counts wrong PINs and locks itself for good. So a PIN that was refused is not tried again before
//! its file says another one, or the process is another one.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use cryptoki::types::AuthPin;
use symbolon_proto::Zeroizing;
use symbolon_proto::secret::Secret;

use crate::custody::sources::SourceError;
use crate::random::os_rng;

/// Longest PIN that is read, in bytes.
const PIN_BYTES_MAX: usize = 1024;
/// Most places that are remembered; the configuration has fifteen sources at most.
const REFUSED_MAX: usize = 256;

/// A PIN, and where it was read.
pub(super) struct Pin {
    text: Zeroizing<String>,
    file: PathBuf,
}

impl Pin {
    /// For one login.
    pub fn auth(&self) -> AuthPin {
        AuthPin::new(self.text.as_str().into())
    }
}

/// The PIN in a file, without the line's end.
pub(super) fn read(path: &Path) -> Result<Pin, SourceError> {
    let unusable = |source| SourceError::File { path: path.to_owned(), source };
    let unsound = |what| unusable(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    let mut bytes = Zeroizing::new(Vec::with_capacity(PIN_BYTES_MAX + 1));
    let file = std::fs::File::open(path).map_err(unusable)?;
    file.take(PIN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unusable)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unsound("the PIN in it must be UTF-8"))?;
    let pin = text.strip_suffix('\n').unwrap_or(text);
    let pin = pin.strip_suffix('\r').unwrap_or(pin);
    if pin.is_empty() || bytes.len() > PIN_BYTES_MAX {
        return Err(unsound("it must hold a PIN of at most 1024 bytes"));
    }
    Ok(Pin { text: Zeroizing::new(pin.to_owned()), file: path.to_owned() })
}

/// PINs that were refused: keyed hashes, by token and file. One for each file, because what two files say by
/// turns would otherwise be tried by turns.
pub(super) struct Refused {
    key: Option<Secret<32>>,
    by_place: BTreeMap<(String, PathBuf), Vec<u8>>,
}

impl Refused {
    pub const fn new() -> Self {
        Self { key: None, by_place: BTreeMap::new() }
    }

    /// Whether the token has refused this PIN, whichever file it came from.
    pub fn has(&mut self, token: &str, pin: &Pin) -> bool {
        let hash = self.hash(token, pin);
        self.by_place.iter().any(|((name, _), known)| name == token && *known == hash)
    }

    pub fn remember(&mut self, token: &str, pin: &Pin) {
        let hash = self.hash(token, pin);
        if self.by_place.len() >= REFUSED_MAX {
            self.by_place.pop_first();
        }
        self.by_place.insert((token.to_owned(), pin.file.clone()), hash);
    }

    /// The token took this file's PIN: what it said before may have become right since.
    pub fn forget(&mut self, token: &str, pin: &Pin) {
        self.by_place.remove(&(token.to_owned(), pin.file.clone()));
    }

    /// Under a key that nobody else has and that ends with the process.
    fn hash(&mut self, token: &str, pin: &Pin) -> Vec<u8> {
        let key = self.key.get_or_insert_with(|| Secret::random(&mut os_rng()));
        let message = Zeroizing::new([token.as_bytes(), b"\n", pin.text.as_bytes()].concat());
        sign(&Key::new(HMAC_SHA256, key.expose()), &message).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pin(text: &str, file: &str) -> Pin {
        Pin { text: Zeroizing::new(text.to_owned()), file: file.into() }
    }

    #[test]
    fn a_refused_pin_stays_refused_until_its_file_says_another_that_is_right() {
        let mut refused = Refused::new();
        refused.remember("token", &pin("1111", "/a"));
        assert!(refused.has("token", &pin("1111", "/a")) && refused.has("token", &pin("1111", "/b")));
        assert!(!refused.has("token", &pin("2222", "/a")) && !refused.has("other", &pin("1111", "/a")));
        refused.remember("token", &pin("2222", "/b"));
        assert!(refused.has("token", &pin("1111", "/a")), "two files by turns");
        refused.forget("token", &pin("3333", "/a"));
        assert!(!refused.has("token", &pin("1111", "/a")) && refused.has("token", &pin("2222", "/b")));
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_pin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        for text in ["0001 pass word", "0001 pass word\n", "0001 pass word\r\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().text.as_str(), "0001 pass word");
        }
        for bytes in [&b""[..], b"\n", &[0xff, 0xfe], &[b'1'; PIN_BYTES_MAX + 1]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(read(&path), Err(SourceError::File { .. })));
        }
    }
}
