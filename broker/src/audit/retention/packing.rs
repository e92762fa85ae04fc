//! A segment as one object: a tar with the names of C2SP tlog-tiles, as fast as it is taken.
//!
//! Every entry is hashed on its way. Before the last bytes leave, the node over them must be the one that the
//! signed checkpoint covers: an object of entries that were damaged in the store never gets its name.

use sha2::{Digest as _, Sha256};
use symbolon_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH, decode_bundle, decode_hashes, encode_hashes};
use symbolon_proto::log::tree::{self, Frontier, ProveError, leaf_hash, node_hash};
use symbolon_proto::log::{
    Checkpoint, CheckpointError, Entry, Finding, Hash, Node, Segment, Tile, TileKind, VerifierKey,
};

use super::segments::{Exported, Known, PlaceId};
use crate::audit::log::tail::subtree_root;
use crate::audit::log::{LogError, LogReader};
use crate::place::{BrokenOff, Source};
use crate::store::Cause;

/// Bytes that an entry takes in the store beside itself: its leaf hash twice, its length, and its share of
/// keys and of the tree above.
const OVERHEAD_BYTES: u64 = 80;
/// Bytes of a tar are counted in blocks.
const BLOCK: usize = 512;
/// Everybody who gets the directory may read what is in it; it is as public as the log.
const MODE: u32 = 0o644;

/// Why a segment is not exported.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The checkpoint is not one that the key signed.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// An entry is not readable as one.
    #[error(transparent)]
    Finding(#[from] Finding),
    /// The entries are not those that were signed.
    #[error("entries {first} to {last} are not those that were signed; run `symbolon audit verify`")]
    Altered {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Hashes that are stored beside the entries are not those of the entries.
    #[error(
        "the stored hashes {tile} are not those of the entries that were signed: somebody else wrote to the store; keep a copy of it for an investigation, and restore these hashes from a backup"
    )]
    Hashes {
        /// Which.
        tile: Tile,
    },
    /// The stored hashes do not lead from a cut to what was signed.
    #[error(
        "the stored hashes of what lies before entry {end} are not those that were signed: nothing is pruned; keep a copy of the store for an investigation, and restore them from a backup"
    )]
    Beginning {
        /// The end of the cut that was not made.
        end: u64,
    },
    /// A number that a tar does not hold.
    #[error("a part of the segment is too long for a tar")]
    Tar(#[source] std::io::Error),
}

/// A segment on its way into an object.
pub struct Packing {
    log: LogReader,
    segment: Segment,
    note: String,
    checkpoint: Checkpoint,
    tiles: std::vec::IntoIter<Tile>,
    is_whole: bool,
    tree: Frontier,
    first_leaf: Hash,
    leaves: Vec<Hash>,
    wrong: Option<Tile>,
    upper: Vec<(Tile, Hash)>,
    body: [u8; 32],
    entry_bytes: u64,
    last_ms: u64,
    hash: Sha256,
    bytes: u64,
}

impl Packing {
    /// Begins with a segment that is whole in the log which `key` signs.
    pub async fn begin(log: LogReader, segment: Segment, key: &VerifierKey) -> Result<Self, PackError> {
        let note = log.checkpoint().await?.ok_or(CheckpointError::Layout)?;
        let checkpoint = Checkpoint::open(&note, key)?;
        if checkpoint.size < segment.end() {
            return Err(LogError::Bundle { index: checkpoint.size }.into());
        }
        let tiles = segment.tiles().collect::<Vec<_>>().into_iter();
        let (tree, first_leaf, hash) = (Frontier::new(), Hash::EMPTY_ROOT, Sha256::new());
        let (entry_bytes, last_ms, bytes) = (0, 0, 0);
        Ok(Self {
            log,
            segment,
            note,
            checkpoint,
            tiles,
            is_whole: false,
            tree,
            first_leaf,
            leaves: Vec::new(),
            wrong: None,
            upper: Vec::new(),
            body: [0; 32],
            entry_bytes,
            last_ms,
            hash,
            bytes,
        })
    }

    /// The bytes that follow; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, PackError> {
        if self.is_whole {
            return Ok(None);
        }
        let bytes = match self.tiles.next() {
            Some(tile) => self.tile(tile).await?,
            None => self.end().await?,
        };
        self.hash.update(&bytes);
        self.bytes += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Goes to the end without an object: what is in it is proven all the same.
    pub async fn look(self) -> Result<Known, PackError> {
        Ok(self.prove_all().await?.known)
    }

    /// The same, with what an object of it must hold.
    pub async fn prove_all(mut self) -> Result<Proven, PackError> {
        while self.next().await?.is_some() {
            tokio::task::yield_now().await;
        }
        Ok(Proven { known: self.known(), root: self.tree.root(), body: self.body })
    }

    /// What is known of the segment after its last bytes.
    #[must_use]
    pub const fn known(&self) -> Known {
        Known { bytes: self.entry_bytes, last_ms: self.last_ms, exported: None }
    }

    /// The object that was given out, for the place that holds it.
    #[must_use]
    pub fn exported(&self, place: PlaceId) -> Exported {
        Exported { place, sha256: self.hash.clone().finalize().into(), bytes: self.bytes }
    }

    async fn tile(&mut self, tile: Tile) -> Result<Vec<u8>, PackError> {
        let missing = LogError::Bundle { index: tile.index() };
        let bytes = self.log.tile(tile).await?.ok_or(missing)?;
        match tile.kind() {
            TileKind::Entries => self.take(&bytes)?,
            TileKind::Hashes(0) if bytes == encode_hashes(&self.leaves) => {}
            TileKind::Hashes(0) => self.wrong = self.wrong.or(Some(tile)), // or its entries: see at the end
            TileKind::Hashes(_) => {
                let hashes = decode_hashes(&bytes, TILE_WIDTH).map_err(|_| PackError::Hashes { tile })?;
                self.upper.push((tile, subtree_root(&hashes)));
            }
        }
        file(&tile.to_string(), &bytes)
    }

    /// Hashes entries, and sees when the last one was written.
    fn take(&mut self, bundle: &[u8]) -> Result<(), PackError> {
        let at = self.segment.first() + self.tree.size();
        let entries = decode_bundle(bundle).map_err(|_| LogError::Bundle { index: at })?;
        self.leaves.clear();
        for (index, bytes) in (at..).zip(entries) {
            let entry = Entry::decode(bytes).map_err(|error| Finding::Unreadable { index, error })?;
            let leaf = leaf_hash(bytes);
            if self.tree.size() == 0 {
                self.first_leaf = leaf;
            }
            self.tree.append(leaf);
            self.leaves.push(leaf);
            self.entry_bytes += bytes.len() as u64 + OVERHEAD_BYTES;
            self.last_ms = entry.time_ms;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<Vec<u8>, PackError> {
        self.prove().await?;
        self.body = self.hash.clone().finalize().into();
        let mut bytes = file("checkpoint", self.note.as_bytes())?;
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        self.is_whole = true;
        Ok(bytes)
    }

    /// The first leaf is in the signed tree, and so is everything on its way up; nodes of that way stand for
    /// the segment, and for each tile above the leaves, and must be the roots over what was read.
    async fn prove(&self) -> Result<(), PackError> {
        let (first, size) = (self.segment.first(), self.checkpoint.size);
        let proof = inclusion(&self.log, first, size).await?;
        let root = &self.checkpoint.root;
        let is_signed = tree::verify_inclusion(first, size, &self.first_leaf, &proof, root).is_ok();
        if !is_signed || self.above(&proof, self.segment.node().level) != Some(self.tree.root()) {
            return Err(PackError::Altered { first, last: self.segment.end() - 1 });
        }
        let is_wrong = |(tile, found): &&(Tile, Hash)| match tile.kind() {
            TileKind::Hashes(level) => self.above(&proof, (level + 1) * TILE_HEIGHT) != Some(*found),
            TileKind::Entries => false,
        };
        let wrong = self.wrong.or_else(|| self.upper.iter().find(is_wrong).map(|(tile, _)| *tile));
        wrong.map_or(Ok(()), |tile| Err(PackError::Hashes { tile }))
    }

    /// The whole node at `level` above the first leaf, from the proof that this is in the tree.
    fn above(&self, proof: &[Hash], level: u8) -> Option<Hash> {
        let climb = |hash: Hash, (height, sibling): (usize, &Hash)| match self.segment.first() >> height & 1 {
            0 => node_hash(&hash, sibling),
            _ => node_hash(sibling, &hash),
        };
        let inner = proof.get(..usize::from(level))?;
        Some(inner.iter().enumerate().fold(self.first_leaf, climb))
    }
}

/// What was proven of a segment in the store.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    /// What its row should say, but for an export.
    pub known: Known,
    /// Root over its entries.
    pub root: Hash,
    /// SHA-256 of an object of it as far as the checkpoint, which is another one each time.
    pub body: [u8; 32],
}

impl Source for Packing {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BrokenOff> {
        Self::next(self).await.map_err(|error| match error {
            PackError::Log(LogError::Store(error)) => BrokenOff::Store(error),
            error => BrokenOff::Unreadable(Cause::new(error)),
        })
    }
}

/// Proof that the entry at `index` is in the tree of the first `size`, from stored tiles.
pub async fn inclusion(log: &LogReader, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
    let prove = |read: &mut Read<'_>| tree::prove_inclusion(index, size, read);
    proof(log, index, size, &prove).await
}

/// Proof that the tree of the first `old` entries is the beginning of that of the first `size`, from stored
/// tiles.
pub async fn consistency(log: &LogReader, old: u64, size: u64) -> Result<Vec<Hash>, LogError> {
    let prove = |read: &mut Read<'_>| tree::prove_consistency(old, size, read);
    proof(log, old, size, &prove).await
}

type Read<'a> = dyn FnMut(Node) -> Result<Hash, LogError> + 'a;
type Prove<'a> = dyn Fn(&mut Read<'_>) -> Result<Vec<Hash>, ProveError<LogError>> + Send + Sync + 'a;

/// A proof: first told which nodes it asks for, then made of them.
async fn proof(log: &LogReader, at: u64, size: u64, prove: &Prove<'_>) -> Result<Vec<Hash>, LogError> {
    let failed = |error| match error {
        ProveError::Read(error) => error,
        ProveError::Range { .. } => LogError::Bundle { index: at },
    };
    let mut nodes: Vec<Node> = Vec::new();
    let mut collect = |node| {
        nodes.push(node);
        Ok(Hash::EMPTY_ROOT)
    };
    prove(&mut collect).map_err(failed)?;
    let mut hashes = Vec::with_capacity(nodes.len());
    for node in nodes {
        hashes.push(log.node(node, size).await?);
    }
    let mut hashes = hashes.into_iter();
    prove(&mut |_| hashes.next().ok_or(LogError::Bundle { index: at })).map_err(failed)
}

/// A file of a tar: head, bytes, and zeros up to a whole block.
fn file(name: &str, bytes: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(PackError::Tar)?;
    header.set_size(bytes.len() as u64);
    header.set_mode(MODE);
    header.set_cksum();
    let mut file = Vec::with_capacity(BLOCK + bytes.len().next_multiple_of(BLOCK));
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    Ok(file)
}
