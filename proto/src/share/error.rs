//! Why a text or bytes are no share, and why a share is not taken, in words for the person who gave it.

use super::kind::{SetId, ShareKind};
use super::shamir::ThresholdError;

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

/// Why a share was not taken. The ceremony is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It belongs to another set: an older one, or another deployment's.
    #[error("foreign share: it belongs to set {found}, this deployment needs shares of set {expected}")]
    Foreign {
        /// The share's set.
        found: SetId,
        /// The set in use.
        expected: SetId,
    },
    /// A share of the fragment where one of an escrow key is needed, or the other way round.
    #[error("this is a share of {found}; a share of {expected} is needed here")]
    Kind {
        /// What it is a share of.
        found: ShareKind,
        /// What is needed.
        expected: ShareKind,
    },
    /// It is not what its holder was dealt.
    #[error("the share of {holder} (number {x}) is wrong or tampered; ask for it again")]
    WrongOrTampered {
        /// Name of the holder.
        holder: String,
        /// Number of the share.
        x: u8,
    },
    /// Nobody in this set has such a share.
    #[error("share number {x} does not exist in this set of {total}")]
    NoSuchHolder {
        /// Number that the share claims.
        x: u8,
        /// Shares of the set.
        total: u8,
    },
    /// The right share, but it is here already.
    #[error("the share of {holder} (number {x}) was already given; {missing} more needed")]
    Duplicate {
        /// Name of the holder.
        holder: String,
        /// Number of the share.
        x: u8,
        /// Shares still missing.
        missing: u8,
    },
    /// Enough shares are here.
    #[error("no more shares are needed: {needed} were given")]
    NotNeeded {
        /// Shares needed.
        needed: u8,
    },
}
