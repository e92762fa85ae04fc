//! The row of one segment, out of its entries. These must be the ones that the tree in memory is over: an
//! index of altered entries would hide others from whoever trusts it.

use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::tree::leaf_hash;
use symbolon_proto::log::{Entry, Frontier, Segment};

use super::gathering::Gathering;
use super::sealing;
use super::trust::Trust;
use crate::audit::log::rows::{foreign_indices, index_key, indexed_segment};
use crate::audit::log::{LogError, LogReader, open_detail};
use crate::audit::retention::Changes;
use crate::store::{Expect, Scan, Store, Write};

/// Entries that are opened between two pauses, a millisecond of work.
const STEP: u64 = 64;
/// Rows that one look or one commit is about.
const PAGE_ROWS: usize = 256;

/// Why a segment has no index.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// It cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its entries, or hashes on the way to them, are not those that were committed.
    #[error(
        "entries {first} to {last} are not those that this broker committed; run `symbolon audit verify`"
    )]
    Altered {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// The row of a segment that `tree` is over.
pub async fn make(
    log: &LogReader,
    tree: Frontier,
    (audit, deployment): (&AuditKey, DeploymentId),
    segment: Segment,
) -> Result<Changes, MakeError> {
    let altered = MakeError::Altered { first: segment.first(), last: segment.end() - 1 };
    let Some(root) = Trust::new(log.clone(), tree).root(segment).await? else { return Err(altered) };
    let (mut gathering, mut leaves, mut next) = (Gathering::new(), Frontier::new(), segment.first());
    while next < segment.end() {
        for (index, stored) in (next..segment.end()).zip(log.rest_of_bundle(next).await?) {
            leaves.append(leaf_hash(&stored.bytes));
            let entry = Entry::decode(&stored.bytes).map_err(|_| LogError::Bundle { index })?;
            gathering.add(&entry, open_detail(audit, deployment, &entry).as_ref());
            next = index + 1;
            if next.is_multiple_of(STEP) {
                tokio::task::yield_now().await;
            }
        }
    }
    let row = sealing::seal(audit, deployment, (segment, root), &gathering.block());
    match row.filter(|_| leaves.root() == root) {
        Some(value) => {
            let key = index_key(segment.number());
            Ok(Changes::of_index(vec![Write::Put { key, value, expect: Expect::Any }]))
        }
        None => Err(altered),
    }
}

/// Segments of `first..until` without a row, the newest first, at most `limit`: whether a row is good is seen
/// by whoever uses it.
pub async fn missing(
    store: &dyn Store,
    first: u64,
    until: u64,
    limit: usize,
) -> Result<Vec<Segment>, LogError> {
    let (mut found, mut next, mut end) = (Vec::new(), until, index_key(until));
    while next > first && found.len() < limit {
        let from = index_key(first);
        let scan = Scan { from: &from, until: &end, descending: true, limit: PAGE_ROWS };
        let rows = store.keys(scan).await?;
        let is_last = rows.len() < PAGE_ROWS;
        for number in rows.iter().filter_map(|key| indexed_segment(key)) {
            found.extend((number + 1..next).rev().filter_map(Segment::new).take(limit - found.len()));
            next = number;
        }
        if is_last {
            found.extend((first..next).rev().filter_map(Segment::new).take(limit - found.len()));
            break;
        }
        // by key and not by number: what somebody else wrote there is passed over
        end = rows.into_iter().last().unwrap_or(from);
    }
    Ok(found)
}

/// Removes the row of a segment that can have none.
#[must_use]
pub fn without(segment: Segment) -> Changes {
    Changes::of_index(vec![Write::Delete { key: index_key(segment.number()), expect: Expect::Any }])
}

/// Removes some rows of other formats; nothing when there are none.
pub async fn without_foreign(store: &dyn Store) -> Result<Changes, LogError> {
    let mut changes = Vec::new();
    for [from, until] in foreign_indices() {
        let scan = Scan { from: &from, until: &until, descending: false, limit: PAGE_ROWS - changes.len() };
        let keys = store.keys(scan).await?;
        changes.extend(keys.into_iter().map(|key| Write::Delete { key, expect: Expect::Any }));
        if changes.len() == PAGE_ROWS {
            break;
        }
    }
    Ok(Changes::of_index(changes))
}
