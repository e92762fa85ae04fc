//! Names that are folded: policies, roles and users. A policy's may have parts with slashes between them, as
//! in `team/readers`.
//!
//! ASCII only, so that folding is total and no two characters look alike. Nothing but these constructors
//! makes one, so a check and a use cannot disagree about case or blanks (CVE-2025-5999 and its successors).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing left after trimming.
    #[error("the name is empty")]
    Empty,
    /// More than 128 bytes.
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// Outside letters, digits and `-_.:@`, or beginning or ending in punctuation; so each part of a
    /// policy's.
    #[error(
        "the name may have letters, digits and '-', '_', '.', ':', '@' only, and begins and ends with none of these but '_'; the name of a policy may have several such parts, with '/' between them"
    )]
    BadCharacter,
    /// A name of the house that cannot be given to anyone.
    #[error("the name is reserved")]
    Reserved,
}

fn fold(text: &str, is_name: impl FnOnce(&str) -> bool) -> Result<String, NameError> {
    match text.trim() {
        "" => Err(NameError::Empty),
        text if text.len() > NAME_BYTES_MAX => Err(NameError::TooLong),
        text if is_name(text) => Ok(text.to_ascii_lowercase()),
        _ => Err(NameError::BadCharacter),
    }
}

fn is_part(text: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let inside = text.bytes().all(|byte| word(&byte) || b"-.:@".contains(&byte));
    inside && [text.as_bytes().first(), text.as_bytes().last()].into_iter().all(|end| end.is_some_and(word))
}

/// Every part is a name, so none is empty and none is `.` or `..`.
fn has_parts(text: &str) -> bool {
    text.split('/').all(is_part)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $is_name:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Trims, checks and folds a name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                fold(text, $is_name).map(Self)
            }

            /// The folded name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// Name of an ACL policy, such as `reader` or `team/readers`.
    PolicyName, has_parts
}

name! {
    /// Name of a role of an auth method or of a token role.
    RoleName, is_part
}

name! {
    /// Name of a user who logs in with a password.
    UserName, is_part
}

impl PolicyName {
    /// A policy that may be given to a token, role or claim: any but `root` and `response-wrapping`, in
    /// whatever spelling. (`default` may be named; it is the policy that most tokens have anyway.)
    pub fn assignable(text: &str) -> Result<Self, NameError> {
        let name = Self::parse(text)?;
        if name.is_immutable() { Err(NameError::Reserved) } else { Ok(name) }
    }

    /// The policy that allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self(Self::ROOT.to_owned())
    }

    /// The policy that tokens have unless they refuse it.
    #[must_use]
    pub fn default_policy() -> Self {
        Self(Self::DEFAULT.to_owned())
    }

    /// The policy of wrapping tokens.
    #[must_use]
    pub fn response_wrapping() -> Self {
        Self(Self::RESPONSE_WRAPPING.to_owned())
    }

    /// Whether this is `response-wrapping`.
    #[must_use]
    pub fn is_response_wrapping(&self) -> bool {
        self.0 == Self::RESPONSE_WRAPPING
    }

    /// Whether this is `root`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == Self::ROOT
    }

    /// Whether this is `default`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }

    /// Whether nobody may write this policy: `root` and `response-wrapping`.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.is_root() || self.is_response_wrapping()
    }

    const ROOT: &str = "root";
    const DEFAULT: &str = "default";
    const RESPONSE_WRAPPING: &str = "response-wrapping";
}
