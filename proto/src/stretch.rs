//! Argon2id: a key from what a person remembers, at a price for whoever guesses. Its memory is wiped.
//!
//! The bounds are those of the caller: [`crate::custody`] asks for much memory and is in no hurry, a broker
//! answers many logins.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use crate::secret::{self, Secret};

/// Bytes of the salt.
pub const SALT_BYTES: usize = 16;

/// Why no key comes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StretchError {
    /// No parameters of Argon2id.
    #[error("Argon2id knows no such parameters")]
    Parameters,
    /// The memory that the parameters name cannot be had.
    #[error("there is not enough memory for Argon2id; free some and try again")]
    Memory,
}

/// The key that `phrase` gives with `salt`, for `memory_kib` KiB, `passes` over it and `lanes`.
pub fn argon2id(
    (memory_kib, passes, lanes): (u32, u32, u32),
    phrase: &[u8],
    salt: &[u8; SALT_BYTES],
) -> Result<Secret<32>, StretchError> {
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| StretchError::Parameters)?;
    let mut memory = blocks(params.block_count())?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let key = secret::wiping(|| {
        Secret::try_filled_by(|out: &mut [u8; 32]| {
            argon.hash_password_into_with_memory(phrase, salt, out, memory.as_mut_slice())
        })
    });
    key.map_err(|_| StretchError::Parameters)
}

/// Memory is asked for, not taken for granted: a refusal is an error and not the end of the process.
fn blocks(count: usize) -> Result<Zeroizing<Vec<Block>>, StretchError> {
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(count).map_err(|_| StretchError::Memory)?;
    blocks.resize(count, Block::new());
    Ok(Zeroizing::new(blocks))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_argon2id_does_not_know_is_an_error() {
        for cost in [(0, 1, 1), (8, 0, 1), (8, 1, 0)] {
            assert_eq!(argon2id(cost, b"x", &[0; SALT_BYTES]).err(), Some(StretchError::Parameters));
        }
    }

    #[test]
    fn every_argument_counts() {
        let key = |cost, phrase: &[u8], salt| argon2id(cost, phrase, &[salt; SALT_BYTES]).unwrap();
        let plain = key((16, 1, 1), b"x", 0);
        assert!(plain.same_as(&key((16, 1, 1), b"x", 0)));
        let others = [
            key((24, 1, 1), b"x", 0),
            key((16, 2, 1), b"x", 0),
            key((16, 1, 2), b"x", 0),
            key((16, 1, 1), b"y", 0),
            key((16, 1, 1), b"x", 1),
        ];
        assert!(others.iter().all(|other| !plain.same_as(other)));
    }
}
