//! Which character of a text is mistyped, if it is one.

use super::{BECH32_ALPHABET, PREFIX_CHARS, SHARE_TEXT_CHARS};
use crate::share::ShareKind;

/// Remainder of a right bech32m text (BIP-350).
const BECH32M_REMAINDER: u32 = 0x2bc8_30a3;

/// Place (from 1) of the one character whose replacement makes the checksum right, if there is one. The code
/// is linear: a wrong character adds its difference, shifted by its distance from the end, to the remainder.
/// (The corrector of the `bech32` crate does this too, but panics on some texts with several mistakes.)
pub(super) fn mistyped(kind: ShareKind, text: &str) -> Option<usize> {
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
