//! A share as the text that a custodian keeps: bech32m, 81 characters (docs/skb1.md section 7.2).
//!
//! With prefix "skf" it is a share of the fragment, with "ske" one of an escrow key (section 8). A custodian
//! who brings the wrong one is told so.
//!
//! [`Share::parse`] also takes the 44 bytes in hex or base64, because tools for Vault's unseal keys pass
//! those on. Only the bech32m form has a checksum; a mistake in the others is found when the share is
//! submitted.

mod checksum;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bech32::Bech32m;
use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError};
use zeroize::Zeroizing;

use self::checksum::mistyped;
use super::bytes::{SHARE_BYTES, Share};
use super::error::ShareTextError;
use super::kind::ShareKind;
use crate::secret::{Secret, wiping};

/// Characters of a share's text form.
pub const SHARE_TEXT_CHARS: usize = 81;
/// Longest text that is looked at; white space may be between the characters.
pub const SHARE_INPUT_BYTES_MAX: usize = 256;

/// Characters of a text's prefix and its separator.
const PREFIX_CHARS: usize = 4;
const BECH32_ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const HEX_CHARS: usize = 2 * SHARE_BYTES;
/// Characters of 44 bytes in base64, with its one padding character and without.
const BASE64_CHARS: [usize; 2] = [59, 60];

impl Share {
    /// Reads what a custodian typed or pasted: the text form, or hex or base64 of the 44 bytes. White space
    /// anywhere is ignored.
    pub fn parse(text: &str) -> Result<Self, ShareTextError> {
        wiping(|| parse_any(text))
    }

    /// The text form, wiped when dropped. Show it to its custodian once and nobody else.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SHARE_TEXT_CHARS));
        wiping(|| {
            bech32::encode_lower_to_fmt::<Bech32m, _>(&mut *text, self.kind().hrp(), self.to_bytes().expose())
        })
        .expect("44 bytes are fewer than bech32m's limit, and writing to a String does not fail");
        text
    }
}

/// Chooses the form by prefix and length.
fn parse_any(text: &str) -> Result<Share, ShareTextError> {
    if text.len() > SHARE_INPUT_BYTES_MAX {
        return Err(ShareTextError::Length { found: text.len() });
    }
    let mut compact = Zeroizing::new(String::with_capacity(text.len()));
    for (index, character) in text.chars().filter(|character| !character.is_whitespace()).enumerate() {
        if !character.is_ascii_graphic() {
            return Err(ShareTextError::Character { at: index + 1 });
        }
        compact.push(character);
    }
    let begins_with =
        |prefix: &str| compact.get(..PREFIX_CHARS).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if let Some(kind) = ShareKind::ALL.into_iter().find(|kind| begins_with(kind.prefix())) {
        return parse_bech32(kind, &compact);
    }
    let mut bytes = Secret::<SHARE_BYTES>::zeroed();
    match compact.len() {
        HEX_CHARS => {
            let written =
                data_encoding::HEXLOWER_PERMISSIVE.decode_mut(compact.as_bytes(), bytes.expose_mut());
            written.map_err(|_| ShareTextError::Encoding)?;
        }
        found if BASE64_CHARS.contains(&found) => decode_base64(&compact, &mut bytes)?,
        found => return Err(ShareTextError::Length { found }),
    }
    Share::from_bytes(bytes.expose())
}

/// Base64 with the standard or the URL alphabet, padded or not.
fn decode_base64(text: &str, bytes: &mut Secret<SHARE_BYTES>) -> Result<(), ShareTextError> {
    let alphabet = if text.bytes().any(|byte| byte == b'-' || byte == b'_') {
        alphabet::URL_SAFE
    } else {
        alphabet::STANDARD
    };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    // The decoder wants room for whole groups of three: 45 bytes, of which the last stays empty.
    let mut room = Secret::<64>::zeroed();
    let written = GeneralPurpose::new(&alphabet, config).decode_slice(text, room.expose_mut());
    if written != Ok(SHARE_BYTES) {
        return Err(ShareTextError::Encoding);
    }
    bytes.expose_mut().copy_from_slice(&room.expose()[..SHARE_BYTES]);
    Ok(())
}

fn parse_bech32(kind: ShareKind, text: &str) -> Result<Share, ShareTextError> {
    if text.len() != SHARE_TEXT_CHARS {
        return Err(ShareTextError::TextLength { found: text.len() });
    }
    let is_bech32 = |byte: u8| BECH32_ALPHABET.contains(&byte.to_ascii_lowercase());
    if let Some(index) = text.bytes().skip(PREFIX_CHARS).position(|byte| !is_bech32(byte)) {
        return Err(ShareTextError::Character { at: index + PREFIX_CHARS + 1 });
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
    {
        return Err(ShareTextError::MixedCase);
    }
    let checked = match CheckedHrpstring::new::<Bech32m>(text) {
        Ok(checked) => checked,
        Err(CheckedHrpstringError::Checksum(_)) => {
            return Err(
                mistyped(kind, text).map_or(ShareTextError::Checksum, |at| ShareTextError::Mistyped { at })
            );
        }
        Err(_) => return Err(ShareTextError::Checksum),
    };
    // 71 characters are 355 bits; the three beyond 44 bytes are zero in the one valid text of a share.
    if checked.validate_segwit_padding().is_err() {
        return Err(ShareTextError::Checksum);
    }
    let bytes = Secret::<SHARE_BYTES>::filled_by(|out| {
        for (place, byte) in out.iter_mut().zip(checked.byte_iter()) {
            *place = byte;
        }
    });
    match Share::from_bytes(bytes.expose())? {
        share if share.kind() == kind => Ok(share),
        share => Err(ShareTextError::Version { found: share.kind().byte() }),
    }
}

#[cfg(test)]
mod tests;
