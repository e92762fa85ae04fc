//! What proves that the answer of `init` has arrived: a hash of everything in it. Only then is what was made
//! in force, so an answer that is lost on its way costs nothing but another `init`.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::label;

/// SHA-256 over every secret of the answer, and its log key. It tells nothing about them: the root token
/// alone cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt([u8; 32]);

/// Not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a receipt of `init` is 64 hex digits")]
pub struct ReceiptError;

impl Receipt {
    /// For the texts of an answer: root token, log key, and then the shares or parcels in their order.
    #[must_use]
    pub fn of<'a>(root_token: &'a str, log_key: &'a str, shares: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new_with_prefix(label::INIT_RECEIPT);
        for text in [root_token, log_key].into_iter().chain(shares) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// Reads hex digits.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| ReceiptError)?;
        bytes.try_into().map(Self).map_err(|_| ReceiptError)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_of_everything_and_in_its_place() {
        let whole = Receipt::of("root", "log", ["a", "b"]);
        assert_eq!(Receipt::parse(&whole.to_string()), Ok(whole));
        for other in [
            Receipt::of("root", "log", ["a"]),
            Receipt::of("root", "log", ["b", "a"]),
            Receipt::of("root", "log", ["ab"]),
            Receipt::of("rootlog", "", ["a", "b"]),
        ] {
            assert_ne!(whole, other);
        }
        assert_eq!(Receipt::parse("00"), Err(ReceiptError));
    }
}
