//! The rollback anchor: what a remote remembers of a broker's audit log (`docs/skb1.md` 6.9, 16.6).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use subtle::ConstantTimeEq;

use crate::frame::AnchorValue;
use crate::hierarchy::StateKey;
use crate::log::Hash;
use crate::secret::wiping;

impl StateKey {
    /// The anchor of a log: its size as the counter, and `HMAC-SHA-512(K_state, root ‖ size)[..32]`. The
    /// remote sees how often the log grows, and nothing of what is in it.
    #[must_use]
    pub fn anchor(&self, size: u64, root: &Hash) -> AnchorValue {
        AnchorValue { counter: size, value: wiping(|| self.tag(size, root)) }
    }

    /// Whether an anchor was made with this key for a log that had this root when it had as many entries as
    /// the anchor says.
    #[must_use]
    pub fn made_anchor(&self, anchor: &AnchorValue, root: &Hash) -> bool {
        self.anchor(anchor.counter, root).value.ct_eq(&anchor.value).into()
    }

    fn tag(&self, size: u64, root: &Hash) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha512>::new_from_slice(self.secret().expose()).expect("HMAC takes keys of any length");
        mac.update(root.as_bytes());
        mac.update(&size.to_be_bytes());
        let tag: [u8; 64] = mac.finalize().into_bytes().into();
        let mut value = [0; 32];
        value.copy_from_slice(&tag[..32]);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key(byte: u8) -> StateKey {
        StateKey::from_secret(Secret::filled_by(|out| out.fill(byte)))
    }

    #[test]
    fn an_anchor_belongs_to_one_key_size_and_root() {
        let (root, other) = (Hash::from_bytes([1; 32]), Hash::from_bytes([2; 32]));
        let anchor = key(7).anchor(5, &root);
        assert!(key(7).made_anchor(&anchor, &root));
        assert!(!key(7).made_anchor(&anchor, &other));
        assert!(!key(8).made_anchor(&anchor, &root));
        assert!(!key(7).made_anchor(&AnchorValue { counter: 6, ..anchor }, &root));
    }
}
