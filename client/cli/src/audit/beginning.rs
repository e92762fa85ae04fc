//! Where a log begins: the tree over what was pruned, from the tiles that are kept.

use std::collections::BTreeMap;
use std::convert::Infallible;

use symbolon_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH};
use symbolon_proto::log::{Checkpoint, Frontier, Hash, Node, Pruned, Tile, TileHashes, TileKind};

use super::{LogError, LogSource};

/// The tree before the first entry that the source has: empty if it has all.
///
/// Of a pruned log the kept tiles are believed for the moment: whatever they say goes into the root that is
/// compared with the signed one at the end.
pub(super) async fn find(
    source: &LogSource,
    checkpoint: &Checkpoint,
    pruned: &Pruned,
) -> Result<Frontier, LogError> {
    let minimum = pruned.minimum;
    if minimum == 0 || has_all(source, checkpoint.size).await? {
        return Ok(Frontier::new());
    }
    if minimum > checkpoint.size {
        return Err(LogError::Pruned { minimum });
    }
    let mut nodes: Vec<Node> = Vec::new();
    let collected = Frontier::read(minimum, &mut |node| -> Result<Hash, Infallible> {
        nodes.push(node);
        Ok(Hash::EMPTY_ROOT)
    });
    debug_assert!(collected.is_ok());
    let mut tiles = BTreeMap::new();
    for node in nodes {
        let (name, bytes) = tile_of(source, node, checkpoint.size, minimum).await?;
        tiles.insert(name, bytes);
    }
    let mut hashes = TileHashes::new(checkpoint.size, |tile: Tile| tiles.get(&tile).cloned().ok_or(()));
    let before = Frontier::read(minimum, &mut |node| hashes.node(node));
    let before = before.map_err(|_| LogError::Pruned { minimum })?;
    if before.root() == pruned.root { Ok(before) } else { Err(LogError::Pruned { minimum }) }
}

/// Whether the source has entries from the first one on. Segments are given to verify all of them.
async fn has_all(source: &LogSource, size: u64) -> Result<bool, LogError> {
    if matches!(source, LogSource::Exported(..)) {
        return Ok(true);
    }
    match Tile::in_tree(TileKind::Entries, 0, size) {
        Some(first) => Ok(source.tile(first).await?.is_some()),
        None => Ok(true),
    }
}

async fn tile_of(
    source: &LogSource,
    node: Node,
    size: u64,
    minimum: u64,
) -> Result<(Tile, Vec<u8>), LogError> {
    let level = node.level / TILE_HEIGHT;
    let index = (node.index << (node.level % TILE_HEIGHT)) / u64::from(TILE_WIDTH);
    let name = Tile::in_tree(TileKind::Hashes(level), index, size).ok_or(LogError::Pruned { minimum })?;
    let missing = || LogError::Missing { path: name.to_string(), index: minimum };
    Ok((name, source.tile(name).await?.ok_or_else(missing)?))
}
