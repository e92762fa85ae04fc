//! How far a sink has come: a row of its own, under the keys of the deployment, without an entry of the log.
//! An entry for each would be one more to send.

use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;

use crate::audit::log::{LogError, LogReader};
use crate::error::OpError;
use crate::rows::{Layout, Life, NO_SCOPE, Place, Rows, Table};
use crate::store::{Expect, Write};

/// Where cursors are.
pub const CURSORS: Table = Table::new(0x0d, "cursors of sinks", Layout::Row, Life::Kept);

/// Most cursors that are looked at: those of sinks that are there, and of some that are gone.
const CURSORS_MAX: usize = 64;

/// How far a sink has come. Stored; fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The sink, as the configuration calls it.
    pub name: String,
    /// The first entry that its peer may not have.
    pub next: u64,
    /// Leaf hash of the entry before that one, 64 hex digits; empty if there is none.
    pub hash: String,
    /// Entries that were pruned before the sink had them.
    pub pruned: u64,
    /// Entries that its peer has seen and would not keep.
    pub rejected: u64,
    /// Whether names leave as they are.
    pub is_plain: bool,
}

/// How the log stands to a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The entry before it is the one that was sent.
    Same,
    /// That entry is pruned, or was never sent, and it cannot be told.
    Unknown,
    /// Another one is there, or none: this is another log, or an older state of it.
    Other,
}

/// The change that remembers a cursor. Made here only: it is the one that carries no entry.
#[derive(Debug)]
pub struct Bookmark(Write);

impl Bookmark {
    /// For the writer.
    #[must_use]
    pub fn into_write(self) -> Write {
        self.0
    }
}

fn place(name: &str) -> Place<'_> {
    Place { tenant: TenantId::SYSTEM, table: CURSORS, scope: NO_SCOPE, group: "", name }
}

impl Cursor {
    /// The one of a sink; `None` if it was never there.
    pub async fn read(rows: &Rows, name: &str) -> Result<Option<Self>, OpError> {
        Ok(rows.read::<Self>(place(name)).await?.map(|(cursor, _)| cursor))
    }

    /// All of them, a page at most. What does not open is nobody's.
    pub async fn all(rows: &Rows) -> Result<Vec<Self>, OpError> {
        let page = rows.page::<Self>(place(""), &[], CURSORS_MAX).await?;
        Ok(page.into_iter().filter_map(|row| row.value.ok()).collect())
    }

    /// The change that remembers it.
    pub fn mark(&self, rows: &Rows) -> Result<Bookmark, OpError> {
        Ok(Bookmark(rows.put(place(&self.name), self, Expect::Any)?))
    }

    /// The change that forgets it, for a commit with an entry.
    #[must_use]
    pub fn forget(&self, rows: &Rows) -> Write {
        rows.delete(place(&self.name), Expect::Any)
    }

    /// Whether it is a cursor into this log.
    pub async fn stands(&self, log: &LogReader, size: u64) -> Result<Standing, LogError> {
        if self.next > size {
            return Ok(Standing::Other);
        }
        let Some(before) = self.next.checked_sub(1) else { return Ok(Standing::Same) };
        if self.hash.is_empty() {
            return Ok(Standing::Unknown);
        }
        match log.entries(before, 1).await {
            Ok(found) => {
                let is_same = found.first().is_some_and(|entry| entry.leaf.to_string() == self.hash);
                Ok(if is_same { Standing::Same } else { Standing::Other })
            }
            Err(LogError::Gone { .. }) => Ok(Standing::Unknown),
            Err(error) => Err(error),
        }
    }
}
