//! Who may order: the officers that a service's configuration names, each by an Ed25519 key.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use thiserror::Error;

use crate::custodian::is_invisible;
use crate::signing::{PublicKeyError, SigningPublicKey};

/// Most officers of one service.
pub const OFFICERS_MAX: usize = 16;

const HRP: Hrp = Hrp::parse_unchecked("sof");
const KEY_TEXT_CHARS: usize = 62;
const NAME_CHARS_MAX: usize = 64;

/// An officer's public key. Its text is bech32m with prefix `sof`, 62 characters, so that a mistyped one is
/// noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OfficerKey(SigningPublicKey);

/// Why a text is no officer's key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OfficerKeyError {
    /// Not 62 characters that begin with `sof1`.
    #[error("an officer's key has 62 characters and begins with sof1; `symbolon officer show` prints it")]
    Form,
    /// The checksum is wrong.
    #[error("the officer's key is mistyped: its checksum is wrong")]
    Checksum,
    /// Well written, but no key.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
}

impl OfficerKey {
    /// The key of an officer.
    pub const fn new(public: SigningPublicKey) -> Self {
        Self(public)
    }

    /// Decodes 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        SigningPublicKey::from_bytes(bytes).map(Self)
    }

    /// The Ed25519 key.
    pub const fn public(&self) -> &SigningPublicKey {
        &self.0
    }
}

impl fmt::Display for OfficerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, self.0.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl FromStr for OfficerKey {
    type Err = OfficerKeyError;

    fn from_str(text: &str) -> Result<Self, OfficerKeyError> {
        let text = text.trim();
        if text.len() != KEY_TEXT_CHARS || !text.is_ascii() || !text[..4].eq_ignore_ascii_case("sof1") {
            return Err(OfficerKeyError::Form);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| OfficerKeyError::Checksum)?;
        checked.validate_segwit_padding().map_err(|_| OfficerKeyError::Checksum)?;
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(checked.byte_iter()).for_each(|(place, byte)| *place = byte);
        Ok(Self::from_bytes(&bytes)?)
    }
}

/// One officer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Officer {
    /// What to call this person; unique.
    pub name: String,
    /// Their key; unique.
    pub key: OfficerKey,
}

/// The officers of a service: none, or at least two different people.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Officers(Vec<Officer>);

/// Why officers are not accepted.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum OfficersError {
    /// One officer can never order anything.
    #[error("name at least two officers, or none: every order needs two")]
    One,
    /// Too many.
    #[error("at most 16 officers")]
    TooMany,
    /// A name that cannot be shown.
    #[error("an officer's name has 1 to 64 printable characters and no blank at either end")]
    Name,
    /// Two with one name.
    #[error("two officers have the same name; one person must not count twice")]
    SameName,
    /// Two with one key.
    #[error("two officers have the same key; one person must not count twice")]
    SameKey,
}

impl Officers {
    /// Checks a list. Names that differ in case only count as the same.
    pub fn new(officers: Vec<Officer>) -> Result<Self, OfficersError> {
        match officers.len() {
            1 => return Err(OfficersError::One),
            0..=OFFICERS_MAX => {}
            _ => return Err(OfficersError::TooMany),
        }
        for (index, officer) in officers.iter().enumerate() {
            check_name(&officer.name)?;
            let before = &officers[..index];
            if before.iter().any(|other| other.name.to_lowercase() == officer.name.to_lowercase()) {
                return Err(OfficersError::SameName);
            }
            if before.iter().any(|other| other.key == officer.key) {
                return Err(OfficersError::SameKey);
            }
        }
        Ok(Self(officers))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Officer> {
        self.0.iter()
    }

    /// Whether there are none, so that nothing can be ordered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The officer with this key.
    pub fn by_key(&self, key: &OfficerKey) -> Option<&Officer> {
        self.0.iter().find(|officer| officer.key == *key)
    }
}

fn check_name(name: &str) -> Result<(), OfficersError> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    // Two names that look alike are one to whoever reads them.
    let is_hidden = |character: char| character.is_control() || is_invisible(character);
    match fits && name.trim() == name && !name.chars().any(is_hidden) {
        true => Ok(()),
        false => Err(OfficersError::Name),
    }
}
