//! A share as 44 bytes and as the text that a custodian keeps (docs/skb1.md section 7.2).
//!
//! ```text
//! share = version(1) ‖ set_id(8) ‖ x(1) ‖ t(1) ‖ n(1) ‖ y(32)      44 bytes
//! text  = bech32m with prefix "skf" or "ske"                       81 characters
//! ```
//!
//! Version 0x01 with prefix "skf" is a share of the fragment; 0x02 with "ske" one of an escrow key (section
//! 8). A custodian who brings the wrong one is told so.
//!
//! [`Share::parse`] also takes the 44 bytes in hex or base64, because tools for Vault's unseal keys pass
//! those on. Only the bech32m form has a checksum; a mistake in the others is found when the share is
//! submitted.

use core::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError};
use bech32::{Bech32m, Hrp};
use zeroize::Zeroizing;

use super::shamir::{Point, Threshold, ThresholdError};
use crate::secret::{Secret, wipe_stack};

/// Bytes of a share.
pub const SHARE_BYTES: usize = 44;
/// Characters of a share's text form.
pub const SHARE_TEXT_CHARS: usize = 81;
/// Longest text that is looked at; white space may be between the characters.
pub const SHARE_INPUT_BYTES_MAX: usize = 256;

/// Characters of a text's prefix and its separator.
const PREFIX_CHARS: usize = 4;
const HEX_CHARS: usize = 2 * SHARE_BYTES;
/// Characters of 44 bytes in base64, with its one padding character and without.
const BASE64_CHARS: [usize; 2] = [59, 60];
/// Remainder of a right bech32m text (BIP-350).
const BECH32M_REMAINDER: u32 = 0x2bc8_30a3;
const BECH32_ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Names a set of shares: shares of different sets do not fit together. Public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId([u8; 8]);

impl SetId {
    /// The id with exactly these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SetId({self})")
    }
}

/// What a share is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ShareKind {
    /// The customer fragment c.
    Fragment = 1,
    /// The private half of an escrow key (section 8).
    Escrow = 2,
}

impl ShareKind {
    const ALL: [Self; 2] = [Self::Fragment, Self::Escrow];

    /// The kind with this number: the first byte of a share and of its set's manifest.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Fragment),
            2 => Some(Self::Escrow),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// What the text form begins with, separator included.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Fragment => "skf1",
            Self::Escrow => "ske1",
        }
    }

    const fn hrp(self) -> Hrp {
        match self {
            Self::Fragment => Hrp::parse_unchecked("skf"),
            Self::Escrow => Hrp::parse_unchecked("ske"),
        }
    }
}

impl fmt::Display for ShareKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Fragment => "the fragment",
            Self::Escrow => "an escrow key",
        })
    }
}

/// One custodian's share. The point is in secret memory; there is no `Clone`, `Debug` or `==`.
pub struct Share {
    kind: ShareKind,
    set_id: SetId,
    threshold: Threshold,
    point: Point,
}

/// Why a text is no share. Says where to look, never what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareTextError {
    /// Neither 81 characters of text, nor hex nor base64 of 44 bytes.
    #[error("a share has 81 characters (skf1… or ske1…), or 88 in hex, or 60 in base64; this has {found}")]
    Length {
        /// Characters without white space.
        found: usize,
    },
    /// Begins like a share but is not 81 characters long.
    #[error(
        "a share that begins with skf1 or ske1 has 81 characters; this has {found}, so some are missing or doubled"
    )]
    TextLength {
        /// Characters without white space.
        found: usize,
    },
    /// A character that this form does not use.
    #[error("character {at} does not belong in a share")]
    Character {
        /// Its place, counted from 1, without white space.
        at: usize,
    },
    /// Capital and small letters.
    #[error("a share is written in small letters or in capitals, not in both")]
    MixedCase,
    /// Exactly one character differs from a valid share.
    #[error("the checksum is wrong; character {at} looks mistyped")]
    Mistyped {
        /// Its place, counted from 1, without white space.
        at: usize,
    },
    /// More than one character is wrong.
    #[error("the checksum is wrong; more than one character is mistyped")]
    Checksum,
    /// Not hex, not base64.
    #[error("this is not hex and not base64")]
    Encoding,
    /// Made by a version that does not exist yet, or under the prefix of the other kind.
    #[error(
        "share format {found} is not known to this version, or does not go with the text's first letters"
    )]
    Version {
        /// The format number.
        found: u8,
    },
    /// t and n are no threshold.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// The share's number is not among its set's.
    #[error("share number {x} in a set of {total}")]
    Number {
        /// The number.
        x: u8,
        /// Shares of the set.
        total: u8,
    },
}

impl Share {
    /// Puts a share together.
    pub(super) const fn new(kind: ShareKind, set_id: SetId, threshold: Threshold, point: Point) -> Self {
        Self { kind, set_id, threshold, point }
    }

    /// What it is a share of.
    #[must_use]
    pub const fn kind(&self) -> ShareKind {
        self.kind
    }

    /// The set it belongs to.
    #[must_use]
    pub const fn set_id(&self) -> SetId {
        self.set_id
    }

    /// Its number in the set, from 1.
    #[must_use]
    pub const fn x(&self) -> u8 {
        self.point.x
    }

    /// How many of how many shares are needed, as this share says.
    #[must_use]
    pub const fn threshold(&self) -> Threshold {
        self.threshold
    }

    pub(super) const fn point(&self) -> &Point {
        &self.point
    }

    /// Reads what a custodian typed or pasted: the text form, or hex or base64 of the 44 bytes. White space
    /// anywhere is ignored.
    pub fn parse(text: &str) -> Result<Self, ShareTextError> {
        let share = parse_any(text);
        wipe_stack();
        share
    }

    /// Reads the 44 bytes.
    pub fn from_bytes(bytes: &[u8; SHARE_BYTES]) -> Result<Self, ShareTextError> {
        let [version, a, b, c, d, e, f, g, h, x, needed, total, y @ ..] = bytes;
        let kind = ShareKind::from_byte(*version).ok_or(ShareTextError::Version { found: *version })?;
        let threshold = Threshold::new(*needed, *total)?;
        if *x == 0 || *x > *total {
            return Err(ShareTextError::Number { x: *x, total: *total });
        }
        let set_id = SetId([*a, *b, *c, *d, *e, *f, *g, *h]);
        let point = Point { x: *x, y: Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(y)) };
        Ok(Self { kind, set_id, threshold, point })
    }

    /// The 44 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<SHARE_BYTES> {
        Secret::filled_by(|out| {
            out[0] = self.kind.byte();
            out[1..9].copy_from_slice(&self.set_id.0);
            out[9] = self.point.x;
            out[10] = self.threshold.needed();
            out[11] = self.threshold.total();
            out[12..].copy_from_slice(self.point.y.expose());
        })
    }

    /// The text form, wiped when dropped. Show it to its custodian once and nobody else.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SHARE_TEXT_CHARS));
        bech32::encode_lower_to_fmt::<Bech32m, _>(&mut *text, self.kind.hrp(), self.to_bytes().expose())
            .expect("44 bytes are fewer than bech32m's limit, and writing to a String does not fail");
        wipe_stack();
        text
    }
}

/// Chooses the form by prefix and length.
#[inline(never)]
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
        share if share.kind == kind => Ok(share),
        share => Err(ShareTextError::Version { found: share.kind.byte() }),
    }
}

/// Place (from 1) of the one character whose replacement makes the checksum right, if there is one. The code
/// is linear: a wrong character adds its difference, shifted by its distance from the end, to the remainder.
/// (The corrector of the `bech32` crate does this too, but panics on some texts with several mistakes.)
fn mistyped(kind: ShareKind, text: &str) -> Option<usize> {
    // BIP-173: the high bits of the prefix, a zero, its low bits; then the characters' values.
    let low = |byte: u8| u32::from(byte & 31);
    let letters = kind.prefix().bytes().take(PREFIX_CHARS - 1);
    let prefix = [3, 3, 3, 0].into_iter().chain(letters.map(low));
    let value = |byte: u8| {
        BECH32_ALPHABET.iter().zip(0..).find(|(letter, _)| **letter == byte).map(|(_, value)| value)
    };
    let values = text.bytes().skip(PREFIX_CHARS).filter_map(|byte| value(byte.to_ascii_lowercase()));
    let wanted = prefix.chain(values).fold(1, remainder_step) ^ BECH32M_REMAINDER;
    (1..32_u32).find_map(|difference| {
        let shifted =
            core::iter::successors(Some(difference), |remainder| Some(remainder_step(*remainder, 0)));
        let distance =
            shifted.take(SHARE_TEXT_CHARS - PREFIX_CHARS).position(|remainder| remainder == wanted)?;
        Some(SHARE_TEXT_CHARS - distance)
    })
}

/// One step of BIP-173's polynomial division.
fn remainder_step(remainder: u32, value: u32) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = remainder >> 25;
    let shifted = ((remainder & 0x01ff_ffff) << 5) ^ value;
    GENERATOR
        .iter()
        .enumerate()
        .fold(shifted, |sum, (bit, term)| if top >> bit & 1 == 1 { sum ^ term } else { sum })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn share(y: [u8; 32]) -> Share {
        let point = Point { x: 2, y: Secret::filled_by(|out| *out = y) };
        Share::new(ShareKind::Fragment, SetId(*b"8 bytes!"), Threshold::new(2, 3).unwrap(), point)
    }

    fn error(text: &str) -> ShareTextError {
        Share::parse(text).err().unwrap()
    }

    #[test]
    fn all_forms_give_the_same_share() {
        // 0xfb and 0xff give the characters that differ between the two base64 alphabets.
        let original = share([0xfb; 32]);
        let bytes = original.to_bytes();
        let text = original.to_text();
        assert_eq!(text.len(), SHARE_TEXT_CHARS);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.expose());
        let forms = [
            text.to_string(),
            text.to_uppercase(),
            format!("  {} {}\n", &text[..40], &text[40..]),
            data_encoding::HEXLOWER.encode(bytes.expose()),
            data_encoding::HEXUPPER.encode(bytes.expose()),
            base64::engine::general_purpose::STANDARD.encode(bytes.expose()),
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes.expose()),
            base64::engine::general_purpose::URL_SAFE.encode(bytes.expose()),
            url,
        ];
        for form in forms {
            let found = Share::parse(&form).unwrap();
            assert!(found.to_bytes().same_as(&bytes), "{form}");
        }
    }

    #[test]
    fn every_single_mistake_is_located() {
        let text = share([0x31; 32]).to_text();
        for index in 4..SHARE_TEXT_CHARS {
            let mut wrong = text.as_bytes().to_vec();
            wrong[index] = if wrong[index] == b'q' { b'p' } else { b'q' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(error(&wrong), ShareTextError::Mistyped { at: index + 1 });
        }
    }

    #[test]
    fn an_escrow_share_says_what_it_is() {
        let point = Point { x: 2, y: Secret::filled_by(|out| out.fill(0x31)) };
        let escrow = Share::new(ShareKind::Escrow, SetId(*b"8 bytes!"), Threshold::new(2, 3).unwrap(), point);
        let text = escrow.to_text();
        assert!(text.starts_with("ske1"));
        let found = Share::parse(&text).unwrap();
        assert_eq!(found.kind(), ShareKind::Escrow);
        assert!(found.to_bytes().same_as(&escrow.to_bytes()));
        let mut wrong = text.to_string().into_bytes();
        wrong[40] = if wrong[40] == b'q' { b'p' } else { b'q' };
        assert_eq!(error(&String::from_utf8(wrong).unwrap()), ShareTextError::Mistyped { at: 41 });
        // The bytes of one kind under the letters of the other, with a right checksum.
        let hrp = ShareKind::Fragment.hrp();
        let dressed = bech32::encode::<Bech32m>(hrp, escrow.to_bytes().expose()).unwrap();
        assert_eq!(error(&dressed), ShareTextError::Version { found: 2 });
    }

    #[test]
    fn what_is_no_share_is_explained() {
        let text = share([7; 32]).to_text().to_string();
        assert_eq!(error(""), ShareTextError::Length { found: 0 });
        assert_eq!(error("hunter2"), ShareTextError::Length { found: 7 });
        assert_eq!(error(&"x".repeat(1000)), ShareTextError::Length { found: 1000 });
        assert_eq!(error(&text[..80]), ShareTextError::TextLength { found: 80 });
        assert_eq!(error(&format!("{}q", &text)), ShareTextError::TextLength { found: 82 });
        assert_eq!(error(&text.replacen("skf1", "skg1", 1)), ShareTextError::Length { found: 81 });
        assert_eq!(error(&format!("{}b", &text[..80])), ShareTextError::Character { at: 81 });
        assert_eq!(error(&format!("SKF1{}", &text[4..])), ShareTextError::MixedCase);
        assert_eq!(error(&"é".repeat(44)), ShareTextError::Character { at: 1 });
        assert_eq!(error(&"zz".repeat(44)), ShareTextError::Encoding);
        assert_eq!(error(&"!".repeat(60)), ShareTextError::Encoding);
        let two_wrong = text.replacen(&text[10..12], if &text[10..12] == "qq" { "pp" } else { "qq" }, 1);
        assert!(matches!(error(&two_wrong), ShareTextError::Checksum | ShareTextError::Mistyped { .. }));
    }

    #[test]
    fn fields_are_checked() {
        let bytes = *share([7; 32]).to_bytes().expose();
        let with = |index: usize, value: u8| {
            let mut changed = bytes;
            changed[index] = value;
            Share::from_bytes(&changed).err().unwrap()
        };
        assert_eq!(with(0, 3), ShareTextError::Version { found: 3 });
        assert_eq!(with(9, 0), ShareTextError::Number { x: 0, total: 3 });
        assert_eq!(with(9, 4), ShareTextError::Number { x: 4, total: 3 });
        assert_eq!(with(10, 1), ShareTextError::Threshold(ThresholdError { needed: 1, total: 3 }));
        assert_eq!(with(11, 1), ShareTextError::Threshold(ThresholdError { needed: 2, total: 1 }));
    }

    proptest! {
        #[test]
        fn any_text_gives_a_share_or_an_error(text in "(skf1)?[ -~]{0,90}") {
            let _ = Share::parse(&text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_checksum_failure_is_survived(data in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{77}") {
            let refused = Share::parse(&["skf1", &data].concat()).is_err();
            prop_assert!(refused);
        }

        #[test]
        fn text_and_bytes_come_back(y: [u8; 32]) {
            let original = share(y);
            let found = Share::parse(&original.to_text()).unwrap();
            prop_assert!(found.to_bytes().same_as(&original.to_bytes()));
        }
    }
}
