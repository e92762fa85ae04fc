//! The commits of a cut.
//!
//! **The cut** moves the minimum index and stores, of each tile above the leaves that straddles it, the
//! hashes of what lies before: they could be read from the tiles below until now. If the writer completes
//! such a tile in between, the expectation fails and the cut is made again.
//!
//! **Sweeping** removes what lies below the minimum, whoever left it there: bundles, tiles, what was known of
//! segments, their indices. The bundle that straddles the minimum stays.

use symbolon_proto::log::pruned::Cut;
use symbolon_proto::log::segment::{SEGMENT_ENTRIES, lost_tiles, straddling};
use symbolon_proto::log::tile::{TILE_LEVEL_MAX, TILE_WIDTH, encode_hashes};
use symbolon_proto::log::{Checkpoint, CheckpointError, Pruned, VerifierKey, tree};

use super::Changes;
use super::packing::{PackError, consistency};
use crate::audit::log::rows::{bundle_key, first_index, index_key, pruned_key, segment_key, tile_key};
use crate::audit::log::tail::level_hashes;
use crate::audit::log::{LogError, LogReader};
use crate::store::{Expect, Scan, Store, Write};

/// Most rows that one commit removes: some milliseconds of work, which requests wait for.
pub const SWEEP_ROWS: usize = 256;

/// A cut, ready to be committed, and what is pruned after it.
#[derive(Debug)]
pub struct Prepared {
    /// The changes, which expect the log as it was read.
    pub changes: Changes,
    /// What is pruned once they are made.
    pub pruned: Pruned,
}

/// The changes of a cut that begins where the log does now.
pub async fn prepare(store: &dyn Store, log: &LogReader, cut: Cut) -> Result<Prepared, LogError> {
    let row = store.get(&pruned_key()).await?;
    let expect = row.as_ref().map_or(Expect::Absent, |row| Expect::Revision(row.revision));
    let root = log.frontier(cut.end).await?.root();
    let pruned = log.pruned().await?.after(cut, root);
    let mut writes = vec![Write::Put { key: pruned_key(), value: pruned.text().into_bytes(), expect }];
    for level in 1..=TILE_LEVEL_MAX {
        writes.extend(kept_of_tile(store, level, cut.end).await?);
    }
    Ok(Prepared { changes: Changes(writes), pruned })
}

/// Proves that the root of a cut is that of the tree which `key` signed: it comes out of stored hashes, and
/// what they could be told from goes with the cut.
pub async fn prove(log: &LogReader, key: &VerifierKey, pruned: &Pruned) -> Result<(), PackError> {
    let note = log.checkpoint().await?.ok_or(CheckpointError::Layout)?;
    let checkpoint = Checkpoint::open(&note, key)?;
    let (end, size) = (pruned.minimum, checkpoint.size);
    let proof = consistency(log, end, size).await?;
    let proven = tree::verify_consistency(end, size, &pruned.root, &checkpoint.root, &proof);
    proven.map_err(|_| PackError::Beginning { end })
}

/// What is stored of the tile of a level that straddles `minimum`, unless it is there already.
async fn kept_of_tile(store: &dyn Store, level: u8, minimum: u64) -> Result<Option<Write>, LogError> {
    let Some((number, width)) = straddling(level, minimum) else { return Ok(None) };
    let key = tile_key(level, number);
    let row = store.get(&key).await?;
    if row.as_ref().is_some_and(|row| row.value.len() >= usize::from(width) * 32) {
        return Ok(None);
    }
    let expect = row.map_or(Expect::Absent, |row| Expect::Revision(row.revision));
    let from = number * u64::from(TILE_WIDTH);
    let hashes = level_hashes(store, level, from, from + u64::from(width)).await?;
    Ok(Some(Write::Put { key, value: encode_hashes(&hashes), expect }))
}

/// Some of the rows below the minimum index; none when all are gone.
pub async fn sweep(store: &dyn Store, minimum: u64) -> Result<Changes, LogError> {
    let mut keys = bundles_below(store, minimum).await?;
    for level in 0..=TILE_LEVEL_MAX {
        let until = tile_key(level, lost_tiles(level, minimum));
        keys.extend(some(store, &tile_key(level, 0), &until, SWEEP_ROWS - keys.len()).await?);
    }
    let until = segment_key(minimum / SEGMENT_ENTRIES);
    keys.extend(some(store, &segment_key(0), &until, SWEEP_ROWS - keys.len()).await?);
    let until = index_key(minimum / SEGMENT_ENTRIES);
    keys.extend(some(store, &index_key(0), &until, SWEEP_ROWS - keys.len()).await?);
    let delete = |key| Write::Delete { key, expect: Expect::Any };
    Ok(Changes(keys.into_iter().map(delete).collect()))
}

/// Bundles that end at or before `minimum`: those after which another begins there or before.
async fn bundles_below(store: &dyn Store, minimum: u64) -> Result<Vec<Vec<u8>>, LogError> {
    let (from, until) = (bundle_key(0), bundle_key(minimum.saturating_add(1)));
    let mut keys = some(store, &from, &until, SWEEP_ROWS + 1).await?;
    keys.pop(); // the next one may begin beyond, so this one may straddle the minimum
    debug_assert!(keys.iter().all(|key| first_index(key).is_some_and(|first| first < minimum)));
    Ok(keys)
}

async fn some(store: &dyn Store, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, LogError> {
    if limit == 0 || from >= until {
        return Ok(Vec::new());
    }
    Ok(store.keys(Scan { from, until, descending: false, limit }).await?)
}
