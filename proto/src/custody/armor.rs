//! Binary things as text between two lines, for files that people pass on.
//!
//! ```text
//! -----BEGIN SYMBOLON CUSTODIAN CARD-----
//! base64, 64 characters a line
//! -----END SYMBOLON CUSTODIAN CARD-----
//! ```
//!
//! The lines say what a file is, so a card given in place of an envelope is named and not "damaged". What is inside is
//! authenticated by its own signature or seal; the armor only has to survive mail programs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Longest text that is looked at, in bytes.
pub const ARMOR_BYTES_MAX: usize = 96 * 1024;

const LINE_CHARS: usize = 64;
const BEGIN: &str = "-----BEGIN SYMBOLON ";
const END: &str = "-----END SYMBOLON ";
const DASHES: &str = "-----";

/// What a text holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Card,
    KeyFile,
    Parcel,
    EscrowKey,
    Transcript,
}

impl Content {
    const ALL: [Self; 5] = [Self::Card, Self::KeyFile, Self::Parcel, Self::EscrowKey, Self::Transcript];

    const fn title(self) -> &'static str {
        match self {
            Self::Card => "CUSTODIAN CARD",
            Self::KeyFile => "KEY FILE",
            Self::Parcel => "SHARE ENVELOPE",
            Self::EscrowKey => "ESCROW KEY",
            Self::Transcript => "CEREMONY TRANSCRIPT",
        }
    }
}

/// Why a text holds nothing, or something else.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ArmorError {
    /// Longer than any of them.
    #[error("the file has {found} bytes; none of ours is longer than {ARMOR_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// No first or last line.
    #[error("this is no {expected}: the line `-----BEGIN SYMBOLON {expected}-----` or its END is missing")]
    NotFound {
        /// What was asked for.
        expected: &'static str,
    },
    /// Another kind of ours.
    #[error("this file is a {found}; a {expected} is needed here")]
    Other {
        /// What it is.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// Not base64 between the lines.
    #[error("the {expected} is damaged: what stands between its first and last line is not base64")]
    Damaged {
        /// What was asked for.
        expected: &'static str,
    },
}

/// The text of `bytes`.
pub(super) fn write(content: Content, bytes: &[u8]) -> String {
    let title = content.title();
    let data = STANDARD.encode(bytes);
    let mut text = format!("{BEGIN}{title}{DASHES}\n");
    let mut rest = data.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("{END}{title}{DASHES}\n"));
    text
}

/// The bytes in `text`; anything before the first line and after the last is ignored.
pub(super) fn read(content: Content, text: &str) -> Result<Vec<u8>, ArmorError> {
    if text.len() > ARMOR_BYTES_MAX {
        return Err(ArmorError::TooLong { found: text.len() });
    }
    let expected = content.title();
    let Some(inner) = between(content, text) else {
        let other = Content::ALL.into_iter().find(|other| between(*other, text).is_some());
        return Err(other.map_or(ArmorError::NotFound { expected }, |other| ArmorError::Other {
            found: other.title(),
            expected,
        }));
    };
    let compact: String = inner.chars().filter(|character| !character.is_whitespace()).collect();
    STANDARD.decode(compact).map_err(|_| ArmorError::Damaged { expected })
}

fn between(content: Content, text: &str) -> Option<&str> {
    let title = content.title();
    let (_, after) = text.split_once(&format!("{BEGIN}{title}{DASHES}"))?;
    let (inner, _) = after.split_once(&format!("{END}{title}{DASHES}"))?;
    Some(inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn survives_mail() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = write(Content::Card, &bytes);
        assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
        let mailed = ["Dear Ann,\r\n> ", &text.replace('\n', " \r\n"), "\r\nBob"].concat();
        assert_eq!(read(Content::Card, &mailed).unwrap(), bytes);
    }

    #[test]
    fn says_what_a_file_is() {
        let card = write(Content::Card, b"x");
        let expected = "SHARE ENVELOPE";
        let other = ArmorError::Other { found: "CUSTODIAN CARD", expected };
        assert_eq!(read(Content::Parcel, &card), Err(other));
        assert_eq!(read(Content::Parcel, "hello"), Err(ArmorError::NotFound { expected }));
        assert_eq!(read(Content::Parcel, &card[..30]), Err(ArmorError::NotFound { expected }));
        let damaged = card.replace("eA==", "e?==");
        assert_eq!(read(Content::Card, &damaged), Err(ArmorError::Damaged { expected: "CUSTODIAN CARD" }));
        let long = "x".repeat(ARMOR_BYTES_MAX + 1);
        assert_eq!(read(Content::Card, &long), Err(ArmorError::TooLong { found: ARMOR_BYTES_MAX + 1 }));
    }
}
