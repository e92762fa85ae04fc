//! Fingerprints: a public key as twelve groups of five digits, for two people to compare (`docs/skb1.md`
//! 6.8).
//!
//! The digits are the first 60 bytes of SHA-512(label ‖ key), five bytes a group, each modulo 100,000: 199
//! bits, readable over a telephone in any language.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha512};
use thiserror::Error;

use crate::label;
use crate::signing::SigningPublicKey;

const GROUPS: usize = 12;
const DIGITS: usize = 5;

/// The fingerprint of a public key. `Display` gives groups separated by spaces.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint([u32; GROUPS]);

/// Why a text is not a fingerprint.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FingerprintError {
    /// Not 60 digits.
    #[error("a fingerprint has 60 digits, this has {found}")]
    Length {
        /// Digits found.
        found: usize,
    },
    /// Something other than digits, spaces and dashes.
    #[error("a fingerprint has digits, spaces and dashes only")]
    Character,
}

impl Fingerprint {
    /// The fingerprint of an encoded public key of any kind.
    pub fn of(public_key: &[u8]) -> Self {
        let digest = Sha512::new_with_prefix(label::FINGERPRINT).chain_update(public_key).finalize();
        let (chunks, _) = digest.as_chunks::<DIGITS>();
        let group = |chunk: &[u8; DIGITS]| {
            let number = chunk.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            u32::try_from(number % 100_000).expect("five digits fit in 32 bits")
        };
        Self(std::array::from_fn(|index| group(&chunks[index])))
    }

    /// The fingerprint of a broker: of the SHA-256 of its TLS key's SubjectPublicKeyInfo, then its Ed25519
    /// key.
    pub fn of_broker(spki_sha256: &[u8; 32], signing: &SigningPublicKey) -> Self {
        Self::of(&[spki_sha256.as_slice(), signing.as_bytes()].concat())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{group:05}")?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads 60 digits, with spaces, line breaks and dashes anywhere between them.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut groups = [0_u32; GROUPS];
        let mut found = 0;
        for character in text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '–')) {
            let digit = character.to_digit(10).ok_or(FingerprintError::Character)?;
            if let Some(group) = groups.get_mut(found / DIGITS) {
                *group = *group * 10 + digit;
            }
            found += 1;
        }
        match found == GROUPS * DIGITS {
            true => Ok(Self(groups)),
            false => Err(FingerprintError::Length { found }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reads_what_people_type() {
        let fingerprint = Fingerprint::of(b"key");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 71);
        assert_eq!(text.parse::<Fingerprint>().unwrap(), fingerprint);
        assert_eq!(text.replace(' ', "").parse::<Fingerprint>().unwrap(), fingerprint);
        assert_eq!(text.replace(' ', " - \n").parse::<Fingerprint>().unwrap(), fingerprint);
        assert_ne!(Fingerprint::of(b"kez"), fingerprint);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!("12345".parse::<Fingerprint>(), Err(FingerprintError::Length { found: 5 }));
        assert_eq!("1".repeat(61).parse::<Fingerprint>(), Err(FingerprintError::Length { found: 61 }));
        assert_eq!("12x".parse::<Fingerprint>(), Err(FingerprintError::Character));
    }
}
