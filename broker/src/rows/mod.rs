//! Key layout of the store, and typed, encrypted rows over it.
//!
//! Every key begins with the tenant: `tenant(16) ‖ table(1) ‖ scope(16) ‖ name`. The scope is a mount id
//! (zeros where none applies). Names never appear: a row's name is `HMAC(K_names, table ‖ scope ‖
//! name)[..16]`, and its value is a SealedBox under `K_index[f]` whose context is computed from where the
//! reader looked, so a row copied elsewhere does not open. After a change of the fragment epoch rows are
//! re-encrypted where they are ([`Rows::reencrypt`]); until then the epoch before opens them.
//!
//! Which tables there are, is said where each is written (`Table::new`); `access::shape` has the list of all.

mod found;
mod table;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use symbolon_core::seal::Unsealed;
use symbolon_proto::Zeroizing;
use symbolon_proto::context::{ContextBytes, RecordContext, RecordKind};
use symbolon_proto::id::{MountId, SecretId, TenantId};
use symbolon_proto::sealedbox;

pub use found::{Cursor, Found};
pub use table::{COUNTERS, Layout, Life, SEAL, SYSTEM, TABLES, Table};

use crate::error::OpError;
use crate::random::os_rng;
use crate::store::{Expect, Row, Scan, Store, StoreError, Write};

/// Rows that one listing may return; a directory or table beyond it is an error, never a silent cut.
pub const ROWS_MAX: usize = 1_000_000;

/// Bytes of the key of a row under K_index: tenant, table, scope, hash of the group, hash of the name.
const KEY_BYTES: usize = 16 + 1 + 16 + 16 + 16;

/// No mount: the scope of rows that belong to a tenant or the deployment as a whole.
pub const NO_SCOPE: MountId = MountId::from_bytes([0; 16]);

/// Where a row lives, before its name is hashed.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Owner.
    pub tenant: TenantId,
    /// Table.
    pub table: Table,
    /// Mount, or [`NO_SCOPE`].
    pub scope: MountId,
    /// Group within the scope: directory of an entry, role of a secret id; empty where there is none. A
    /// listing covers one group.
    pub group: &'a str,
    /// Name within the group.
    pub name: &'a str,
}

impl Place<'_> {
    /// The same place in another table.
    #[must_use]
    pub fn in_table(self, table: Table) -> Self {
        Self { table, ..self }
    }
}

/// Why a row could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row is there but does not open or parse: moved, altered or damaged.
    #[error("a stored row failed its integrity check")]
    Integrity,
    /// More rows than one listing may return.
    #[error("more than {ROWS_MAX} rows in one group")]
    TooMany,
    /// The value does not fit into one row.
    #[error("the value is longer than the 1 MiB that one row holds")]
    TooLong,
}

impl From<RecordError> for OpError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Store(error) => error.into(),
            RecordError::Integrity => Self::INTEGRITY,
            RecordError::TooMany => {
                Self::invalid("more than a million names in one place; spread them over folders")
            }
            RecordError::TooLong => Self::invalid("the value is longer than 1 MiB"),
        }
    }
}

/// `tenant ‖ table ‖ scope`: the beginning of every key, and the range of a whole mount's table.
#[must_use]
pub fn prefix(tenant: TenantId, table: Table, scope: MountId) -> Vec<u8> {
    let mut key = Vec::with_capacity(80);
    key.extend_from_slice(tenant.as_bytes());
    key.push(table.number());
    key.extend_from_slice(scope.as_bytes());
    key
}

/// The key of the public seal record.
#[must_use]
pub fn seal_record_key() -> Vec<u8> {
    prefix(TenantId::SYSTEM, SEAL, NO_SCOPE)
}

/// Where a restored store says so, in the table of the seal record: for the next unseal, which enters it into
/// the log.
#[must_use]
pub fn restored_key() -> Vec<u8> {
    prefix(TenantId::SYSTEM, SEAL, MountId::from_bytes(*b"restored from a "))
}

/// The number of the table that a key belongs to; `None` if it is no key of ours.
#[must_use]
pub fn table_number(key: &[u8]) -> Option<u8> {
    key.get(TenantId::SYSTEM.as_bytes().len()).copied()
}

/// Whether a key has the form of a row under K_index. Tables have rows of their own formats, too, with other
/// lengths.
#[must_use]
pub const fn is_row(key: &[u8]) -> bool {
    key.len() == KEY_BYTES
}

/// The first key after everything that begins with `prefix`.
#[must_use]
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The first key of a table, and the first one after it.
#[must_use]
pub fn range_of(table: Table) -> [Vec<u8>; 2] {
    let of = |number: u8| [&TenantId::SYSTEM.as_bytes()[..], &[number]].concat();
    [of(table.number()), end_of(&of(table.number()))]
}

/// A row of a group as [`Rows::page`] finds it.
pub struct Paged<T> {
    /// Its key.
    pub key: Vec<u8>,
    /// What it holds, if it opens.
    pub value: Result<T, RecordError>,
    /// Its revision.
    pub revision: u64,
}

/// Typed, encrypted rows of one unsealed deployment.
pub struct Rows {
    store: Arc<dyn Store>,
    unsealed: Arc<Unsealed>,
}

impl Rows {
    /// Rows under the index key of an unsealed deployment.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, unsealed: Arc<Unsealed>) -> Self {
        Self { store, unsealed }
    }

    /// The same rows under other keys of the same deployment.
    #[must_use]
    pub fn under(&self, unsealed: Arc<Unsealed>) -> Self {
        Self { store: Arc::clone(&self.store), unsealed }
    }

    /// The store below, for rows that are ciphertext already.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The same, for whoever keeps it.
    #[must_use]
    pub fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Reads one row and the revision it has.
    pub async fn read<T: DeserializeOwned>(&self, place: Place<'_>) -> Result<Option<(T, u64)>, RecordError> {
        let key = self.key(&place);
        match self.store.get(&key).await? {
            Some(row) => Ok(Some((self.open(&key, &row)?, row.revision))),
            None => Ok(None),
        }
    }

    /// The revision of a row, which is not decrypted.
    pub async fn revision(&self, place: Place<'_>) -> Result<Option<u64>, RecordError> {
        Ok(self.store.get(&self.key(&place)).await?.map(|row| row.revision))
    }

    /// Reads every row of a group, in the order of their hashed names.
    pub async fn list<T: DeserializeOwned>(&self, group: Place<'_>) -> Result<Vec<(T, u64)>, RecordError> {
        let rows = self.scan(&self.group_prefix(&group), ROWS_MAX + 1).await?;
        if rows.len() > ROWS_MAX {
            return Err(RecordError::TooMany);
        }
        rows.iter().map(|(key, row)| Ok((self.open(key, row)?, row.revision))).collect()
    }

    /// How many rows a group holds, at most `limit`.
    pub async fn count(&self, group: Place<'_>, limit: usize) -> Result<usize, RecordError> {
        Ok(self.keys(&self.group_prefix(&group), limit).await?.len())
    }

    /// Whether a group holds any row but the one named.
    pub async fn holds_others(&self, place: Place<'_>) -> Result<bool, RecordError> {
        let own = self.key(&place);
        let keys = self.keys(&self.group_prefix(&place), 2).await?;
        Ok(keys.iter().any(|key| *key != own))
    }

    /// Rows of a group after a key of it, at most `limit`, each with its key and revision; an empty key
    /// begins at the beginning. For whoever goes through a group without knowing the names: a row that is
    /// damaged fails alone.
    pub async fn page<T: DeserializeOwned>(
        &self,
        group: Place<'_>,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Paged<T>>, RecordError> {
        let prefix = self.group_prefix(&group);
        let from = if after.is_empty() { prefix.clone() } else { [after, &[0]].concat() };
        let scan = Scan { from: &from, until: &end_of(&prefix), descending: false, limit };
        let rows = self.store.scan(scan).await?;
        let open = |(key, row): (Vec<u8>, Row)| {
            let value = self.open(&key, &row);
            Paged { key, value, revision: row.revision }
        };
        Ok(rows.into_iter().map(open).collect())
    }

    /// A change that writes the row of a group that [`Self::page`] gave.
    pub fn put_paged<T: Serialize>(
        &self,
        group: Place<'_>,
        key: &[u8],
        value: &T,
        expect: Expect,
    ) -> Result<Write, RecordError> {
        debug_assert!(key.starts_with(&self.group_prefix(&group)));
        self.encrypt(key.to_vec(), value, expect)
    }

    /// The rows of a raw prefix, still closed.
    async fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Row)>, RecordError> {
        let until = end_of(prefix);
        Ok(self.store.scan(Scan { from: prefix, until: &until, descending: false, limit }).await?)
    }

    /// A change that writes one row.
    pub fn put<T: Serialize>(
        &self,
        place: Place<'_>,
        value: &T,
        expect: Expect,
    ) -> Result<Write, RecordError> {
        self.encrypt(self.key(&place), value, expect)
    }

    fn encrypt<T: Serialize>(&self, key: Vec<u8>, value: &T, expect: Expect) -> Result<Write, RecordError> {
        let plain = Zeroizing::new(
            serde_json::to_vec(value).expect("wire types have string keys and no fallible serialisers"),
        );
        self.encrypt_bytes(key, &plain, expect)
    }

    fn encrypt_bytes(&self, key: Vec<u8>, plain: &[u8], expect: Expect) -> Result<Write, RecordError> {
        let index = self.unsealed.keys().index.secret();
        let value = sealedbox::seal(index, &self.context(&key), plain, &mut os_rng())
            .map_err(|_| RecordError::TooLong)?;
        Ok(Write::Put { key, value, expect })
    }

    /// A change that encrypts a row of [`is_row`] under the present epoch; `None` if it is that already.
    pub fn reencrypt(&self, key: &[u8], row: &Row) -> Result<Option<Write>, RecordError> {
        let context = self.context(key);
        if sealedbox::open(self.unsealed.keys().index.secret(), &context, &row.value).is_ok() {
            return Ok(None);
        }
        let plain = self.open_older(&context, row)?;
        self.encrypt_bytes(key.to_vec(), &plain, Expect::Revision(row.revision)).map(Some)
    }

    /// A change that removes one row.
    #[must_use]
    pub fn delete(&self, place: Place<'_>, expect: Expect) -> Write {
        Write::Delete { key: self.key(&place), expect }
    }

    /// `HMAC(K_names, …)[..16]` of a name: what stands for it on disk.
    #[must_use]
    pub fn name_hash(&self, table: Table, scope: MountId, name: &str) -> [u8; 16] {
        self.unsealed.names().name_hash(table.number(), &scope, name.as_bytes())
    }

    fn group_prefix(&self, place: &Place<'_>) -> Vec<u8> {
        let mut key = prefix(place.tenant, place.table, place.scope);
        key.extend_from_slice(&self.name_hash(place.table, place.scope, place.group));
        key
    }

    fn key(&self, place: &Place<'_>) -> Vec<u8> {
        let mut key = self.group_prefix(place);
        key.extend_from_slice(&self.name_hash(place.table, place.scope, place.name));
        key
    }

    fn open<T: DeserializeOwned>(&self, key: &[u8], row: &Row) -> Result<T, RecordError> {
        let context = self.context(key);
        let plain = match sealedbox::open(self.unsealed.keys().index.secret(), &context, &row.value) {
            Ok(plain) => plain,
            Err(_) => self.open_older(&context, row)?,
        };
        serde_json::from_slice(&plain).map_err(|_| RecordError::Integrity)
    }

    /// A row that the epoch before has sealed, while its keys are here.
    fn open_older(&self, context: &ContextBytes, row: &Row) -> Result<Zeroizing<Vec<u8>>, RecordError> {
        let previous = self.unsealed.previous().ok_or(RecordError::Integrity)?;
        sealedbox::open(previous.index.secret(), context, &row.value).map_err(|_| RecordError::Integrity)
    }

    /// The context binds a row to its tenant, table, group and name: what its key says. The last 32 bytes,
    /// two hashes over table, scope and name, are split over the two id fields.
    fn context(&self, key: &[u8]) -> ContextBytes {
        let hash = |at: usize| key[at..at + 16].try_into().expect("keys of rows have 65 bytes");
        RecordContext {
            kind: RecordKind::Metadata,
            deployment: self.unsealed.deployment(),
            tenant: TenantId::from_bytes(hash(0)),
            mount: MountId::from_bytes(hash(KEY_BYTES - 32)),
            secret: SecretId::from_bytes(hash(KEY_BYTES - 16)),
            version: u64::from(key[16]),
        }
        .encode()
    }
}
