#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;
use crate::log::tree::{self, Frontier, Hash, leaf_hash};

#[test]
fn names_come_back_and_nothing_else_is_one() {
    for number in [0, 1, 77, 1_000_000] {
        let segment = Segment::new(number).unwrap();
        let name = segment.object("abababab");
        assert_eq!(Segment::of_object(&name), Some(segment), "{name}");
        for other in [format!("{name}#1"), name.replace("-log-", "-"), name.replace(".tar", ".backup")] {
            assert_eq!(Segment::of_object(&other), None, "{other}");
        }
    }
    assert_eq!(Segment::of_object("symbolon-x-log-000000000001-000000004096.tar"), None);
    assert_eq!(Segment::new(u64::MAX), None);
}

#[test]
fn all_segments_together_have_every_full_tile_once() {
    let size = 70_000_u64.next_multiple_of(SEGMENT_ENTRIES);
    let mut all: Vec<Tile> = Segment::whole(0, size).flat_map(Segment::tiles).collect();
    let mut expected = Vec::new();
    for kind in [TileKind::Entries, TileKind::Hashes(0), TileKind::Hashes(1), TileKind::Hashes(2)] {
        let full =
            (0..).map_while(|index| Tile::in_tree(kind, index, size)).filter(|tile| !tile.is_partial());
        expected.extend(full);
    }
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
}

/// Every proof between sizes from the minimum on, and of every kept entry, out of kept tiles alone; where a
/// tile above the leaves straddles the minimum, out of what is stored of it.
#[test]
fn kept_tiles_are_all_that_proofs_from_the_minimum_on_ask_for() {
    let size = 75_000_u64;
    let mut tree = Frontier::new();
    let mut nodes = BTreeMap::new();
    let mut roots = BTreeMap::new();
    for index in 0..size {
        tree.append_with(leaf_hash(&index.to_be_bytes()), |node, hash| {
            nodes.insert((node.level, node.index), hash);
        });
        roots.insert(tree.size(), tree.root());
    }
    for minimum in [SEGMENT_ENTRIES, 3 * SEGMENT_ENTRIES, 65_536, 65_536 + SEGMENT_ENTRIES] {
        let mut read = |node: Node| -> Result<Hash, Infallible> {
            let level = node.level / TILE_HEIGHT;
            let first = node.index << (node.level % TILE_HEIGHT);
            let tile = Tile::in_tree(TileKind::Hashes(level), first / 256, size).unwrap();
            assert!(is_kept(tile, minimum), "{node:?} is in {tile}, below {minimum}");
            let below = (node.index + 1) << node.level <= minimum;
            let stored = straddling(level, minimum)
                .is_some_and(|(number, width)| number == first / 256 && first % 256 < u64::from(width));
            assert!(!below || stored || u64::from(level) == 0, "{node:?} is lost");
            assert!(!below || level > 0, "leaves before the minimum are gone: {node:?}");
            Ok(nodes[&(node.level, node.index)])
        };
        let root = roots[&size];
        for index in (minimum..size).step_by(97).chain([minimum, size - 1]) {
            let leaf = leaf_hash(&index.to_be_bytes());
            let proof = tree::prove_inclusion(index, size, &mut read).unwrap();
            tree::verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
        }
        for old in (minimum..size).step_by(89).chain([minimum, minimum + 1, size]) {
            let proof = tree::prove_consistency(old, size, &mut read).unwrap();
            tree::verify_consistency(old, size, &roots[&old], &root, &proof).unwrap();
        }
        assert_eq!(Frontier::read(minimum, &mut read).unwrap().root(), roots[&minimum]);
    }
}

#[test]
fn what_lies_before_the_minimum_is_not_kept() {
    let lost = |kind, index| !is_kept(Tile::new(kind, index, TILE_WIDTH).unwrap(), 65_536);
    assert!(lost(TileKind::Entries, 255) && !lost(TileKind::Entries, 256));
    assert!(lost(TileKind::Hashes(1), 0) && !lost(TileKind::Hashes(1), 1) && !lost(TileKind::Hashes(2), 0));
    assert_eq!((lost_tiles(0, 65_536), lost_tiles(1, 65_536), lost_tiles(2, 65_536)), (256, 1, 0));
    assert_eq!(straddling(1, 65_536), None);
    assert_eq!((straddling(2, 65_536), straddling(1, 8192)), (Some((0, 1)), Some((0, 32))));
}
