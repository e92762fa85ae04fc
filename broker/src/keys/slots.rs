//! Where capsules are: the rows of the store, and the contexts that bind each capsule to its row.
//!
//! ```text
//! table 0x13   scope ‖ bucket(4) ‖ kek_epoch(4)
//!              KEK of a bucket of at most 1,024 secrets
//! table 0x14   scope ‖ secret_id(16) ‖ version(8) ‖ kek_epoch(4)
//!              key of one version of one secret (high tier)
//! ```
//!
//! A place can be read back from a row's key, so that a rotation can go through all capsules without knowing
//! any secret.

use symbolon_core::keyring::KekSlot;
use symbolon_proto::context::{CapsuleContext, Scope};
use symbolon_proto::id::{CapsuleId, DeploymentId, KeyId, MountId, SecretId, TenantId};

use crate::keys::{CAPSULES, VERSION_CAPSULES};
use crate::rows::{NO_SCOPE, prefix};

/// The first KEK epoch.
pub const FIRST_KEK_EPOCH: u32 = 1;

/// The first KEK of the deployment's own records, such as the key that signs workload tokens.
pub const SYSTEM_SLOT: KekSlot =
    KekSlot { tenant: TenantId::SYSTEM, mount: NO_SCOPE, bucket: 0, epoch: FIRST_KEK_EPOCH };
/// The first KEK that seals machine tokens. It is used for nothing else.
pub const TOKEN_SLOT: KekSlot = KekSlot { bucket: 1, ..SYSTEM_SLOT };
/// Where the canary lives: in memory only, at a place that no mount can have.
pub(super) const CANARY_SLOT: KekSlot = KekSlot { bucket: u32::MAX, ..SYSTEM_SLOT };

/// A bucket of a mount, under one KEK epoch.
#[must_use]
pub fn slot(mount: MountId, bucket: u32, epoch: u32) -> KekSlot {
    KekSlot { tenant: TenantId::SYSTEM, mount, bucket, epoch }
}

/// A version of a secret in a mount of the high tier, under one KEK epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionSlot {
    /// Owner.
    pub tenant: TenantId,
    /// Mount, the SKB1 namespace.
    pub mount: MountId,
    /// The secret.
    pub secret: SecretId,
    /// Its version.
    pub version: u64,
    /// KEK epoch, from 1.
    pub epoch: u32,
}

/// Where a capsule is, and so what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CapsulePlace {
    /// The KEK of a bucket: may be cached while the lease lasts.
    Bucket(KekSlot),
    /// The key of one version: opened for each use and never cached.
    Version(VersionSlot),
}

impl From<KekSlot> for CapsulePlace {
    fn from(slot: KekSlot) -> Self {
        Self::Bucket(slot)
    }
}

impl From<VersionSlot> for CapsulePlace {
    fn from(slot: VersionSlot) -> Self {
        Self::Version(slot)
    }
}

/// Bytes of `tenant ‖ table ‖ scope`.
const SCOPE_END: usize = 33;

impl CapsulePlace {
    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Bucket(slot) => capsule_key(slot.tenant, slot.mount, slot.bucket, slot.epoch),
            Self::Version(slot) => {
                version_capsule_key(slot.tenant, slot.mount, slot.secret, slot.version, slot.epoch)
            }
        }
    }

    /// The place of a row, from its key; `None` if it is no capsule's.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let (scope, rest) = key.split_at_checked(SCOPE_END)?;
        let tenant = TenantId::from_bytes(scope.get(..16)?.try_into().ok()?);
        let mount = MountId::from_bytes(scope.get(17..)?.try_into().ok()?);
        match (scope.get(16).copied()?, rest.len()) {
            (table, 8) if table == CAPSULES.number() => {
                let (bucket, epoch) = (number(&rest[..4])?, number(&rest[4..])?);
                Some(Self::Bucket(KekSlot { tenant, mount, bucket, epoch }))
            }
            (table, 28) if table == VERSION_CAPSULES.number() => Some(Self::Version(VersionSlot {
                tenant,
                mount,
                secret: SecretId::from_bytes(rest[..16].try_into().ok()?),
                version: u64::from_be_bytes(rest[16..24].try_into().ok()?),
                epoch: number(&rest[24..])?,
            })),
            _ => None,
        }
    }

    /// What a capsule there must commit to (`docs/skb1.md` 6.3). A version's has no bucket: the field is 0.
    #[must_use]
    pub fn context(
        &self,
        deployment: DeploymentId,
        key: KeyId,
        fragment_epoch: u32,
        capsule: CapsuleId,
    ) -> CapsuleContext {
        let (tenant, mount, bucket, kek_epoch, scope) = match *self {
            Self::Bucket(slot) => (slot.tenant, slot.mount, slot.bucket, slot.epoch, Scope::Bucket),
            Self::Version(VersionSlot { tenant, mount, secret, version, epoch }) => {
                (tenant, mount, 0, epoch, Scope::Version { secret, version })
            }
        };
        CapsuleContext { deployment, tenant, mount, bucket, kek_epoch, capsule, key, fragment_epoch, scope }
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The key of an SKB1 capsule.
#[must_use]
pub(crate) fn capsule_key(tenant: TenantId, mount: MountId, bucket: u32, kek_epoch: u32) -> Vec<u8> {
    let mut key = prefix(tenant, CAPSULES, mount);
    key.extend_from_slice(&bucket.to_be_bytes());
    key.extend_from_slice(&kek_epoch.to_be_bytes());
    key
}

/// The key of an SKB1 capsule of one version of one secret.
#[must_use]
fn version_capsule_key(
    tenant: TenantId,
    mount: MountId,
    secret: SecretId,
    version: u64,
    kek_epoch: u32,
) -> Vec<u8> {
    let mut key = prefix(tenant, VERSION_CAPSULES, mount);
    key.extend_from_slice(secret.as_bytes());
    key.extend_from_slice(&version.to_be_bytes());
    key.extend_from_slice(&kek_epoch.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> [CapsulePlace; 2] {
        let (mount, secret) = (MountId::from_bytes([7; 16]), SecretId::from_bytes([8; 16]));
        let tenant = TenantId::SYSTEM;
        [slot(mount, 3, 2).into(), VersionSlot { tenant, mount, secret, version: 5, epoch: 2 }.into()]
    }

    #[test]
    fn a_place_is_read_back_from_its_key() {
        for place in places() {
            assert_eq!(CapsulePlace::of_key(&place.key()), Some(place));
        }
    }

    #[test]
    fn other_keys_are_no_places() {
        for place in places() {
            let key = place.key();
            assert_eq!(CapsulePlace::of_key(&key[..key.len() - 1]), None);
            assert_eq!(CapsulePlace::of_key(&[&key[..], &[0]].concat()), None);
            let mut other = key.clone();
            other[16] = 0x12;
            assert_eq!(CapsulePlace::of_key(&other), None);
        }
        assert_eq!(CapsulePlace::of_key(&[]), None);
    }

    #[test]
    fn both_kinds_have_contexts_of_their_own() {
        let context = |place: CapsulePlace| {
            let ids = (DeploymentId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
            place.context(ids.0, ids.1, 1, CapsuleId::from_bytes([3; 16])).encode().to_vec()
        };
        let [bucket, version] = places();
        assert_ne!(context(bucket), context(version));
        let CapsulePlace::Version(slot) = version else { return };
        assert_ne!(context(version), context(VersionSlot { version: 6, ..slot }.into()));
        assert_ne!(context(version), context(VersionSlot { epoch: 3, ..slot }.into()));
    }
}
