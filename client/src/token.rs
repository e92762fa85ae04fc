//! Tokens as clients hold them: checked once, never printed by accident, wiped on drop.

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

/// Longest token in bytes. Machine tokens are sealed state and longer than service tokens.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// A bearer token. It has no `Debug`, no `Display` and no `==`; [`Token::expose`] is the one way to its text.
pub struct Token(Zeroizing<String>);

/// Why a text is not a token. Says nothing of the text itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Nothing there.
    #[error("the token is empty")]
    Empty,
    /// Longer than any token of ours.
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
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text, for the wire or for a file that only its owner may read.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A header value that HTTP libraries neither log nor index.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&self.0).expect("graphic ASCII, checked in new()");
        value.set_sensitive(true);
        value
    }
}

/// Any other text that must not be printed by accident, such as a share: no `Debug`, wiped on drop.
#[derive(serde::Deserialize)]
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
}
