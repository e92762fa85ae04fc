//! Proofs of single entries against one signed checkpoint, made from the public log.

use std::collections::BTreeMap;

use symbolon_proto::log::checkpoint::CheckpointError;
use symbolon_proto::log::tile::{ReadError, TILE_WIDTH, TileError, decode_bundle};
use symbolon_proto::log::tree::{ProveError, prove_inclusion, verify_inclusion};
use symbolon_proto::log::{
    Checkpoint, Entry, EntryProof, Finding, Hash, Node, SignedNote, Tile, TileHashes, TileKind,
};

use super::{LogError, LogSource};

/// Tiles that are kept, 8 KiB each at most, and bundles that are up to 16 MiB are not among them.
const TILES_MAX: usize = 512;

/// Proves entries of a log as it was at one checkpoint.
pub struct Prover<'a> {
    source: &'a LogSource,
    note: String,
    checkpoint: Checkpoint,
    tiles: BTreeMap<String, Vec<u8>>,
    bundle: Option<(u64, Vec<u8>)>,
}

impl<'a> Prover<'a> {
    /// Begins with the newest checkpoint. Who signed it is for whoever gets the proofs to verify.
    pub async fn begin(source: &'a LogSource) -> Result<Self, LogError> {
        let note = source.checkpoint().await?;
        let parsed = SignedNote::parse(&note).map_err(CheckpointError::from)?;
        let checkpoint = Checkpoint::parse_text(parsed.unverified_text())?;
        Ok(Self { source, note, checkpoint, tiles: BTreeMap::new(), bundle: None })
    }

    /// Entries that the checkpoint covers.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The proof of an entry, which leads to the root that the checkpoint names; an error if it does not.
    pub async fn prove(&mut self, index: u64) -> Result<EntryProof, LogError> {
        let size = self.checkpoint.size;
        if index >= size {
            return Err(LogError::Beyond { index, size });
        }
        let entry = self.entry(index).await?;
        let hashes = self.hashes(index).await?;
        let leaf = Entry::leaf_hash(&entry);
        verify_inclusion(index, size, &leaf, &hashes, &self.checkpoint.root)
            .map_err(|_| Finding::Changed { index })?;
        Ok(EntryProof { entry, index, hashes, checkpoint: self.note.clone() })
    }

    async fn entry(&mut self, index: u64) -> Result<Vec<u8>, LogError> {
        let (number, place) = (index / u64::from(TILE_WIDTH), index % u64::from(TILE_WIDTH));
        if self.bundle.as_ref().is_none_or(|(held, _)| *held != number) {
            let name = Tile::in_tree(TileKind::Entries, number, self.checkpoint.size);
            let name = name.ok_or(LogError::Beyond { index, size: self.checkpoint.size })?;
            let Some(bytes) = self.source.tile(name).await? else {
                return Err(self.missing(&name.to_string(), index).await?);
            };
            self.bundle = Some((number, bytes));
        }
        let (_, bytes) = self.bundle.as_ref().expect("it was put there");
        let last = number * u64::from(TILE_WIDTH) + u64::from(TILE_WIDTH) - 1;
        let damaged = |source| LogError::Bundle { first: last + 1 - u64::from(TILE_WIDTH), last, source };
        let entries = decode_bundle(bytes).map_err(damaged)?;
        let found = entries.get(usize::try_from(place).unwrap_or(usize::MAX)).map(|entry| entry.to_vec());
        found.ok_or_else(|| damaged(TileError::Width { expected: TILE_WIDTH, found: entries.len() }))
    }

    /// Why a part of the log is not there.
    async fn missing(&self, path: &str, index: u64) -> Result<LogError, LogError> {
        let minimum = self.source.pruned().await?.minimum;
        Ok(match index < minimum {
            true => LogError::Cut { index, minimum },
            false => LogError::Missing { path: path.to_owned(), index },
        })
    }

    /// First asks which tiles it takes, then makes the proof of them.
    async fn hashes(&mut self, index: u64) -> Result<Vec<Hash>, LogError> {
        let size = self.checkpoint.size;
        let mut names: BTreeMap<String, Tile> = BTreeMap::new();
        let mut note = |node: Node| -> Result<Hash, LogError> {
            let _ = TileHashes::new(size, |tile: Tile| {
                names.insert(tile.to_string(), tile);
                Err::<Vec<u8>, ()>(())
            })
            .node(node);
            Ok(Hash::EMPTY_ROOT)
        };
        let _ = prove_inclusion(index, size, &mut note);
        if self.tiles.len() + names.len() > TILES_MAX {
            self.tiles.clear();
        }
        for (path, tile) in names {
            if !self.tiles.contains_key(&path) {
                let bytes = self.source.tile(tile).await?;
                let bytes = bytes.ok_or(LogError::Missing { path: path.clone(), index })?;
                self.tiles.insert(path, bytes);
            }
        }
        let damaged = || LogError::from(Finding::Changed { index });
        let mut tiles = TileHashes::new(size, |tile: Tile| {
            self.tiles.get(&tile.to_string()).cloned().ok_or(ReadError::<()>::Outside)
        });
        let proof = prove_inclusion(index, size, &mut |node| tiles.node(node));
        proof.map_err(|_: ProveError<_>| damaged())
    }
}
