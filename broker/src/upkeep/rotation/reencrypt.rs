//! Re-encrypting rows after a change of the fragment or its epoch (`docs/skb1.md` 7.6, 16.60).
//!
//! Rows stay where they are: what their keys are made of does not change. A row is read, decrypted under the
//! epoch that encrypted it, and replaced by compare-and-set, some at a time. Whoever writes a row meanwhile
//! encrypts it under the present epoch. So one pass from the first row to the last is enough, and a pass that
//! was interrupted begins again and skips what is done.

use tracing::{error, info};

use super::census::{PAGE_ROWS, census};
use super::pages::Unknown;
use super::{entry, pages};
use crate::access::Session;
use crate::custody::deployment;
use crate::error::OpError;
use crate::rows::{self, Layout, RecordError, Rows};
use crate::store::{Row, Write};

/// Rows that one commit replaces.
const ROWS_MAX: usize = 256;
/// And about so many bytes of them.
const BYTES_MAX: usize = 2 << 20;
/// Batches in a row that may lose against others before the pass rests.
const CONFLICTS_MAX: u32 = 16;

/// A pass over all rows.
#[derive(Default)]
pub(super) struct Reencryption {
    after: Vec<u8>,
    conflicts: u32,
    damaged: u64,
    finished: bool,
}

/// What of a page is to be replaced together.
#[derive(Default)]
struct Batch {
    changes: Vec<Write>,
    bytes: usize,
    damaged: u64,
    last: Option<Vec<u8>>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.changes.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    fn take(&mut self, rows: &Rows, key: &[u8], row: &Row) -> Result<(), OpError> {
        self.last = Some(key.to_vec());
        if !rows::is_row(key) {
            return Ok(());
        }
        match rows.reencrypt(key, row) {
            Ok(None) => {}
            Ok(Some(change)) => {
                self.bytes += change.bytes();
                self.changes.push(change);
            }
            Err(RecordError::Integrity) => self.damaged += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Reencryption {
    /// Whether every row has been seen.
    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Rows that open under neither epoch.
    pub(super) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Replaces the next rows; answers how many. An error leaves everything as it was.
    pub(super) async fn batch(&mut self, session: &Session) -> Result<u64, OpError> {
        let rows = pages::after(session, Layout::Row, &self.after, PAGE_ROWS).await?;
        let mut batch = Batch::default();
        for (key, row) in &rows {
            batch.take(&session.rows, key, row)?;
            if batch.is_full() {
                break;
            }
        }
        let count = batch.changes.len() as u64;
        if count > 0 {
            let what = entry(format!("{count} rows re-encrypted for fragment epoch {}", epoch(session)));
            match session.commit(batch.changes, what).await {
                Err(OpError::Conflict(_)) if self.conflicts < CONFLICTS_MAX => {
                    self.conflicts += 1; // somebody wrote one of them meanwhile: read the page again
                    return Ok(0);
                }
                done => drop(done?),
            }
        }
        self.conflicts = 0;
        self.damaged += batch.damaged;
        if let Some(last) = batch.last {
            self.after = last;
        }
        self.finished = rows.is_empty();
        Ok(count)
    }
}

/// The end: the keys of the epoch before are forgotten, first by the store. `false` if something is left that
/// needs them.
pub(super) async fn settle(session: &Session, unknown: Unknown) -> Result<bool, OpError> {
    let capsules = census(session).await?;
    if capsules.older_fragment + capsules.damaged > 0 {
        error!(
            older = capsules.older_fragment,
            damaged = capsules.damaged,
            "capsules still need the keys of the epoch before"
        );
        return Ok(false);
    }
    if unknown.rows > 0 {
        error!(
            rows = unknown.rows,
            table = unknown.table,
            "rows of tables that this version does not know may need the keys of the epoch before"
        );
        return Ok(false);
    }
    let change = deployment::settled(session.unsealed())?;
    let what = entry(format!("fragment epoch {} has taken over everything", epoch(session)));
    drop(session.commit(vec![change], what).await?);
    session.unsealed().forget_previous();
    info!(fragment_epoch = epoch(session), "the keys of the epoch before are forgotten");
    Ok(true)
}

fn epoch(session: &Session) -> u32 {
    session.unsealed().keys().epoch
}
