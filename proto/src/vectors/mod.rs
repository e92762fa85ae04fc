//! Known answers: section 14 of `docs/skb1.md`, and RFC 9497 through the remote's real code path.
//!
//! They live inside the crate because they fix randomness that the public interface does not let anyone fix.

#![allow(clippy::unwrap_used)]

mod rfc9497;
mod skb1;

use data_encoding::HEXLOWER;

/// A file of `name = value` lines.
struct Vectors(&'static str);

impl Vectors {
    fn text(&self, name: &str) -> &'static str {
        let value = |line: &'static str| line.strip_prefix(name)?.strip_prefix(" = ");
        self.0.lines().find_map(value).unwrap_or_else(|| panic!("no vector {name}"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }
}

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}
