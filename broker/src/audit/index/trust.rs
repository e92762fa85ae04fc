//! The root of a segment, proven.
//!
//! The tree that the writer holds in memory was checked against the signed checkpoint at the start and has
//! grown by what was committed since. From one of its complete subtrees the way goes down by stored hashes,
//! one tile at a time, and each must lead to what is known already.

use symbolon_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH};
use symbolon_proto::log::{Frontier, Hash, Node, Segment};

use crate::audit::log::tail::subtree_root;
use crate::audit::log::{LogError, LogReader};

/// Hashes that lead to a known root, the lowest last: of each tile the first node, and all of them.
type Way = Vec<(Node, Vec<Hash>)>;

/// Proves roots of segments, one after the other; what two of them share is read once.
pub(super) struct Trust {
    log: LogReader,
    tree: Frontier,
    way: Way,
}

impl Trust {
    pub(super) fn new(log: LogReader, tree: Frontier) -> Self {
        Self { log, tree, way: Way::new() }
    }

    /// The root over the entries of a segment; `None` if the log does not have all of them, or hashes do not
    /// lead from the tree to it.
    pub(super) async fn root(&mut self, segment: Segment) -> Result<Option<Hash>, LogError> {
        let wanted = segment.node();
        let Some(mut known) = self.nearest(wanted) else { return Ok(None) };
        while known.0 != wanted {
            let Some(step) = self.step(known).await? else { return Ok(None) };
            let next = next(&step, wanted);
            self.way.push(step);
            let Some(next) = next else { return Ok(None) };
            known = next;
        }
        Ok(Some(known.1))
    }

    /// What is known already and lies nearest above a node, or is that. Steps that lead elsewhere are left.
    fn nearest(&mut self, wanted: Node) -> Option<(Node, Hash)> {
        while let Some(step) = self.way.last() {
            if let Some(known) = next(step, wanted) {
                return Some(known);
            }
            self.way.pop();
        }
        self.tree.above(wanted)
    }

    /// The stored hashes below a known node, if they lead to it.
    async fn step(&self, (node, root): (Node, Hash)) -> Result<Option<(Node, Vec<Hash>)>, LogError> {
        let level = (node.level - 1) / TILE_HEIGHT;
        let height = node.level - level * TILE_HEIGHT;
        let first = node.index << height;
        let hashes = self.log.tile_hashes(level, first, first + (1 << height)).await?;
        debug_assert!(hashes.len() <= usize::from(TILE_WIDTH));
        let first = Node { level: level * TILE_HEIGHT, index: first };
        Ok((hashes.len().is_power_of_two() && subtree_root(&hashes) == root).then_some((first, hashes)))
    }
}

/// The node itself if a step knows it, or the one above it.
fn next(step: &(Node, Vec<Hash>), wanted: Node) -> Option<(Node, Hash)> {
    within(step, wanted).map(|root| (wanted, root)).or_else(|| towards(step, wanted))
}

/// A node that is made of the hashes of a step; `None` if it lies elsewhere, or lower.
fn within((first, hashes): &(Node, Vec<Hash>), wanted: Node) -> Option<Hash> {
    let height = wanted.level.checked_sub(first.level)?;
    let begin = usize::try_from((wanted.index << height).checked_sub(first.index)?).ok()?;
    hashes.get(begin..begin.checked_add(1 << height)?).map(subtree_root)
}

/// The node of a step that lies above a lower one.
fn towards((first, hashes): &(Node, Vec<Hash>), wanted: Node) -> Option<(Node, Hash)> {
    let index = wanted.index >> first.level.checked_sub(wanted.level)?;
    let place = usize::try_from(index.checked_sub(first.index)?).ok()?;
    hashes.get(place).map(|hash| (Node { level: first.level, index }, *hash))
}
