#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::super::tree::{Frontier, leaf_hash, prove_consistency, prove_inclusion, root};
use super::super::tree::{verify_consistency, verify_inclusion};
use super::*;

fn tile(kind: TileKind, index: u64, width: u16) -> Tile {
    Tile::new(kind, index, width).unwrap()
}

#[test]
fn names_are_written_and_read() {
    let cases = [
        (tile(TileKind::Hashes(0), 0, 256), "tile/0/000"),
        (tile(TileKind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(TileKind::Hashes(1), 1000, 256), "tile/1/x001/000"),
        (tile(TileKind::Hashes(2), 999, 4), "tile/2/999.p/4"),
        (tile(TileKind::Entries, 1_234_067, 8), "tile/entries/x001/x234/067.p/8"),
        (tile(TileKind::Entries, u64::MAX, 255), "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255"),
    ];
    for (tile, path) in cases {
        assert_eq!(tile.to_string(), path);
        assert_eq!(Tile::parse(path), Ok(tile));
    }
}

#[test]
fn other_spellings_are_refused() {
    let cases = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/00/000",
        "tile/8/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/entries/../000",
        "tile/0/x001x/000",
        "tile/0/000.p/5.p/5",
    ];
    for path in cases {
        assert_eq!(Tile::parse(path), Err(TileNameError), "{path:?}");
    }
    assert!(Tile::new(TileKind::Hashes(8), 0, 1).is_err());
    assert!(Tile::new(TileKind::Entries, 0, 0).is_err());
    assert!(Tile::new(TileKind::Entries, 0, 257).is_err());
}

#[test]
fn tiles_of_a_tree_are_full_up_to_the_last() {
    let width = |kind, index, size| Tile::in_tree(kind, index, size).map(|tile| tile.width());
    let leaves = TileKind::Hashes(0);
    assert_eq!(width(leaves, 0, 0), None);
    assert_eq!(width(leaves, 0, 1), Some(1));
    assert_eq!(width(leaves, 0, 256), Some(256));
    assert_eq!(width(leaves, 1, 256), None);
    assert_eq!(width(TileKind::Entries, 1, 257), Some(1));
    assert_eq!(width(TileKind::Hashes(1), 0, 255), None);
    assert_eq!(width(TileKind::Hashes(1), 0, 70_000), Some(256));
    assert_eq!(width(TileKind::Hashes(1), 1, 70_000), Some(17));
    assert_eq!(width(TileKind::Hashes(2), 0, 70_000), Some(1));
    assert_eq!(width(leaves, u64::MAX, u64::MAX), None);
    assert_eq!(width(TileKind::Hashes(7), 0, u64::MAX), Some(255));
}

#[test]
fn bundles_come_back_and_are_bounded() {
    let long = vec![7; ENTRY_BYTES_MAX];
    let entries: [&[u8]; 3] = [b"one", b"", &long];
    let bytes = encode_bundle(entries).unwrap();
    assert_eq!(bytes[..5], [0, 3, b'o', b'n', b'e']);
    assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    assert_eq!(decode_bundle(&[]).unwrap(), Vec::<&[u8]>::new());
    assert!(decode_bundle(&bytes[..bytes.len() - 1]).is_err());
    assert!(decode_bundle(&[0]).is_err());
    let full = encode_bundle([&b""[..]; 256]).unwrap();
    assert_eq!(decode_bundle(&full).unwrap().len(), 256);
    assert!(decode_bundle(&[&full[..], &[0, 0]].concat()).is_err());
    assert!(encode_bundle([&b""[..]; 257]).is_err());
    let found = ENTRY_BYTES_MAX + 1;
    assert_eq!(encode_bundle([&vec![0; found][..]]), Err(TileError::EntryTooLong { found }));
}

/// All tiles of a log of numbered entries, as they are at its largest size.
fn tiles(size: u64) -> BTreeMap<(u8, u64), Vec<Hash>> {
    let mut tiles = BTreeMap::<_, Vec<_>>::new();
    let mut frontier = Frontier::new();
    for index in 0..size {
        frontier.append_with(leaf_hash(&index.to_be_bytes()), |node, hash| {
            if node.level % TILE_HEIGHT == 0 {
                tiles.entry((node.level / TILE_HEIGHT, node.index / 256)).or_default().push(hash);
            }
        });
    }
    tiles
}

#[test]
fn proofs_come_from_tiles() {
    let tiles = tiles(66_000);
    let fetch = |tile: Tile| {
        let TileKind::Hashes(level) = tile.kind() else { return Err(TileNameError) };
        tiles.get(&(level, tile.index())).map(|hashes| encode_hashes(hashes)).ok_or(TileNameError)
    };
    let mut roots = BTreeMap::new();
    let mut frontier = Frontier::new();
    for index in 0..66_000_u64 {
        frontier.append(leaf_hash(&index.to_be_bytes()));
        if [1, 255, 256, 257, 511, 1000, 65_535, 65_536, 65_537, 66_000].contains(&(index + 1)) {
            roots.insert(index + 1, frontier.root());
        }
    }
    for (&size, expected) in &roots {
        let mut reader = TileHashes::new(size, fetch);
        assert_eq!(root(size, &mut |node| reader.node(node)), Ok(*expected), "{size}");
        for index in [0, size / 2, size - 1] {
            let proof = prove_inclusion(index, size, &mut |node| reader.node(node)).unwrap();
            let leaf = leaf_hash(&index.to_be_bytes());
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, expected), Ok(()));
        }
        for (&old, old_root) in roots.range(..=size) {
            let proof = prove_consistency(old, size, &mut |node| reader.node(node)).unwrap();
            assert_eq!(verify_consistency(old, size, old_root, expected, &proof), Ok(()));
        }
    }
}

#[test]
fn broken_tiles_are_refused() {
    let read = |bytes: Vec<u8>, node| TileHashes::new(3, |_| Ok::<_, ()>(bytes.clone())).node(node);
    let leaf = Node { level: 0, index: 0 };
    assert_eq!(read(vec![0; 64], leaf), Err(TileError::Width { expected: 3, found: 2 }.into()));
    assert_eq!(read(vec![0; 97], leaf), Err(TileError::Width { expected: 3, found: 3 }.into()));
    assert_eq!(read(vec![0; 257 * 32], leaf), Err(TileError::Width { expected: 3, found: 257 }.into()));
    assert!(read(vec![0; 96], leaf).is_ok());
    for outside in [(0, 3), (1, 1), (2, 0), (8, 0), (63, 0), (200, 0), (7, u64::MAX)] {
        let node = Node { level: outside.0, index: outside.1 };
        assert_eq!(read(vec![0; 96], node), Err(ReadError::Outside), "{node:?}");
    }
    let failing = TileHashes::new(3, |_| Err("disk")).node(leaf);
    assert_eq!(failing, Err(ReadError::Fetch("disk")));
}
