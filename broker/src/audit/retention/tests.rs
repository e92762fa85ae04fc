//! Cuts of logs of many sizes, stopped after every commit.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use symbolon_core::audit::{Action, Outcome};
use symbolon_proto::id::BrokerId;
use symbolon_proto::log::pruned::{Cut, Order};
use symbolon_proto::log::segment::{SEGMENT_ENTRIES, is_kept};
use symbolon_proto::log::tile::{TILE_WIDTH, encode_hashes};
use symbolon_proto::log::tree::{self, leaf_hash};
use symbolon_proto::log::{
    Checkpoint, Entry, Frontier, Hash, NoteSigner, Segment, Tile, TileHashes, TileKind,
};
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use super::cutting;
use super::packing::{PackError, Packing};
use crate::audit::log::rows::{
    StoredEntry, bundle_key, bundles_end, checkpoint_key, encode_bundle, tile_key,
};
use crate::audit::log::tail::{CompleteTile, Tail};
use crate::audit::log::{LogError, LogReader, VerifyError};
use crate::store::memory::MemoryStore;
use crate::store::{Scan, Store};

/// A log written without the writer, in bundles that fit neither tiles nor segments.
struct Written {
    store: Arc<MemoryStore>,
    tail: Tail,
    leaves: Vec<Hash>,
}

fn signer() -> NoteSigner {
    NoteSigner::new("o", SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)))).unwrap()
}

fn entry(index: u64) -> StoredEntry {
    let (action, outcome, broker) = (Action::Init, Outcome::Allowed, BrokerId::from_bytes([1; 16]));
    let entry = Entry { index, time_ms: 1000 + index, action, outcome, broker, detail: vec![7; 20] };
    let bytes = entry.encode().unwrap();
    StoredEntry { leaf: leaf_hash(&bytes), bytes }
}

impl Written {
    fn new() -> Self {
        Self { store: Arc::default(), tail: Tail::default(), leaves: Vec::new() }
    }

    fn grow_to(&mut self, size: u64) {
        let mut tiles = Vec::new();
        while self.tail.size() < size {
            let first = self.tail.size();
            let until = size.min(first + 201);
            let entries: Vec<_> = (first..until).map(entry).collect();
            for entry in &entries {
                self.tail.advance_time(1000 + self.tail.size());
                self.tail.append(entry.leaf, &mut tiles);
                self.leaves.push(entry.leaf);
            }
            self.store.tamper(&bundle_key(first), Some(encode_bundle(&entries)));
        }
        for CompleteTile { level, number, hashes } in tiles {
            self.store.tamper(&tile_key(level, number), Some(encode_hashes(&hashes)));
        }
        let note = Checkpoint::sign(size, self.tail.root(), &signer());
        self.store.tamper(&checkpoint_key(), Some(note.into_bytes()));
    }

    fn log(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.store) as _)
    }

    /// Cuts up to `minimum`; gives the number of commits that it took.
    async fn cut(&self, minimum: u64) -> usize {
        let first = self.log().pruned().await.unwrap().minimum;
        let cut = Cut { first, end: minimum, time_ms: 5, order: Order::Policy, exported: true };
        let prepared = cutting::prepare(self.store.as_ref(), &self.log(), cut).await.unwrap();
        self.store.commit(prepared.changes.into_writes()).await.unwrap();
        self.holds().await;
        for commits in 1.. {
            let changes = cutting::sweep(self.store.as_ref(), minimum).await.unwrap();
            if changes.is_empty() {
                return commits;
            }
            assert!(changes.len() <= cutting::SWEEP_ROWS);
            self.store.commit(changes.into_writes()).await.unwrap();
            self.holds().await;
        }
        unreachable!()
    }

    /// A start finds the end, and what is kept verifies.
    async fn holds(&self) {
        let (found, _) = Tail::recover(self.store.as_ref(), &signer()).await.unwrap();
        assert_eq!(found, self.tail);
        let verified = self.log().verify_all(signer().verifier()).await.unwrap();
        assert_eq!(verified.size, self.tail.size());
    }

    /// Every tile that a log with this minimum has, and none before; proofs from those alone.
    async fn serves(&self, minimum: u64) {
        let (log, size) = (self.log(), self.tail.size());
        let mut tiles = std::collections::BTreeMap::new();
        for kind in [TileKind::Entries, TileKind::Hashes(0), TileKind::Hashes(1), TileKind::Hashes(2)] {
            for name in (0..).map_while(|index| Tile::in_tree(kind, index, size)) {
                let found = log.tile(name).await.unwrap();
                assert_eq!(found.is_some(), is_kept(name, minimum), "{name} at {minimum} of {size}");
                tiles.extend(found.map(|bytes| (name, bytes)));
            }
        }
        let mut tree = TileHashes::new(size, |tile: Tile| tiles.get(&tile).cloned().ok_or(tile));
        let mut read = |node| tree.node(node);
        let root = self.tail.root();
        for index in [minimum, minimum + 1, (minimum + size) / 2, size - 1] {
            let proof = tree::prove_inclusion(index, size, &mut read).unwrap();
            let leaf = self.leaves[usize::try_from(index).unwrap()];
            tree::verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
        }
        for old in [minimum, minimum + 7, (minimum + size) / 2, size] {
            let mut before = Frontier::new();
            self.leaves[..usize::try_from(old).unwrap()].iter().for_each(|leaf| before.append(*leaf));
            let proof = tree::prove_consistency(old, size, &mut read).unwrap();
            tree::verify_consistency(old, size, &before.root(), &root, &proof).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_goes_on_verifies_and_proves() {
    for (size, minima) in [
        (SEGMENT_ENTRIES + 256, vec![1]),
        (5 * SEGMENT_ENTRIES, vec![1, 2, 4]),
        (17 * SEGMENT_ENTRIES + 300, vec![3, 15, 16, 17]),
        (33 * SEGMENT_ENTRIES + 1, vec![5, 31, 32]),
    ] {
        let mut written = Written::new();
        written.grow_to(size);
        for minimum in minima {
            let minimum = minimum * SEGMENT_ENTRIES;
            written.cut(minimum).await;
            written.serves(minimum).await;
            let (from, until) = (bundle_key(0), bundle_key(minimum));
            let below = Scan { from: &from, until: &until, descending: false, limit: 10 };
            assert!(written.store.keys(below).await.unwrap().len() <= 1, "only what straddles the minimum");
        }
    }
}

/// The tile that straddles the cut is completed by entries after it, and a next cut goes on from there.
#[tokio::test]
async fn a_log_grows_on_across_cuts_and_its_rows_stay_few() {
    let mut written = Written::new();
    let mut most = 0;
    for segments in 1..=36 {
        written.grow_to(segments * SEGMENT_ENTRIES + 300);
        let minimum = segments.saturating_sub(2) * SEGMENT_ENTRIES;
        if minimum > 0 {
            written.cut(minimum).await;
            written.serves(minimum).await;
        }
        most = most.max(written.store.rows().len());
    }
    assert!(most < 200, "{most} rows");
}

#[tokio::test]
async fn what_was_pruned_is_not_read_and_what_remains_is_not_believed() {
    let mut written = Written::new();
    written.grow_to(3 * SEGMENT_ENTRIES);
    written.cut(2 * SEGMENT_ENTRIES).await;
    let log = written.log();
    let minimum = 2 * SEGMENT_ENTRIES;
    assert!(matches!(log.entries(5, 1).await, Err(LogError::Gone { minimum: found }) if found == minimum));
    assert!(matches!(log.root_at(minimum - 1).await, Err(LogError::Gone { .. })));
    assert_eq!(log.root_at(minimum).await.unwrap(), Some(log.pruned().await.unwrap().root));
    let text = log.resource("pruned").await.unwrap().unwrap();
    assert!(String::from_utf8(text).unwrap().contains("\ncut 0 8192 5 policy exported\n"));
    // Each row that the beginning rests on, and each kept entry, is held against the signed root.
    let rows = written.store.rows();
    for (key, value) in rows {
        if key == checkpoint_key() {
            continue;
        }
        let mut flipped = value.value.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        written.store.tamper(&key, Some(flipped));
        let verified = log.verify_all(signer().verifier()).await;
        let row = key[16..].to_vec();
        let is_leaf_tile = row[0] == 0x21 && row[1] == 0;
        assert!(verified.is_err() || is_leaf_tile, "{row:?}"); // of entries that are there, they are hints
        written.store.tamper(&key, Some(value.value));
    }
    let bundle = written.store.rows().into_iter().find(|(key, _)| *key >= bundle_key(minimum));
    let (key, _) = bundle.filter(|(key, _)| *key < bundles_end()).unwrap();
    written.store.tamper(&key, None);
    let gap = log.verify_all(signer().verifier()).await;
    assert!(matches!(gap, Err(VerifyError::Gap { .. })), "{gap:?}");
}

async fn packed(written: &Written, number: u64) -> Result<Vec<u8>, PackError> {
    let segment = Segment::new(number).unwrap();
    let mut packing = Packing::begin(written.log(), segment, signer().verifier()).await?;
    let mut all = Vec::new();
    while let Some(bytes) = packing.next().await? {
        all.extend(bytes);
    }
    assert_eq!(packing.exported([0; 32]).bytes, all.len() as u64);
    assert_eq!(packing.known().last_ms, 1000 + segment.end() - 1);
    Ok(all)
}

#[tokio::test]
async fn an_object_unpacks_to_tiles_and_none_is_made_of_altered_entries() {
    let mut written = Written::new();
    written.grow_to(16 * SEGMENT_ENTRIES + 300);
    for number in [0, 7, 15] {
        let object = packed(&written, number).await.unwrap();
        let mut archive = tar::Archive::new(object.as_slice());
        let mut names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|file| file.unwrap().path().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.pop().as_deref(), Some("checkpoint"));
        let expected: Vec<_> = Segment::new(number).unwrap().tiles().map(|tile| tile.to_string()).collect();
        assert_eq!(names, expected);
        assert_eq!(names.iter().any(|name| name == "tile/1/000"), number == 15);
    }
    assert!(matches!(packed(&written, 16).await, Err(PackError::Log(_))), "it is not whole");
    // One bit of an entry, its stored hash put right, the tile left or put right with it.
    let key = bundle_key(201);
    let whole = written.store.get(&key).await.unwrap().unwrap().value;
    let mut entries: Vec<_> = (201..402).map(entry).collect();
    entries[60].bytes[45] ^= 1;
    entries[60].leaf = leaf_hash(&entries[60].bytes);
    written.store.tamper(&key, Some(encode_bundle(&entries)));
    assert!(matches!(packed(&written, 0).await, Err(PackError::Altered { first: 0, last: 4095 })));
    let tile = tile_key(0, 1);
    let mut hashes: Vec<_> = written.leaves[256..512].to_vec();
    hashes[201 + 60 - 256] = entries[60].leaf;
    let right = written.store.get(&tile).await.unwrap().unwrap().value;
    written.store.tamper(&tile, Some(encode_hashes(&hashes)));
    assert!(matches!(packed(&written, 0).await, Err(PackError::Altered { .. })));
    written.store.tamper(&tile, Some(right));
    written.store.tamper(&key, None);
    assert!(matches!(packed(&written, 0).await, Err(PackError::Log(LogError::Bundle { .. }))));
    written.store.tamper(&key, Some(whole));
    packed(&written, 0).await.unwrap();
    assert_eq!(TILE_WIDTH, 256);
}

#[tokio::test]
async fn no_object_is_made_of_hashes_that_are_not_those_of_its_entries() {
    let mut written = Written::new();
    written.grow_to(16 * SEGMENT_ENTRIES + 300);
    for (level, number, place) in
        [(0, 240, 0), (0, 247, 255), (0, 255, 9), (1, 0, 3), (1, 0, 241), (1, 0, 255)]
    {
        let key = tile_key(level, number);
        let right = written.store.get(&key).await.unwrap().unwrap().value;
        let mut altered = right.clone();
        altered[place * 32] ^= 1;
        written.store.tamper(&key, Some(altered));
        let made = packed(&written, 15).await;
        let is_found = matches!(made, Err(PackError::Hashes { .. } | PackError::Altered { .. }));
        assert!(is_found, "hash {place} of tile {number} at level {level}");
        let cut =
            Cut { first: 0, end: 15 * SEGMENT_ENTRIES, time_ms: 5, order: Order::Policy, exported: true };
        if level > 0 && place < 240 {
            let prepared = cutting::prepare(written.store.as_ref(), &written.log(), cut).await.unwrap();
            let proven = cutting::prove(&written.log(), signer().verifier(), &prepared.pruned).await;
            assert!(matches!(proven, Err(PackError::Beginning { .. })), "{proven:?}");
        }
        written.store.tamper(&key, Some(right));
    }
    packed(&written, 15).await.unwrap();
}
