//! Why a share is not taken, in words for the person who gave it.

use super::text::{SetId, ShareKind};

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
