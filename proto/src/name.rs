//! Keyed hashes that stand for names on disk (`docs/skb1.md` 6.2, use of K_index, and 16.60) and in what
//! leaves for other systems (16.84).
//!
//! Equal names hash alike, so a reader finds a row without knowing its neighbours; without the key a hash
//! says nothing. The key outlives fragment epochs, so it is not K_index itself, which opens rows.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::Zeroize;

use crate::hierarchy::{AuditKey, IndexKey, KEY_BYTES, NameKey, SinkKey};
use crate::id::MountId;
use crate::label;
use crate::primitives;
use crate::secret::{Secret, wiping};

/// Bytes of a name hash.
pub const NAME_HASH_BYTES: usize = 16;

impl NameKey {
    /// `HMAC-SHA-512(K_index[1], "SKB1/hashing-key")[..32]`: from the first epoch of the first fragment, and
    /// then for good.
    #[must_use]
    pub fn of(first: &IndexKey) -> Self {
        wiping(|| {
            Self::from_secret(Secret::filled_by(|out| {
                let mut tag = primitives::hmac(first.secret().expose(), &[label::NAME_KEY]);
                out.copy_from_slice(&tag[..KEY_BYTES]);
                tag.zeroize();
            }))
        })
    }

    /// `HMAC-SHA-512(K_names, "SKB1/name" ‖ table(1) ‖ scope(16) ‖ name)[..16]`: the name comes last, so
    /// nothing is ambiguous.
    #[must_use]
    pub fn name_hash(&self, table: u8, scope: &MountId, name: &[u8]) -> [u8; NAME_HASH_BYTES] {
        wiping(|| self.name_hash_unwiped(table, scope, name))
    }

    fn name_hash_unwiped(&self, table: u8, scope: &MountId, name: &[u8]) -> [u8; NAME_HASH_BYTES] {
        let mut mac =
            Hmac::<Sha512>::new_from_slice(self.secret().expose()).expect("HMAC takes keys of any length");
        mac.update(label::NAME);
        mac.update(&[table]);
        mac.update(scope.as_bytes());
        mac.update(name);
        let tag: [u8; 64] = mac.finalize().into_bytes().into();
        let mut hash = [0; NAME_HASH_BYTES];
        hash.copy_from_slice(&tag[..NAME_HASH_BYTES]);
        hash
    }
}

impl SinkKey {
    /// `HMAC-SHA-512(K_audit, "SKB1/sinks-key")[..32]`: one for a deployment, for as long as it has its log.
    #[must_use]
    pub fn of(audit: &AuditKey) -> Self {
        wiping(|| {
            Self::from_secret(Secret::filled_by(|out| {
                let mut tag = primitives::hmac(audit.secret().expose(), &[label::SINK_KEY]);
                out.copy_from_slice(&tag[..KEY_BYTES]);
                tag.zeroize();
            }))
        })
    }

    /// `HMAC-SHA-512(K_sinks, "SKB1/sink-name" ‖ name)[..16]`: whatever the name is of.
    #[must_use]
    pub fn name_hash(&self, name: &[u8]) -> [u8; NAME_HASH_BYTES] {
        wiping(|| {
            let tag = primitives::hmac(self.secret().expose(), &[label::SINK_NAME, name]);
            let mut hash = [0; NAME_HASH_BYTES];
            hash.copy_from_slice(&tag[..NAME_HASH_BYTES]);
            hash
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_scopes_names_and_keys_all_count() {
        let index = |fill: u8| IndexKey::from_secret(Secret::filled_by(|out| out.fill(fill)));
        let key = |fill: u8| NameKey::of(&index(fill));
        assert!(!key(1).secret().same_as(index(1).secret()), "it opens no row");
        let scope = |fill: u8| MountId::from_bytes([fill; 16]);
        let hash = key(1).name_hash(1, &scope(1), b"a");
        assert_eq!(hash, key(1).name_hash(1, &scope(1), b"a"));
        for other in [
            key(2).name_hash(1, &scope(1), b"a"),
            key(1).name_hash(2, &scope(1), b"a"),
            key(1).name_hash(1, &scope(2), b"a"),
            key(1).name_hash(1, &scope(1), b"b"),
        ] {
            assert_ne!(hash, other);
        }
    }

    #[test]
    fn names_for_other_systems_are_under_a_key_of_their_own() {
        let audit = |fill: u8| AuditKey::from_secret(Secret::filled_by(|out| out.fill(fill)));
        let key = |fill: u8| SinkKey::of(&audit(fill));
        assert!(!key(1).secret().same_as(audit(1).secret()), "it opens no detail");
        assert_eq!(key(1).name_hash(b"a"), key(1).name_hash(b"a"));
        assert_ne!(key(1).name_hash(b"a"), key(2).name_hash(b"a"));
        assert_ne!(key(1).name_hash(b"a"), key(1).name_hash(b"b"));
    }
}
