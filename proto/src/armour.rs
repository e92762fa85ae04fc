//! Bytes as a text that people mail to each other: base64 between two marked lines.
//!
//! ```text
//! -----BEGIN SYMBOLON ORDER-----
//! U0tCMS9vcmRlcgEB…                       64 characters a line
//! -----END SYMBOLON ORDER-----
//! ```
//!
//! Nothing may stand outside the lines. A sentence beside a signed text would be believed although nobody signed it.

use data_encoding::BASE64;
use thiserror::Error;

const LINE_CHARS: usize = 64;

/// Longest text that is looked at, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Why a text is not what it should be. Never says what stood there.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ArmourError {
    /// Longer than any of our texts.
    #[error("the text is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// The first or last line is missing, or of another kind.
    #[error("expected a text that begins with -----BEGIN SYMBOLON {kind}----- and ends with its END line")]
    Lines {
        /// What was expected.
        kind: &'static str,
    },
    /// The lines between are not base64.
    #[error("the lines between BEGIN and END are not base64; a character was lost or changed")]
    Base64,
}

/// The text form of `bytes`, ending with a line break.
pub fn encode(kind: &'static str, bytes: &[u8]) -> String {
    let body = BASE64.encode(bytes);
    let mut text = format!("-----BEGIN SYMBOLON {kind}-----\n");
    for line in body.as_bytes().chunks(LINE_CHARS) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END SYMBOLON {kind}-----\n"));
    text
}

/// The bytes of a text form. White space at either end and other line lengths are forgiven.
pub fn decode(kind: &'static str, text: &str) -> Result<Vec<u8>, ArmourError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ArmourError::TooLong);
    }
    let inner = text
        .trim()
        .strip_prefix(&format!("-----BEGIN SYMBOLON {kind}-----"))
        .and_then(|text| text.strip_suffix(&format!("-----END SYMBOLON {kind}-----")))
        .ok_or(ArmourError::Lines { kind })?;
    let body: String = inner.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    BASE64.decode(body.as_bytes()).map_err(|_| ArmourError::Base64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_come_back_through_mail() {
        for length in [0, 1, 47, 48, 49, 500] {
            let bytes = vec![0xa7; length];
            let text = encode("ORDER", &bytes);
            assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
            assert_eq!(decode("ORDER", &text).unwrap(), bytes);
            assert_eq!(decode("ORDER", &format!("\n {} ", text.replace('\n', "\r\n"))).unwrap(), bytes);
        }
    }

    #[test]
    fn other_texts_are_told_apart() {
        let text = encode("ORDER", b"bytes");
        assert_eq!(decode("CERTIFICATE", &text), Err(ArmourError::Lines { kind: "CERTIFICATE" }));
        assert_eq!(
            decode("ORDER", &format!("destroy all\n{text}")),
            Err(ArmourError::Lines { kind: "ORDER" })
        );
        assert_eq!(decode("ORDER", &text.replace("Yn", "Y!")), Err(ArmourError::Base64));
        assert_eq!(decode("ORDER", &"x".repeat(TEXT_BYTES_MAX + 1)), Err(ArmourError::TooLong));
    }
}
