//! What a new fragment epoch, or a new fragment, takes over from the one before (`docs/skb1.md` 16.60).
//!
//! ```text
//! inherited = format(1)=1 ‖ names(32) ‖ state(32) ‖ audit(32)
//!             ‖ count(1) ‖ count × { epoch(4) ‖ capsule(32) ‖ index(32) }
//! ```
//!
//! Three keys stay for good. What they were used for cannot be made again: the names of tokens and secrets on
//! disk are keyed hashes of what is not stored, entries of the log cannot change, and nodes that were away
//! remember anchors of any age. The keys of the epoch before stay until everything that they encrypted has
//! been re-encrypted, so a broker that is killed meanwhile goes on after its next unseal. All of it lies in
//! one row, encrypted under K_netkey of the present epoch.

use std::sync::Arc;

use symbolon_proto::Zeroizing;
use symbolon_proto::hierarchy::{AuditKey, CapsuleKey, IndexKey, KEY_BYTES, NameKey, PurposeKeys, StateKey};
use symbolon_proto::secret::Secret;

const FORMAT: u8 = 1;
const LASTING_BYTES: usize = 2 + 3 * KEY_BYTES;
const PREVIOUS_BYTES: usize = 4 + 2 * KEY_BYTES;

/// Keys of the first epoch of the first fragment, which stay.
pub struct Lasting {
    /// Hashes the names of rows.
    pub names: NameKey,
    /// Authenticates anchors.
    pub state: StateKey,
    /// Encrypts details of entries.
    pub audit: Arc<AuditKey>,
}

/// Keys of the epoch before the present one. They decrypt what has not been re-encrypted yet, and encrypt
/// nothing.
pub struct Previous {
    /// The fragment epoch they belong to.
    pub epoch: u32,
    /// Opens its capsules.
    pub capsule: CapsuleKey,
    /// Opens its rows.
    pub index: IndexKey,
}

/// Everything that was carried over.
pub struct InheritedKeys {
    /// For good.
    pub lasting: Lasting,
    /// Until all that it encrypted has been re-encrypted.
    pub previous: Option<Previous>,
}

/// Bytes that are not what this version carries over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of earlier fragment epochs cannot be read; restore the store from a backup")]
pub struct ForeignKeys;

impl Lasting {
    /// Those of a first epoch.
    #[must_use]
    pub fn of_first(keys: &PurposeKeys, names: NameKey) -> Self {
        Self {
            names,
            state: StateKey::from_secret(keys.state.secret().duplicate()),
            audit: Arc::new(AuditKey::from_secret(keys.audit.secret().duplicate())),
        }
    }

    /// The same keys for another owner.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            names: NameKey::from_secret(self.names.secret().duplicate()),
            state: StateKey::from_secret(self.state.secret().duplicate()),
            audit: Arc::new(AuditKey::from_secret(self.audit.secret().duplicate())),
        }
    }
}

impl Previous {
    /// What of an epoch's keys decrypts what it encrypted.
    #[must_use]
    pub fn of(keys: &PurposeKeys) -> Self {
        Self {
            epoch: keys.epoch,
            capsule: CapsuleKey::from_secret(keys.capsule.secret().duplicate()),
            index: IndexKey::from_secret(keys.index.secret().duplicate()),
        }
    }
}

impl Previous {
    /// The same keys for another owner.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            epoch: self.epoch,
            capsule: CapsuleKey::from_secret(self.capsule.secret().duplicate()),
            index: IndexKey::from_secret(self.index.secret().duplicate()),
        }
    }
}

impl InheritedKeys {
    /// The bytes of keys that are carried over. Secret: for an encrypted row and nothing else.
    #[must_use]
    pub fn encode(lasting: &Lasting, previous: Option<&Previous>) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(LASTING_BYTES + PREVIOUS_BYTES));
        out.push(FORMAT);
        for key in [lasting.names.secret(), lasting.state.secret(), lasting.audit.secret()] {
            out.extend_from_slice(key.expose());
        }
        out.push(previous.is_some().into());
        if let Some(Previous { epoch, capsule, index }) = previous {
            out.extend_from_slice(&epoch.to_be_bytes());
            out.extend_from_slice(capsule.secret().expose());
            out.extend_from_slice(index.secret().expose());
        }
        out
    }

    /// Reads the bytes of [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ForeignKeys> {
        let (lasting, previous) = bytes.split_at_checked(LASTING_BYTES).ok_or(ForeignKeys)?;
        let [FORMAT, keys @ .., count] = lasting else { return Err(ForeignKeys) };
        let lasting = Lasting {
            names: NameKey::from_secret(key_at(keys, 0)?),
            state: StateKey::from_secret(key_at(keys, 1)?),
            audit: Arc::new(AuditKey::from_secret(key_at(keys, 2)?)),
        };
        let previous = match (count, previous.split_first_chunk()) {
            (0, None) if previous.is_empty() => None,
            (1, Some((epoch, keys))) if previous.len() == PREVIOUS_BYTES => Some(Previous {
                epoch: u32::from_be_bytes(*epoch),
                capsule: CapsuleKey::from_secret(key_at(keys, 0)?),
                index: IndexKey::from_secret(key_at(keys, 1)?),
            }),
            _ => return Err(ForeignKeys),
        };
        Ok(Self { lasting, previous })
    }
}

fn key_at(keys: &[u8], index: usize) -> Result<Secret<KEY_BYTES>, ForeignKeys> {
    let key = keys.get(index * KEY_BYTES..(index + 1) * KEY_BYTES).ok_or(ForeignKeys)?;
    Ok(Secret::filled_by(|out| out.copy_from_slice(key)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_core::UnwrapErr;
    use symbolon_proto::hierarchy::Fragment;
    use symbolon_proto::id::DeploymentId;

    use super::*;

    fn lasting(keys: &PurposeKeys) -> Lasting {
        Lasting::of_first(keys, NameKey::of(&keys.index))
    }

    fn keys(epoch: u32) -> PurposeKeys {
        let fragment = Fragment::random(&mut UnwrapErr(getrandom::SysRng));
        fragment.root(&DeploymentId::from_bytes([1; 16])).purposes(epoch)
    }

    #[test]
    fn keys_come_back_each_in_its_place() {
        let (first, before) = (keys(1), keys(7));
        for previous in [None, Some(Previous::of(&before))] {
            let bytes = InheritedKeys::encode(&lasting(&first), previous.as_ref());
            let back = InheritedKeys::decode(&bytes).unwrap();
            assert!(back.lasting.names.secret().same_as(NameKey::of(&first.index).secret()));
            assert!(back.lasting.state.secret().same_as(first.state.secret()));
            assert!(back.lasting.audit.secret().same_as(first.audit.secret()));
            assert_eq!(back.previous.is_some(), previous.is_some());
            if let Some(previous) = back.previous {
                assert_eq!(previous.epoch, 7);
                assert!(previous.capsule.secret().same_as(before.capsule.secret()));
                assert!(previous.index.secret().same_as(before.index.secret()));
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = InheritedKeys::encode(&lasting(&keys(1)), Some(&Previous::of(&keys(2))));
        for cut in 0..bytes.len() {
            assert_eq!(InheritedKeys::decode(&bytes[..cut]).err(), Some(ForeignKeys), "{cut} bytes");
        }
        for (at, wrong) in [(0, 2), (LASTING_BYTES - 1, 0), (LASTING_BYTES - 1, 2)] {
            let mut changed = bytes.to_vec();
            changed[at] = wrong;
            assert_eq!(InheritedKeys::decode(&changed).err(), Some(ForeignKeys), "byte {at}");
        }
        assert!(InheritedKeys::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
