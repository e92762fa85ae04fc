//! Whether sources are held: since an operator sealed the broker, and until people have opened it.

use symbolon_proto::id::{MountId, TenantId};

use crate::rows::{SEAL, prefix};
use crate::store::{Expect, Store, StoreError, Write};

/// In the table of the seal record, because a sealed broker has to read it.
fn key() -> Vec<u8> {
    prefix(TenantId::SYSTEM, SEAL, MountId::from_bytes(*b"sources are held"))
}

/// With the entry of the order to seal. A restart does not undo it.
#[must_use]
pub fn begin() -> Write {
    Write::Put { key: key(), value: vec![1], expect: Expect::Any }
}

/// With the entry of an unseal, which only people can have made.
#[must_use]
pub fn end() -> Write {
    Write::Delete { key: key(), expect: Expect::Any }
}

/// Whether they are.
pub async fn is_on(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.get(&key()).await?.is_some())
}
