//! Reading the log back: entries by index, and the resources that C2SP tlog-tiles names.

use std::sync::Arc;

use symbolon_proto::log::pruned::PrunedError;
use symbolon_proto::log::segment::is_kept;
use symbolon_proto::log::tile::{
    TILE_HEIGHT, TILE_WIDTH, TileError, decode_hashes, encode_bundle, encode_hashes,
};
use symbolon_proto::log::tree::leaf_hash;
use symbolon_proto::log::{
    Checkpoint, CheckpointError, Frontier, Hash, Head, Node, Pruned, SignedNote, Tile, TileKind,
};

use super::end::later;
use super::error::LogError;
use super::rows::{
    BUNDLE_ENTRIES_MAX, StoredEntry, bundle_key, bundles_end, checkpoint_key, decode_bundle, first_index,
    head_key, index_key, pruned_key, tile_key,
};
use super::tail::{first_loose, frontier_at, level_hashes, root_with, subtree_root};
use crate::store::{Scan, Store};

/// Most entries that one call reads.
pub const READ_ENTRIES_MAX: usize = 1024;
/// Bundles read at once on the way to an entry.
const SCAN_BUNDLES: usize = 16;

/// Reads the log from the store. Cheap to clone; holds no key.
#[derive(Clone)]
pub struct LogReader {
    store: Arc<dyn Store>,
}

impl LogReader {
    /// A reader of the log in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The latest stored checkpoint as a note, at most a second behind the log; `None` if nothing was ever
    /// logged.
    pub async fn checkpoint(&self) -> Result<Option<String>, LogError> {
        let row = self.store.get(&checkpoint_key()).await?;
        row.map(|row| String::from_utf8(row.value).map_err(|_| CheckpointError::Layout.into())).transpose()
    }

    /// Entries in the log. Not checked against any key.
    pub async fn size(&self) -> Result<u64, LogError> {
        Ok(self.end().await?.map_or(0, |end| end.size))
    }

    /// Where the log ends; `None` if nothing was ever logged. Not checked against any key.
    pub async fn end(&self) -> Result<Option<Head>, LogError> {
        let Some(note) = self.checkpoint().await? else { return Ok(None) };
        let note = SignedNote::parse(&note).map_err(CheckpointError::from)?;
        let Checkpoint { size, root, .. } = Checkpoint::parse_text(note.unverified_text())?;
        let head = self.store.get(&head_key()).await?.map(|row| Head::parse(&row.value)).transpose()?;
        Ok(Some(later(Head { size, root }, head)))
    }

    /// Entries that the stored checkpoint covers, as it says.
    pub async fn signed(&self) -> Result<u64, LogError> {
        let Some(note) = self.checkpoint().await? else { return Ok(0) };
        let note = SignedNote::parse(&note).map_err(CheckpointError::from)?;
        Ok(Checkpoint::parse_text(note.unverified_text())?.size)
    }

    /// What was pruned. The default if nothing ever was.
    pub async fn pruned(&self) -> Result<Pruned, LogError> {
        let Some(row) = self.store.get(&pruned_key()).await? else { return Ok(Pruned::default()) };
        let text = String::from_utf8(row.value).map_err(|_| PrunedError)?;
        Ok(Pruned::parse(&text)?)
    }

    /// The tree over what was pruned: over the first `minimum` entries, which is a minimum index of this log
    /// or a whole number of bundles beyond it.
    pub async fn frontier(&self, minimum: u64) -> Result<Frontier, LogError> {
        frontier_at(self.store.as_ref(), minimum).await
    }

    /// The hash of a complete node of the tree over the first `size` entries.
    pub async fn node(&self, node: Node, size: u64) -> Result<Hash, LogError> {
        let level = node.level / TILE_HEIGHT;
        let first = node.index << (node.level % TILE_HEIGHT);
        let missing = LogError::Tile { level, number: first / u64::from(TILE_WIDTH) };
        let name = Tile::in_tree(TileKind::Hashes(level), first / u64::from(TILE_WIDTH), size);
        let Some(name) = name else { return Err(missing) };
        let from = name.index() * u64::from(TILE_WIDTH);
        let hashes = self.hashes(level, from, from + u64::from(name.width())).await?;
        let begin = usize::try_from(first - from).unwrap_or(usize::MAX);
        let end = begin.saturating_add(1 << (node.level % TILE_HEIGHT));
        hashes.get(begin..end).map(subtree_root).ok_or(missing)
    }

    /// Entries from index `from` on, in order: at most `limit` and [`READ_ENTRIES_MAX`], none beyond the
    /// end.
    pub async fn entries(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError> {
        let limit = limit.min(READ_ENTRIES_MAX);
        let minimum = self.pruned().await?.minimum;
        if from < minimum {
            return Err(LogError::Gone { minimum });
        }
        let until = self.size().await?.min(from.saturating_add(limit as u64));
        self.read(from, until).await
    }

    /// Root of the tree over the first `size` entries, as it was when the log had so many; `None` if it never
    /// had. An error below the minimum index, where it cannot be told any more.
    pub async fn root_at(&self, size: u64) -> Result<Option<Hash>, LogError> {
        if self.size().await? < size {
            return Ok(None);
        }
        let minimum = self.pruned().await?.minimum;
        if size < minimum {
            return Err(LogError::Gone { minimum });
        }
        let loose = self.read(first_loose(size), size).await?;
        let leaves = loose.iter().map(|entry| leaf_hash(&entry.bytes)).collect();
        root_with(self.store.as_ref(), size, leaves).await.map(Some)
    }

    /// The bytes of `checkpoint`, `pruned`, `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`; `None` if
    /// there is no such thing, or not yet.
    pub async fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        if path == "checkpoint" {
            return Ok(self.checkpoint().await?.map(String::into_bytes));
        }
        if path == "pruned" {
            return Ok(Some(self.pruned().await?.text().into_bytes()));
        }
        match Tile::parse(path) {
            Ok(tile) => self.tile(tile).await,
            Err(_) => Ok(None),
        }
    }

    /// The bytes of a tile or entry bundle; `None` if the log does not reach that far.
    pub async fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, LogError> {
        let existing = Tile::in_tree(tile.kind(), tile.index(), self.size().await?);
        if existing.is_none_or(|existing| existing.width() < tile.width()) {
            return Ok(None);
        }
        if !is_kept(tile, self.pruned().await?.minimum) {
            return Ok(None);
        }
        let from = tile.index() * u64::from(TILE_WIDTH);
        let until = from + u64::from(tile.width());
        let bytes = match tile.kind() {
            TileKind::Entries => {
                let entries = self.read(from, until).await?;
                encode_bundle(entries.iter().map(|entry| entry.bytes.as_slice()))
                    .map_err(|_: TileError| LogError::Bundle { index: from })?
            }
            TileKind::Hashes(level) => encode_hashes(&self.hashes(level, from, until).await?),
        };
        Ok(Some(bytes))
    }

    /// Tile hashes `from..until` of one tile of a level.
    async fn hashes(&self, level: u8, from: u64, until: u64) -> Result<Vec<Hash>, LogError> {
        if level > 0 {
            return level_hashes(self.store.as_ref(), level, from, until).await;
        }
        let number = from / u64::from(TILE_WIDTH);
        if let Some(row) = self.store.get(&tile_key(0, number)).await? {
            let width = u16::try_from(until - from).unwrap_or(TILE_WIDTH);
            return decode_hashes(&row.value, width).map_err(|_| LogError::Tile { level, number });
        }
        Ok(self.read(from, until).await?.into_iter().map(|entry| entry.leaf).collect())
    }

    /// Hashes `from..until` that lie in one tile above the leaves. Not checked against anything.
    pub(in crate::audit) async fn tile_hashes(
        &self,
        level: u8,
        from: u64,
        until: u64,
    ) -> Result<Vec<Hash>, LogError> {
        let first = from - from % u64::from(TILE_WIDTH);
        let mut hashes = self.hashes(level, first, until).await?;
        Ok(hashes.split_off(usize::try_from(from - first).unwrap_or(usize::MAX).min(hashes.len())))
    }

    /// The bundle that an entry is in, as it is stored, and the index of its first entry.
    pub(in crate::audit) async fn bundle_of(&self, index: u64) -> Result<(u64, Vec<u8>), LogError> {
        let (start, after) = (bundle_key(0), bundle_key(index + 1));
        let scan = Scan { from: &start, until: &after, descending: true, limit: 1 };
        let (key, row) = self.store.scan(scan).await?.pop().ok_or(LogError::Bundle { index })?;
        Ok((first_index(&key).ok_or(LogError::Bundle { index })?, row.value))
    }

    /// The entries of the bundle that an entry is in, from that one on.
    pub(in crate::audit) async fn rest_of_bundle(&self, index: u64) -> Result<Vec<StoredEntry>, LogError> {
        let (first, bytes) = self.bundle_of(index).await?;
        let mut entries = decode_bundle(&bytes).ok_or(LogError::Bundle { index })?;
        let passed = usize::try_from(index - first).unwrap_or(usize::MAX).min(entries.len());
        let rest = entries.split_off(passed);
        if rest.is_empty() { Err(LogError::Bundle { index }) } else { Ok(rest) }
    }

    /// The row of the index of a segment, as it is stored.
    pub(in crate::audit) async fn index_row(&self, segment: u64) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.store.get(&index_key(segment)).await?.map(|row| row.value))
    }

    /// Entries `from..until`, all of which the log has.
    pub(in crate::audit) async fn read(&self, from: u64, until: u64) -> Result<Vec<StoredEntry>, LogError> {
        let mut entries = Vec::new();
        let mut next = from;
        while next < until {
            for (first, bundle) in self.bundles(next).await? {
                if first > next || first + bundle.len() as u64 <= next {
                    return Err(LogError::Bundle { index: next });
                }
                let wanted = bundle.len() as u64 - (next - first);
                let skipped = usize::try_from(next - first).expect("a bundle has at most 256 entries");
                let taken =
                    usize::try_from(wanted.min(until - next)).expect("a bundle has at most 256 entries");
                entries.extend(bundle.into_iter().skip(skipped).take(taken));
                next += taken as u64;
                if next == until {
                    break;
                }
            }
        }
        Ok(entries)
    }

    /// The bundle that holds entry `index` and some of those after it; never an empty list.
    pub(super) async fn bundles(&self, index: u64) -> Result<Vec<(u64, Vec<StoredEntry>)>, LogError> {
        let (start, after, end) = (bundle_key(0), bundle_key(index + 1), bundles_end());
        // The bundle begins at most 255 entries before; looking back by key finds it in one step.
        let scan = Scan { from: &start, until: &after, descending: true, limit: 1 };
        let mut rows = self.store.scan(scan).await?;
        let scan = Scan { from: &after, until: &end, descending: false, limit: SCAN_BUNDLES };
        rows.extend(self.store.scan(scan).await?);
        let decoded = rows.iter().map(|(key, row)| {
            let first = first_index(key).ok_or(LogError::Bundle { index })?;
            let entries = decode_bundle(&row.value).ok_or(LogError::Bundle { index: first })?;
            debug_assert!(entries.len() <= BUNDLE_ENTRIES_MAX);
            Ok((first, entries))
        });
        let bundles: Vec<_> = decoded.collect::<Result<_, LogError>>()?;
        if bundles.is_empty() { Err(LogError::Bundle { index }) } else { Ok(bundles) }
    }
}
