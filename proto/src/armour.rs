//! Bytes as a text that people mail to each other and keep in files: base64 between two marked lines.
//!
//! ```text
//! -----BEGIN SYMBOLON ORDER-----
//! U0tCMS9vcmRlcgEB…                       64 characters a line
//! -----END SYMBOLON ORDER-----
//! ```
//!
//! The lines say what a text is, so a card given in place of an envelope is named and not called damaged.
//! Nothing may stand outside them: a sentence beside a signed text would be believed although nobody signed
//! it. What is inside is authenticated by its own signature or seal; the armour only has to survive mail
//! programs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Longest text that is looked at, in bytes, of any kind.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

const LINE_CHARS: usize = 64;
const BEGIN: &str = "-----BEGIN SYMBOLON ";
const END: &str = "-----END SYMBOLON ";
const DASHES: &str = "-----";

/// What a text holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Order,
    Certificate,
    Card,
    KeyFile,
    Parcel,
    EscrowKey,
    Transcript,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Order,
        Self::Certificate,
        Self::Card,
        Self::KeyFile,
        Self::Parcel,
        Self::EscrowKey,
        Self::Transcript,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Order => "ORDER",
            Self::Certificate => "CERTIFICATE OF DESTRUCTION",
            Self::Card => "CUSTODIAN CARD",
            Self::KeyFile => "KEY FILE",
            Self::Parcel => "SHARE ENVELOPE",
            Self::EscrowKey => "ESCROW KEY",
            Self::Transcript => "CEREMONY TRANSCRIPT",
        }
    }

    /// Longest text of this kind, in bytes. Room for the longest binary form, and for other line lengths.
    const fn text_bytes_max(self) -> usize {
        match self {
            Self::Order | Self::Certificate => 16 * 1024,
            Self::Card | Self::KeyFile | Self::Parcel | Self::EscrowKey => 96 * 1024,
            Self::Transcript => TEXT_BYTES_MAX,
        }
    }

    fn begin(self) -> String {
        format!("{BEGIN}{}{DASHES}", self.title())
    }

    fn end(self) -> String {
        format!("{END}{}{DASHES}", self.title())
    }

    /// Whether a text has both lines somewhere.
    fn is_in(self, text: &str) -> bool {
        text.split_once(&self.begin()).is_some_and(|(_, after)| after.contains(&self.end()))
    }
}

/// Why a text is not what it should be. Never says what stood there.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ArmourError {
    /// Longer than any of its kind.
    #[error("the text has {found} bytes, and no {expected} has more than {most}")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        most: usize,
        /// What was asked for.
        expected: &'static str,
    },
    /// No first or last line.
    #[error(
        "expected a text that begins with -----BEGIN SYMBOLON {expected}----- and ends with its END line"
    )]
    NotFound {
        /// What was asked for.
        expected: &'static str,
    },
    /// Another kind of ours.
    #[error("expected a text of kind {expected}, found one of kind {found}; give the other file")]
    Other {
        /// What it is.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// Words before the first line or after the last.
    #[error(
        "something stands before the BEGIN line or after the END line of the {expected}; take it out, it is no part of it"
    )]
    Outside {
        /// What was asked for.
        expected: &'static str,
    },
    /// Not base64 between the lines.
    #[error(
        "the {expected} is damaged: the lines between BEGIN and END are not base64; a character was lost or changed"
    )]
    Damaged {
        /// What was asked for.
        expected: &'static str,
    },
}

/// The text form of `bytes`, ending with a line break.
pub(crate) fn encode(kind: Kind, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut text = format!("{}\n", kind.begin());
    for line in body.as_bytes().chunks(LINE_CHARS) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("{}\n", kind.end()));
    text
}

/// The bytes of a text form. White space at either end and other line lengths are forgiven, nothing else.
pub(crate) fn decode(kind: Kind, text: &str) -> Result<Vec<u8>, ArmourError> {
    let (expected, found, most) = (kind.title(), text.len(), kind.text_bytes_max());
    if found > most {
        return Err(ArmourError::TooLong { found, most, expected });
    }
    let inner = text.trim_ascii().strip_prefix(&kind.begin()).and_then(|text| text.strip_suffix(&kind.end()));
    let inner = inner.ok_or_else(|| what_else(kind, text))?;
    let body: String = inner.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    STANDARD.decode(body).map_err(|_| ArmourError::Damaged { expected })
}

/// What a text is that is not of this kind and nothing else.
fn what_else(kind: Kind, text: &str) -> ArmourError {
    let expected = kind.title();
    if kind.is_in(text) {
        return ArmourError::Outside { expected };
    }
    let other = Kind::ALL.into_iter().find(|other| other.is_in(text));
    other.map_or(ArmourError::NotFound { expected }, |other| ArmourError::Other {
        found: other.title(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ORDER: ArmourError = ArmourError::NotFound { expected: "ORDER" };

    #[test]
    fn bytes_come_back_through_mail() {
        for length in [0, 1, 47, 48, 49, 500] {
            let bytes = vec![0xa7; length];
            let text = encode(Kind::Order, &bytes);
            assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
            assert_eq!(decode(Kind::Order, &text).unwrap(), bytes);
            assert_eq!(decode(Kind::Order, &format!("\n {} ", text.replace('\n', " \r\n"))).unwrap(), bytes);
        }
    }

    #[test]
    fn the_text_forms_are_those_of_every_version() {
        let text = |kind: Kind| encode(kind, &[0xa7; 50]);
        let lines = "p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6en\np6c=\n";
        for (kind, title) in [
            (Kind::Order, "ORDER"),
            (Kind::Certificate, "CERTIFICATE OF DESTRUCTION"),
            (Kind::Card, "CUSTODIAN CARD"),
            (Kind::KeyFile, "KEY FILE"),
            (Kind::Parcel, "SHARE ENVELOPE"),
            (Kind::EscrowKey, "ESCROW KEY"),
            (Kind::Transcript, "CEREMONY TRANSCRIPT"),
        ] {
            let expected =
                format!("-----BEGIN SYMBOLON {title}-----\n{lines}-----END SYMBOLON {title}-----\n");
            assert_eq!(text(kind), expected);
        }
    }

    #[test]
    fn says_what_a_text_is() {
        let card = encode(Kind::Card, b"x");
        let other = ArmourError::Other { found: "CUSTODIAN CARD", expected: "ORDER" };
        assert_eq!(decode(Kind::Order, &card), Err(other));
        assert_eq!(decode(Kind::Order, &format!("Dear Ann,\n{card}")), Err(other));
        assert_eq!(decode(Kind::Order, "hello"), Err(ORDER));
        let order = encode(Kind::Order, b"bytes");
        assert_eq!(decode(Kind::Order, &order[..40]), Err(ORDER));
        assert_eq!(
            decode(Kind::Order, &order.replace("Yn", "Y!")),
            Err(ArmourError::Damaged { expected: "ORDER" })
        );
    }

    #[test]
    fn a_sentence_beside_the_text_is_not_believed() {
        let outside = Err(ArmourError::Outside { expected: "ORDER" });
        let order = encode(Kind::Order, b"bytes");
        let card = encode(Kind::Card, b"x");
        for text in [format!("destroy all\n{order}"), format!("{order}by noon"), format!("{order}{card}")] {
            assert_eq!(decode(Kind::Order, &text), outside);
        }
        assert!(decode(Kind::Order, &format!("{order}{order}")).is_err(), "two are not one");
    }

    #[test]
    fn every_kind_has_its_bound() {
        for kind in Kind::ALL {
            let (found, most, expected) = (kind.text_bytes_max() + 1, kind.text_bytes_max(), kind.title());
            let too_long = Err(ArmourError::TooLong { found, most, expected });
            assert_eq!(decode(kind, &"x".repeat(found)), too_long);
            assert!(most <= TEXT_BYTES_MAX);
        }
    }

    /// Each byte string has one text, white space apart: nobody can make a second file of the same signature.
    #[test]
    fn base64_is_taken_in_one_spelling_only() {
        let order = encode(Kind::Order, b"x");
        assert!(order.contains("eA=="));
        for other in ["eB==", "eA", "eA=", "eA==eA==", "e-=="] {
            let text = order.replace("eA==", other);
            assert_eq!(
                decode(Kind::Order, &text),
                Err(ArmourError::Damaged { expected: "ORDER" }),
                "{other}"
            );
        }
    }
}
