//! Rows that are met on a walk through a table, without a name at hand: their keys say where they stand, and
//! that is all it takes to open them. Nothing here reads more than a page at once.

use serde::de::DeserializeOwned;
use symbolon_proto::id::{MountId, TenantId};

use super::{Place, RecordError, Rows, Table, end_of, is_row, prefix, range_of};
use crate::store::{Expect, Row, Scan, Write};

/// Bytes of a key up to and with its scope.
const SCOPE_END: usize = 16 + 1 + 16;

/// A row under K_index as a [`Cursor`] meets it.
pub struct Found {
    key: Vec<u8>,
    row: Row,
}

impl Found {
    /// The mount it belongs to, or [`super::NO_SCOPE`].
    #[must_use]
    pub fn scope(&self) -> MountId {
        scope_of(&self.key).expect("a key of a row has 65 bytes")
    }

    /// A change that removes it, if nobody has written it since.
    #[must_use]
    pub fn removal(&self) -> Write {
        Write::Delete { key: self.key.clone(), expect: Expect::Revision(self.row.revision) }
    }
}

fn scope_of(key: &[u8]) -> Option<MountId> {
    Some(MountId::from_bytes(key.get(17..SCOPE_END)?.try_into().ok()?))
}

/// How far somebody is who goes through a range of rows.
pub struct Cursor {
    from: Vec<u8>,
    until: Vec<u8>,
}

impl Cursor {
    /// At the beginning of a table, all its scopes.
    #[must_use]
    pub fn of_table(table: Table) -> Self {
        let [from, until] = range_of(table);
        Self { from, until }
    }

    /// At the beginning of one group.
    #[must_use]
    pub fn of_group(rows: &Rows, group: &Place<'_>) -> Self {
        let from = rows.group_prefix(group);
        Self { until: end_of(&from), from }
    }

    /// The rows that come next, at most `limit`; `None` at the end. Rows of another format than K_index's are
    /// passed over, so that a page may be empty.
    pub async fn next(&mut self, rows: &Rows, limit: usize) -> Result<Option<Vec<Found>>, RecordError> {
        let scan = Scan { from: &self.from, until: &self.until, descending: false, limit };
        let page = rows.store.scan(scan).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.from = [last.as_slice(), &[0]].concat();
        let ours = page.into_iter().filter(|(key, _)| is_row(key));
        Ok(Some(ours.map(|(key, row)| Found { key, row }).collect()))
    }
}

impl Rows {
    /// What a row holds that was met on the way.
    pub fn open_found<T: DeserializeOwned>(&self, found: &Found) -> Result<T, RecordError> {
        self.open(&found.key, &found.row)
    }

    /// The first scope of a table after another one, or its first.
    pub async fn next_scope(
        &self,
        table: Table,
        after: Option<MountId>,
    ) -> Result<Option<MountId>, RecordError> {
        let [first, until] = range_of(table);
        let from = after.map_or(first, |scope| end_of(&prefix(TenantId::SYSTEM, table, scope)));
        let next = self.store.keys(Scan { from: &from, until: &until, descending: false, limit: 1 }).await?;
        Ok(next.first().and_then(|key| scope_of(key)))
    }

    /// Changes that remove rows of a table in one scope, whatever is in them, at most `limit`: none when
    /// there are none left.
    pub async fn erasure(
        &self,
        table: Table,
        scope: MountId,
        limit: usize,
    ) -> Result<Vec<Write>, RecordError> {
        self.removals(&prefix(TenantId::SYSTEM, table, scope), limit).await
    }

    /// The same for one group.
    pub async fn group_erasure(&self, group: Place<'_>, limit: usize) -> Result<Vec<Write>, RecordError> {
        self.removals(&self.group_prefix(&group), limit).await
    }

    async fn removals(&self, prefix: &[u8], limit: usize) -> Result<Vec<Write>, RecordError> {
        let keys = self.keys(prefix, limit).await?;
        Ok(keys.into_iter().map(|key| Write::Delete { key, expect: Expect::Any }).collect())
    }

    /// The keys of a raw prefix.
    pub async fn keys(&self, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, RecordError> {
        let until = end_of(prefix);
        Ok(self.store.keys(Scan { from: prefix, until: &until, descending: false, limit }).await?)
    }
}
