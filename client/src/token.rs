//! Tokens as clients hold them: checked once, never printed by accident, wiped on drop.

use std::fmt;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// Longest token in bytes. Machine tokens are sealed state and longer than service tokens; a JWT may list
/// every role that its issuer knows of us, and the broker takes one of this length.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// A bearer token: the broker's, or a JWT that proves who we are. [`Token::expose`] is the one way to its
/// text, which is wiped when the last clone is dropped.
#[derive(Clone)]
pub struct Token(Arc<Zeroizing<String>>);

/// Why a text is not a token. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing there.
    #[error("the token is empty")]
    Empty,
    /// Longer than any token that the broker takes.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Blanks or control characters inside.
    #[error("the token contains characters that cannot be sent in a header")]
    Characters,
}

impl Token {
    /// Takes a token; white space at the ends is dropped, because files end with a line feed.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        Ok(Self(Arc::new(Zeroizing::new(text.to_owned()))))
    }

    /// The text, for the wire or for a file that only its owner may read.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is the same token. Both are ours, so how long the comparison takes tells nobody anything.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }

    /// A header value that HTTP libraries neither log nor index.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&self.0).expect("graphic ASCII, checked in new()");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

/// Any other text that must not be printed by accident, such as a password in a type that [`crate::Kv::get`]
/// reads: wiped on drop, and `…` in `Debug` output.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText(…)")
    }
}

/// For writing it to a broker; it writes the text.
impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_feed_at_the_end_is_dropped() {
        assert_eq!(Token::new("hvs.abc\n").unwrap().expose(), "hvs.abc");
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused() {
        assert_eq!(Token::new(" ").err(), Some(TokenError::Empty));
        assert_eq!(Token::new("a b").err(), Some(TokenError::Characters));
        assert_eq!(Token::new("a\r\nX-Evil: 1").err(), Some(TokenError::Characters));
        assert_eq!(Token::new(&"a".repeat(TOKEN_BYTES_MAX + 1)).err(), Some(TokenError::TooLong));
    }

    #[test]
    fn the_header_is_marked_as_sensitive() {
        assert!(Token::new("hvs.abc").unwrap().header().is_sensitive());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let token = Token::new("hvs.abc").unwrap();
        assert_eq!(
            format!("{token:?} {:?}", SecretText::from("s3cret".to_owned())),
            "Token(…) SecretText(…)"
        );
    }
}
