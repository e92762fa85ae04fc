//! Opened KEKs, usable only while the remote's lease lasts.
//!
//! One KEK serves a bucket of at most [`SECRETS_PER_BUCKET`] secrets of one mount (`docs/skb1.md` 5 and 6.2).
//! The keyring answers only while `now` lies before the end of the lease; past it, or when the lease is
//! withdrawn, every key is wiped. It never extends a life by itself: a clock that moves cannot help, because
//! the end is counted on the boot clock.

use std::collections::HashMap;
use std::sync::Arc;

use symbolon_proto::capsule::Kek;
use symbolon_proto::id::{CapsuleId, MountId, TenantId};

use crate::clock::Now;

/// Secrets that share one KEK, hence the most that one leaked KEK opens.
pub const SECRETS_PER_BUCKET: u32 = 1024;

/// KEKs held at once; beyond it an arbitrary one is dropped and opened again when needed. 64 bytes of secret
/// memory each.
pub const KEKS_MAX: usize = 16_384;

/// Which KEK: the epoch is part of the place, so old and new ones live side by side during a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekSlot {
    /// Owner.
    pub tenant: TenantId,
    /// Mount, the SKB1 namespace.
    pub mount: MountId,
    /// Bucket within the mount.
    pub bucket: u32,
    /// KEK epoch, from 1.
    pub epoch: u32,
}

/// An opened KEK and the capsule it came from; the wrap of every record names that capsule in its context.
pub struct OpenKek {
    /// The key.
    pub kek: Kek,
    /// Its capsule.
    pub capsule: CapsuleId,
}

/// The cache. Owned by one task or behind one lock; it does no waiting.
#[derive(Default)]
pub struct Keyring {
    keks: HashMap<KekSlot, Arc<OpenKek>>,
    usable_until_boot_ms: u64,
}

impl Keyring {
    /// Says how long cached keys may be used, in milliseconds on the boot clock. A shorter life takes effect
    /// at once.
    pub fn set_usable_until(&mut self, boot_ms: u64) {
        self.usable_until_boot_ms = boot_ms;
    }

    /// The KEK of `slot`, unless the lease has ended; then everything is wiped first.
    pub fn find(&mut self, slot: &KekSlot, now: Now) -> Option<Arc<OpenKek>> {
        if now.boot_ms >= self.usable_until_boot_ms {
            self.flush();
            return None;
        }
        self.keks.get(slot).cloned()
    }

    /// Keeps an opened KEK and hands it back for use.
    pub fn keep(&mut self, slot: KekSlot, kek: OpenKek) -> Arc<OpenKek> {
        if self.keks.len() >= KEKS_MAX {
            let victim = self.keks.keys().next().copied();
            victim.and_then(|slot| self.keks.remove(&slot));
        }
        let kek = Arc::new(kek);
        self.keks.insert(slot, Arc::clone(&kek));
        kek
    }

    /// Drops one KEK: its capsule is gone.
    pub fn forget(&mut self, slot: &KekSlot) {
        self.keks.remove(slot);
    }

    /// Drops every KEK and ends their use until the next lease. Each is wiped when its last user lets go.
    pub fn flush(&mut self) {
        self.keks.clear();
        self.usable_until_boot_ms = 0;
    }

    /// KEKs held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keks.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: KekSlot =
        KekSlot { tenant: TenantId::SYSTEM, mount: MountId::from_bytes([1; 16]), bucket: 0, epoch: 1 };

    fn at(boot_ms: u64) -> Now {
        Now { unix_ms: 0, boot_ms }
    }

    fn filled() -> Keyring {
        let mut ring = Keyring::default();
        ring.set_usable_until(100);
        let kek = Kek::from_secret(symbolon_proto::secret::Secret::filled_by(|b| b.fill(7)));
        let _ = ring.keep(SLOT, OpenKek { kek, capsule: CapsuleId::from_bytes([2; 16]) });
        ring
    }

    #[test]
    fn a_kek_is_found_until_the_lease_ends_and_gone_after() {
        let mut ring = filled();
        assert!(ring.find(&SLOT, at(99)).is_some());
        assert!(ring.find(&SLOT, at(100)).is_none());
        assert!(ring.is_empty(), "keys past their lease are wiped, not only hidden");
    }

    #[test]
    fn a_clock_that_goes_back_does_not_bring_keys_back() {
        let mut ring = filled();
        assert!(ring.find(&SLOT, at(100)).is_none());
        assert!(ring.find(&SLOT, at(1)).is_none());
    }

    #[test]
    fn another_epoch_is_another_key() {
        let mut ring = filled();
        assert!(ring.find(&KekSlot { epoch: 2, ..SLOT }, at(1)).is_none());
    }
}
