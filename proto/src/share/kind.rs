//! What a share belongs to: a set, and one of two kinds.

use core::fmt;

use bech32::Hrp;

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
    pub(super) const ALL: [Self; 2] = [Self::Fragment, Self::Escrow];

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

    pub(super) const fn hrp(self) -> Hrp {
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
