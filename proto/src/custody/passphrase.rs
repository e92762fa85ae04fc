//! From a passphrase to a key: Argon2id within bounds (docs/skb1.md section 7.4).

use thiserror::Error;

use crate::secret::Secret;
pub use crate::stretch::SALT_BYTES;
use crate::stretch::{self, StretchError};

/// Longest passphrase accepted, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Memory below which a passphrase is not protected enough (7.4), in KiB.
pub const MEMORY_KIB_MIN: u32 = 64 << 10;
/// Memory above which a tampered header would only exhaust this machine, in KiB.
pub const MEMORY_KIB_MAX: u32 = 4 << 20;
/// Fewest passes of Argon2id (7.4).
pub const PASSES_MIN: u32 = 3;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

/// Argon2id parameters within the accepted bounds: what guessing one passphrase costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PassphraseCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why no key comes out of a passphrase.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PassphraseError {
    /// Argon2id parameters outside the accepted range.
    #[error(
        "passphrase parameters are refused: at least 64 MiB and 3 passes, at most 4 GiB, 64 passes and 16 lanes"
    )]
    Cost,
    /// Empty or oversized passphrase.
    #[error("the passphrase must have 1 to 1024 bytes")]
    Length,
    /// Argon2id could not get its memory.
    #[error("there is not enough memory to stretch the passphrase; free some and try again")]
    Memory,
}

impl Default for PassphraseCost {
    /// 256 MiB, three passes, one lane (7.4).
    fn default() -> Self {
        Self { memory_kib: 256 << 10, passes: 3, lanes: 1 }
    }
}

impl PassphraseCost {
    /// `memory_kib` KiB, `passes` passes, `lanes` lanes; refused below 64 MiB or 3 passes and above 4 GiB, 64
    /// passes or 16 lanes.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, PassphraseError> {
        let fits = (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (PASSES_MIN..=PASSES_MAX).contains(&passes)
            && (1..=LANES_MAX).contains(&lanes);
        if fits { Ok(Self { memory_kib, passes, lanes }) } else { Err(PassphraseError::Cost) }
    }

    /// The least that is accepted.
    pub const fn minimum() -> Self {
        Self { memory_kib: MEMORY_KIB_MIN, passes: PASSES_MIN, lanes: 1 }
    }

    /// Memory in KiB.
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over it.
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub const fn lanes(self) -> u32 {
        self.lanes
    }

    /// The key that `phrase` gives with `salt`.
    pub fn stretch(self, phrase: &str, salt: &[u8; SALT_BYTES]) -> Result<Secret<32>, PassphraseError> {
        if phrase.is_empty() || phrase.len() > PASSPHRASE_BYTES_MAX {
            return Err(PassphraseError::Length);
        }
        stretch::argon2id((self.memory_kib, self.passes, self.lanes), phrase.as_bytes(), salt).map_err(
            |error| match error {
                StretchError::Parameters => PassphraseError::Cost,
                StretchError::Memory => PassphraseError::Memory,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn weak_and_absurd_parameters_are_refused() {
        const MEMORY: u32 = MEMORY_KIB_MIN;
        for (memory, passes, lanes) in [
            (MEMORY - 1, 3, 1),
            (MEMORY, 2, 1),
            (MEMORY, 3, 0),
            (MEMORY_KIB_MAX + 1, 3, 1),
            (MEMORY, 65, 1),
            (MEMORY, 3, 17),
        ] {
            let cost = PassphraseCost::new(memory, passes, lanes);
            assert_eq!(cost, Err(PassphraseError::Cost), "{memory} {passes} {lanes}");
        }
        assert_eq!(PassphraseCost::new(MEMORY, 3, 1), Ok(PassphraseCost::minimum()));
    }

    #[test]
    fn phrases_have_bounds() {
        let stretch = |phrase: &str| PassphraseCost::minimum().stretch(phrase, &[0; SALT_BYTES]).err();
        assert_eq!(stretch(""), Some(PassphraseError::Length));
        assert_eq!(stretch(&"x".repeat(PASSPHRASE_BYTES_MAX + 1)), Some(PassphraseError::Length));
    }

    /// Computed with the reference implementation (libargon2, by argon2-cffi 25). Files that were sealed once
    /// must open with every later version.
    #[test]
    fn the_key_is_that_of_argon2id() {
        let key = PassphraseCost::minimum().stretch("four random words", &[7; SALT_BYTES]).unwrap();
        let expected = "a44d864d9817c9642068f08c6faad43474696b2e7eaa8143ceb49dc5ac470df8";
        assert_eq!(data_encoding::HEXLOWER.encode(key.expose()), expected);
    }
}
