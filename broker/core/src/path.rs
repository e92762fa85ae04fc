//! Paths and names, each normalised once.
//!
//! The costliest class of Vault CVEs was two spellings of one name: the policy saw one, the handler the
//! other. Here a path or name is parsed in one constructor; policy, routing and storage then share that
//! value. Escapes are decoded once, before anything else looks: `%2F` is a slash that separates, because
//! clients that escape whole names send it so. After that, parsing refuses rather than repairs: no dot
//! segments, no empty segments, nothing that somebody could decode again, no control characters.
//!
//! | Type | What it is | Case |
//! |---|---|---|
//! | [`ApiPath`] | everything after `/v1/` of a request | kept |
//! | [`MountPath`] | where an engine or auth method answers, e.g. `team/secret` | kept |
//! | [`SecretPath`], [`FolderPath`] | a secret or folder below a mount | kept |
//! | [`PolicyName`], [`RoleName`], [`UserName`] | ASCII names | folded |

mod name;
mod secret;

use std::fmt;

pub use name::{NameError, PolicyName, RoleName, UserName};
pub use secret::{Child, FolderPath, MountPath, SecretPath};

/// Longest decoded path in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Most segments of a path.
pub const PATH_SEGMENTS_MAX: usize = 64;
/// Longest encoded path in bytes: every byte of a longest path as `%XX`.
const RAW_BYTES_MAX: usize = 3 * PATH_BYTES_MAX;

/// Why a path was refused. The answer is 400 in every dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing but slashes, or nothing at all.
    #[error("the path is empty")]
    Empty,
    /// More than [`PATH_BYTES_MAX`] bytes.
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`PATH_SEGMENTS_MAX`] segments.
    #[error("the path has more than {PATH_SEGMENTS_MAX} segments")]
    TooDeep,
    /// Two slashes in a row, or one at the start.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`, encoded or not.
    #[error("the path has a '.' or '..' segment")]
    DotSegment,
    /// Decoded, it still has `%2F`, `%5C`, `%2E`, `%25` or an escaped control character: a reader that
    /// decodes once more would see other segments than we do.
    #[error("the path is percent-encoded twice; encode it once")]
    EncodedTwice,
    /// `%` without two hexadecimal digits.
    #[error("the path has a broken percent escape")]
    BadEscape,
    /// The decoded bytes are no UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// NUL or another control character.
    #[error("the path has a control character")]
    ControlCharacter,
}

/// Path of a request after `/v1/`: decoded, checked, without leading or trailing slash.
///
/// A trailing slash is remembered by [`ApiPath::is_list_form`] and is not part of the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiPath {
    text: String,
    list_form: bool,
}

impl ApiPath {
    /// Parses the percent-encoded path of a request line, without `/v1/` and without the query.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if raw.len() > RAW_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let text = percent_decode(raw)?;
        refuse_escapes(&text)?;
        Self::from_decoded(&text)
    }

    /// Checks a path that comes decoded, such as those in the body of `sys/capabilities`.
    pub fn from_decoded(text: &str) -> Result<Self, PathError> {
        let (text, list_form) = match text.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        check_segments(text)?;
        Ok(Self { text: text.to_owned(), list_form })
    }

    /// The normalised path: `secret/data/app`, whatever slash it ended with.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the request spelled a trailing slash.
    #[must_use]
    pub fn is_list_form(&self) -> bool {
        self.list_form
    }

    /// The segments in order; never empty.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/')
    }

    /// What follows the mount, without the slash between; empty if the path is the mount itself; `None` if
    /// the path lies elsewhere. Compares whole segments: `secretive/x` is not below `secret`.
    #[must_use]
    pub fn strip_mount(&self, mount: &MountPath) -> Option<&str> {
        let rest = self.text.strip_prefix(mount.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Decodes `%XX`, once. Slashes come out as separators.
fn percent_decode(raw: &str) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex_digit).ok_or(PathError::BadEscape)?;
        let low = bytes.next().and_then(hex_digit).ok_or(PathError::BadEscape)?;
        out.push(high << 4 | low);
    }
    String::from_utf8(out).map_err(|_| PathError::NotUtf8)
}

/// Refuses what would be another path for somebody who decodes it again.
fn refuse_escapes(decoded: &str) -> Result<(), PathError> {
    for escape in decoded.as_bytes().windows(3) {
        let &[b'%', high, low] = escape else { continue };
        let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low)) else { continue };
        let again = high << 4 | low;
        if matches!(again, b'/' | b'\\' | b'.' | b'%') || again.is_ascii_control() {
            return Err(PathError::EncodedTwice);
        }
    }
    Ok(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The rules that every path of this module obeys.
fn check_segments(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::ControlCharacter);
    }
    for (index, segment) in text.split('/').enumerate() {
        match segment {
            _ if index >= PATH_SEGMENTS_MAX => return Err(PathError::TooDeep),
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
