//! The end of the log in memory: what the next entry needs, and how it is found again after a start.
//!
//! ```text
//! frontier    roots of the complete subtrees that the size splits into
//! levels      hashes of the unfinished tile of each level, at most 255
//! time        of the last entry
//! ```
//!
//! Nodes that an append completes at heights 0, 8, 16, … are what tiles hold, so nothing is hashed twice.
//!
//! [`Tail::recover`] rebuilds all of it from tiles and the last bundles, and accepts it only if its root is
//! that of the authenticated head, and if the signed checkpoint is of the same tree. It reads at most 255
//! tiles per level and 255 entries for each of the two, whatever the size of the log; a change in older
//! entries is for `verify` to find.

use symbolon_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH, decode_hashes};
use symbolon_proto::log::tree::{leaf_hash, node_hash};
use symbolon_proto::log::{
    Checkpoint, CheckpointError, Entry, Frontier, Hash, Head, HeadError, Node, NoteSigner,
};

use super::end::later;
use super::error::LogError;
use super::rows::{
    StoredEntry, bundle_key, bundles_end, checkpoint_key, decode_bundle, first_index, head_key, tile_key,
};
use crate::store::{Scan, Store};

const TILE_HASHES: usize = TILE_WIDTH as usize;

/// A tile that an append has completed.
#[derive(Debug)]
pub struct CompleteTile {
    /// 0 for leaves.
    pub level: u8,
    /// Position in its level.
    pub number: u64,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// Where the log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    time_ms: u64,
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
}

/// Why the end of the log is not what the checkpoint says.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// It cannot be read, or what is there is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The checkpoint's signature or form is wrong.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// There are entries but no checkpoint.
    #[error("the log has entries but no checkpoint")]
    CheckpointMissing,
    /// The head is damaged, or not ours.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The entries end elsewhere than head and checkpoint say.
    #[error("the log ends after {expected} entries by its own account, but holds {found}")]
    Size {
        /// Entries that there should be.
        expected: u64,
        /// Entries found.
        found: u64,
    },
    /// All is there, but the hashes do not lead to the signed root.
    #[error(
        "the last of the first {size} entries, or a tile, was altered: the root is not the one written down"
    )]
    Root {
        /// Entries below that root.
        size: u64,
    },
}

impl Tail {
    /// Entries so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Time of the last entry, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Takes a reading of the clock. Times in the log never go back.
    pub fn advance_time(&mut self, now_ms: u64) {
        self.time_ms = self.time_ms.max(now_ms);
    }

    /// Adds a leaf; tiles that it completes go to `complete`.
    pub fn append(&mut self, leaf: Hash, complete: &mut Vec<CompleteTile>) {
        let levels = &mut self.levels;
        self.frontier.append_with(leaf, |node, hash| {
            if node.level % TILE_HEIGHT == 0 {
                complete.extend(push_hash(levels, node, hash));
            }
        });
    }

    /// The tree over all entries.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Root of the tree over all entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size(), root: self.root() }
    }

    /// Finds the end of the log and checks it against what `signer` has written; gives it with the number of
    /// entries that the stored checkpoint covers. A store without any log has an empty one.
    pub async fn recover(store: &dyn Store, signer: &NoteSigner) -> Result<(Self, u64), TailError> {
        let last = last_bundle(store).await?;
        let Some(row) = store.get(&checkpoint_key()).await.map_err(LogError::from)? else {
            return if last.is_none() { Ok((Self::default(), 0)) } else { Err(TailError::CheckpointMissing) };
        };
        let note = String::from_utf8(row.value).map_err(|_| CheckpointError::Layout)?;
        let Checkpoint { size, root, .. } = Checkpoint::open(&note, signer.verifier())?;
        let signed = Head { size, root };
        let end = later(signed, read_head(store, signer).await?);
        let found = last.as_ref().map_or(0, |(first, entries)| first + entries.len() as u64);
        if found != end.size {
            return Err(TailError::Size { expected: end.size, found });
        }
        let tail = Self::read(store, end.size, last_time(last.as_ref())?).await?;
        check_root(end, tail.root())?;
        if signed != end {
            check_root(signed, Self::read(store, signed.size, 0).await?.root())?;
        }
        Ok((tail, signed.size))
    }

    /// The tail of the first `size` entries, whatever their root is.
    async fn read(store: &dyn Store, size: u64, time_ms: u64) -> Result<Self, LogError> {
        let levels = read_levels(store, size).await?;
        let frontier = Frontier::read(size, &mut |node| node_in(&levels, node))?;
        Ok(Self { time_ms, frontier, levels })
    }
}

async fn read_head(store: &dyn Store, signer: &NoteSigner) -> Result<Option<Head>, TailError> {
    let row = store.get(&head_key()).await.map_err(LogError::from)?;
    Ok(row.map(|row| Head::open(&row.value, signer)).transpose()?)
}

fn check_root(expected: Head, found: Hash) -> Result<(), TailError> {
    if found == expected.root { Ok(()) } else { Err(TailError::Root { size: expected.size }) }
}

/// When the last entry was made.
fn last_time(last: Option<&Bundle>) -> Result<u64, LogError> {
    let Some((first, entries)) = last else { return Ok(0) };
    let Some(entry) = entries.last() else { return Ok(0) };
    let index = first + entries.len() as u64 - 1;
    Ok(Entry::decode(&entry.bytes).map_err(|_| LogError::Bundle { index })?.time_ms)
}

/// Adds a hash to the unfinished tile of its level; gives the tile back if that completes it.
fn push_hash(levels: &mut Vec<Vec<Hash>>, node: Node, hash: Hash) -> Option<CompleteTile> {
    let level = node.level / TILE_HEIGHT;
    if levels.len() == usize::from(level) {
        levels.push(Vec::with_capacity(TILE_HASHES));
    }
    let hashes = &mut levels[usize::from(level)];
    hashes.push(hash);
    (hashes.len() == TILE_HASHES).then(|| CompleteTile {
        level,
        number: node.index / u64::from(TILE_WIDTH),
        hashes: std::mem::replace(hashes, Vec::with_capacity(TILE_HASHES)),
    })
}

/// Root of the tree over the first `size` entries. `leaves` are the hashes of those that no complete tile
/// holds.
pub(super) async fn root_with(store: &dyn Store, size: u64, leaves: Vec<Hash>) -> Result<Hash, LogError> {
    let levels = levels_above(store, size, leaves).await?;
    Ok(Frontier::read(size, &mut |node| node_in(&levels, node))?.root())
}

/// The first entry that no complete tile of a log of `size` entries holds.
pub(super) fn first_loose(size: u64) -> u64 {
    size - size % u64::from(TILE_WIDTH)
}

/// The unfinished tile of every level of a log of `size` entries.
async fn read_levels(store: &dyn Store, size: u64) -> Result<Vec<Vec<Hash>>, LogError> {
    levels_above(store, size, last_leaves(store, first_loose(size), size).await?).await
}

async fn levels_above(store: &dyn Store, size: u64, leaves: Vec<Hash>) -> Result<Vec<Vec<Hash>>, LogError> {
    let mut levels = vec![leaves];
    let mut nodes = size >> TILE_HEIGHT;
    for below in 0.. {
        if nodes == 0 {
            break;
        }
        let from = nodes - nodes % u64::from(TILE_WIDTH);
        levels.push(level_hashes(store, below + 1, from, nodes).await?);
        nodes >>= TILE_HEIGHT;
    }
    Ok(levels)
}

/// A node of the right edge, which lies within the unfinished tile of its level.
fn node_in(levels: &[Vec<Hash>], node: Node) -> Result<Hash, LogError> {
    let level = node.level / TILE_HEIGHT;
    let first = node.index << (node.level % TILE_HEIGHT);
    let begin = usize::try_from(first % u64::from(TILE_WIDTH)).expect("at most 255");
    let hashes = levels
        .get(usize::from(level))
        .and_then(|hashes| hashes.get(begin..begin + (1 << (node.level % TILE_HEIGHT))))
        .ok_or(LogError::Tile { level, number: first / u64::from(TILE_WIDTH) })?;
    Ok(subtree_root(hashes))
}

/// Hash of a complete subtree, whose leaf or node hashes are `hashes`: a power of two of them.
#[must_use]
pub fn subtree_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&subtree_root(left), &subtree_root(right))
        }
    }
}

/// First index and entries.
type Bundle = (u64, Vec<StoredEntry>);

/// The bundle with the highest index.
pub(super) async fn last_bundle(store: &dyn Store) -> Result<Option<Bundle>, LogError> {
    let (from, until) = (bundle_key(0), bundles_end());
    let rows = store.scan(Scan { from: &from, until: &until, descending: true, limit: 1 }).await?;
    rows.into_iter().next().map(|(key, row)| open_bundle(&key, &row.value)).transpose()
}

pub(super) fn open_bundle(key: &[u8], value: &[u8]) -> Result<Bundle, LogError> {
    let first = first_index(key).ok_or(LogError::Bundle { index: 0 })?;
    let entries = decode_bundle(value).ok_or(LogError::Bundle { index: first })?;
    Ok((first, entries))
}

/// Leaf hashes of the entries from `from` (inclusive) to `size`, read backwards from the end. Hashed again:
/// the stored hashes prove nothing.
async fn last_leaves(store: &dyn Store, from: u64, size: u64) -> Result<Vec<Hash>, LogError> {
    let mut leaves = Vec::new();
    let mut missing_until = size;
    while missing_until > from {
        let (start, until) = (bundle_key(0), bundle_key(missing_until));
        let rows = store.scan(Scan { from: &start, until: &until, descending: true, limit: 16 }).await?;
        if rows.is_empty() {
            return Err(LogError::Bundle { index: missing_until - 1 });
        }
        for (key, row) in rows {
            let (first, entries) = open_bundle(&key, &row.value)?;
            if first + entries.len() as u64 != missing_until {
                return Err(LogError::Bundle { index: missing_until - 1 });
            }
            leaves.extend(entries.iter().rev().map(|entry| leaf_hash(&entry.bytes)));
            missing_until = first;
            if missing_until <= from {
                break;
            }
        }
    }
    leaves.truncate(usize::try_from(size - from).expect("fewer than 256"));
    leaves.reverse();
    Ok(leaves)
}

/// Hashes `from..until` of one tile of a level above the leaves, `from` being its first: what is stored
/// of it, and the roots of the tiles below for the rest. Of an unfinished tile something is stored only
/// where what lies below was pruned.
pub(in crate::audit) async fn level_hashes(
    store: &dyn Store,
    level: u8,
    from: u64,
    until: u64,
) -> Result<Vec<Hash>, LogError> {
    let number = from / u64::from(TILE_WIDTH);
    let row = store.get(&tile_key(level, number)).await?;
    let bytes = row.map(|row| row.value).unwrap_or_default();
    let width = u16::try_from(bytes.len() / 32).unwrap_or(TILE_WIDTH);
    let mut hashes = decode_hashes(&bytes, width).map_err(|_| LogError::Tile { level, number })?;
    hashes.truncate(usize::try_from(until - from).unwrap_or(TILE_HASHES));
    let stored = hashes.len() as u64;
    hashes.extend(tile_roots(store, level - 1, from + stored, until).await?);
    Ok(hashes)
}

/// The tree over the first `size` entries, all of which complete tiles hold: no log shorter than its minimum
/// index is asked for, and that is a whole number of bundles.
pub(super) async fn frontier_at(store: &dyn Store, size: u64) -> Result<Frontier, LogError> {
    let levels = levels_above(store, size, Vec::new()).await?;
    Frontier::read(size, &mut |node| node_in(&levels, node))
}

/// Roots of the tiles `from..until` of a level, which are hashes of the level above.
async fn tile_roots(store: &dyn Store, level: u8, from: u64, until: u64) -> Result<Vec<Hash>, LogError> {
    let mut roots = Vec::new();
    for number in from..until {
        let row = store.get(&tile_key(level, number)).await?;
        let hashes = row.and_then(|row| decode_tile(&row.value)).ok_or(LogError::Tile { level, number })?;
        roots.push(subtree_root(&hashes));
    }
    Ok(roots)
}

/// The 256 hashes of a complete tile.
fn decode_tile(tile: &[u8]) -> Option<Vec<Hash>> {
    decode_hashes(tile, TILE_WIDTH).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use symbolon_core::audit::{Action, Outcome};
    use symbolon_proto::id::BrokerId;
    use symbolon_proto::log::NoteSigner;
    use symbolon_proto::secret::Secret;
    use symbolon_proto::signing::SigningSeed;

    use symbolon_proto::log::tile::encode_hashes;

    use super::*;
    use crate::audit::log::rows::encode_bundle;
    use crate::store::memory::MemoryStore;

    /// RFC 6962 section 2.1, word for word.
    fn tree_hash(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY_ROOT,
            [only] => *only,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                node_hash(&tree_hash(left), &tree_hash(right))
            }
        }
    }

    fn entry(index: u64) -> StoredEntry {
        let (action, outcome, broker) = (Action::Init, Outcome::Allowed, BrokerId::from_bytes([1; 16]));
        let bytes =
            Entry { index, time_ms: 7, action, outcome, broker, detail: Vec::new() }.encode().unwrap();
        StoredEntry { leaf: leaf_hash(&bytes), bytes }
    }

    #[test]
    fn the_root_is_that_of_the_definition() {
        let mut tail = Tail::default();
        let mut leaves = Vec::new();
        for index in 0..600 {
            assert_eq!(tail.root(), tree_hash(&leaves), "{index} leaves");
            let leaf = entry(index).leaf;
            tail.append(leaf, &mut Vec::new());
            leaves.push(leaf);
        }
    }

    #[tokio::test]
    async fn every_end_is_found_again() {
        let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
        let signer = NoteSigner::new("o", seed).unwrap();
        let stops = [1, 2, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 66_300];
        let store = MemoryStore::new();
        let mut tail = Tail::default();
        let (mut complete, mut pending) = (Vec::new(), Vec::new());
        for size in 0..=66_300 {
            if stops.contains(&size) {
                put_bundle(&store, size, &mut pending);
                for tile in complete.drain(..) {
                    let CompleteTile { level, number, hashes } = tile;
                    store.tamper(&tile_key(level, number), Some(encode_hashes(&hashes)));
                }
                let note = Checkpoint::sign(size, tail.root(), &signer);
                store.tamper(&checkpoint_key(), Some(note.into_bytes()));
                let found = Tail::recover(&store, &signer).await.unwrap();
                assert_eq!(found, (tail.clone(), size));
            }
            let entry = entry(size);
            tail.advance_time(7);
            tail.append(entry.leaf, &mut complete);
            pending.push(entry);
            if pending.len() == 200 {
                put_bundle(&store, size + 1, &mut pending);
            }
        }
    }

    fn put_bundle(store: &MemoryStore, size: u64, pending: &mut Vec<StoredEntry>) {
        if !pending.is_empty() {
            store.tamper(&bundle_key(size - pending.len() as u64), Some(encode_bundle(pending)));
            pending.clear();
        }
    }
}
