//! The key hierarchy under the customer fragment (`docs/skb1.md` section 6.2).
//!
//! ```text
//! Fragment c ── RootKey ──┬─ PurposeKeys[f]: capsule, index, state, net, audit, hedge
//!   (ceremony)  (ceremony) └─ CheckKey (always f = 0)
//! ```
//!
//! The fragment and the root exist during a ceremony only: derive, then drop them. Each purpose is a type of
//! its own, so no key can be used for another's work. A higher fragment epoch f gives unrelated keys.

use std::sync::atomic::{AtomicU64, Ordering};

use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha512;
use zeroize::Zeroize;

use crate::id::DeploymentId;
use crate::label;
use crate::primitives;
use crate::secret::{self, Secret};

/// Bytes of a fragment and of every purpose key.
pub const KEY_BYTES: usize = 32;

/// The customer fragment c.
pub struct Fragment(Secret<KEY_BYTES>);

impl Fragment {
    /// A fresh fragment, for initialisation.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// The fragment recombined from shares.
    pub const fn from_secret(fragment: Secret<KEY_BYTES>) -> Self {
        Self(fragment)
    }

    /// The bytes, for splitting into shares.
    pub const fn secret(&self) -> &Secret<KEY_BYTES> {
        &self.0
    }

    /// PRK_c: HKDF-Extract over the fragment with the deployment as salt.
    pub fn root(&self, deployment: &DeploymentId) -> RootKey {
        secret::wiping(|| self.extract(deployment))
    }

    fn extract(&self, deployment: &DeploymentId) -> RootKey {
        let mut salt = [0; label::ROOT.len() + 16];
        salt[..label::ROOT.len()].copy_from_slice(label::ROOT);
        salt[label::ROOT.len()..].copy_from_slice(deployment.as_bytes());
        RootKey(Secret::filled_by(|out| {
            let (mut prk, _) = Hkdf::<Sha512>::extract(Some(&salt), self.0.expose());
            out.copy_from_slice(&prk);
            prk.zeroize();
        }))
    }
}

/// PRK_c, from which purposes are derived. Drop it with the ceremony.
pub struct RootKey(Secret<64>);

impl RootKey {
    /// The purpose keys of fragment epoch `epoch`.
    pub fn purposes(&self, epoch: u32) -> PurposeKeys {
        secret::wiping(|| PurposeKeys {
            epoch,
            capsule: CapsuleKey(self.expand(label::PURPOSE_CAPSULE, epoch)),
            index: IndexKey(self.expand(label::PURPOSE_INDEX, epoch)),
            state: StateKey(self.expand(label::PURPOSE_STATE, epoch)),
            net: NetKey(self.expand(label::PURPOSE_NETKEY, epoch)),
            audit: AuditKey(self.expand(label::PURPOSE_AUDIT, epoch)),
            hedge: HedgeKey::new(self.expand(label::PURPOSE_HEDGE, epoch)),
        })
    }

    /// The key of the fragment check value; its epoch is always 0.
    pub fn check(&self) -> CheckKey {
        secret::wiping(|| CheckKey(self.expand(label::PURPOSE_CHECK, 0)))
    }

    fn expand(&self, purpose: &[u8], epoch: u32) -> Secret<KEY_BYTES> {
        Secret::filled_by(|out| {
            Hkdf::<Sha512>::from_prk(self.0.expose())
                .expect("the root key has the length of SHA-512 output")
                .expand_multi_info(&[purpose, &epoch.to_be_bytes()], out)
                .expect("32 bytes are fewer than HKDF's limit");
        })
    }
}

macro_rules! purposes {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub struct $name(Secret<KEY_BYTES>);

        impl $name {
            /// The key bytes.
            pub const fn secret(&self) -> &Secret<KEY_BYTES> {
                &self.0
            }

            /// A key that did not come from a fragment, for tests and for deployments in memory.
            pub const fn from_secret(key: Secret<KEY_BYTES>) -> Self {
                Self(key)
            }
        }
    )*};
}

purposes! {
    /// Opens and closes capsules, together with the remote key (6.4).
    CapsuleKey
    /// Encrypts and hashes names and metadata.
    IndexKey
    /// Authenticates local state (6.9).
    StateKey
    /// Encrypts the network identity and the signing keys.
    NetKey
    /// Encrypts and hashes details of audit entries.
    AuditKey
    /// Computes the fragment check value (7.3).
    CheckKey
    /// Hashes names on disk, in every fragment epoch (16.60).
    NameKey
    /// Hashes names in what leaves for other systems (16.84).
    SinkKey
}

/// Hedges the r of capsules: within one unsealed period no two are equal, whatever the operating system's
/// randomness is (6.4). Salts, ids and KEKs are not hedged (16.70).
pub struct HedgeKey {
    key: Secret<KEY_BYTES>,
    counter: AtomicU64,
}

impl HedgeKey {
    /// Takes a derived key; the counter starts at zero.
    pub const fn new(key: Secret<KEY_BYTES>) -> Self {
        Self { key, counter: AtomicU64::new(0) }
    }

    /// HMAC-SHA-512(K_hedge, context ‖ counter), the counter in 8 bytes and never twice the same.
    pub(crate) fn hedge(&self, context: &[u8]) -> [u8; 64] {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        primitives::hmac(self.key.expose(), &[context, &counter.to_be_bytes()])
    }
}

/// The keys of an unsealed broker for one fragment epoch.
pub struct PurposeKeys {
    /// The fragment epoch f.
    pub epoch: u32,
    /// K_capsule.
    pub capsule: CapsuleKey,
    /// K_index.
    pub index: IndexKey,
    /// K_state.
    pub state: StateKey,
    /// K_netkey.
    pub net: NetKey,
    /// K_audit.
    pub audit: AuditKey,
    /// K_hedge.
    pub hedge: HedgeKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_never_repeat() {
        let key = HedgeKey::new(Secret::filled_by(|out| out.fill(7)));
        assert_ne!(key.hedge(b"context"), key.hedge(b"context"));
    }

    #[test]
    fn epochs_and_deployments_are_unrelated() {
        let fragment = Fragment::from_secret(Secret::filled_by(|out| out.fill(1)));
        let root = fragment.root(&DeploymentId::from_bytes([1; 16]));
        let other = fragment.root(&DeploymentId::from_bytes([2; 16]));
        assert!(root.purposes(1).state.secret().same_as(root.purposes(1).state.secret()));
        assert!(!root.purposes(1).state.secret().same_as(root.purposes(2).state.secret()));
        assert!(!root.purposes(1).state.secret().same_as(other.purposes(1).state.secret()));
        assert!(!root.purposes(1).state.secret().same_as(root.purposes(1).audit.secret()));
    }
}
