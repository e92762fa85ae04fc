//! Tiles: the tree and the entries cut into files that never change once they are full (C2SP tlog-tiles).
//!
//! ```text
//! tile/<L>/<N>[.p/<W>]        W hashes of 32 bytes: nodes at level 8·L, the N-th group of 256
//! tile/entries/<N>[.p/<W>]    W entries, each with a 16-bit length before it
//! ```
//!
//! N is written in groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`. W is 256
//! in a full tile and stands in the name of a partial one only.

use core::fmt;

use super::checkpoint::parse_decimal;
use super::entry::ENTRY_BYTES_MAX;
use super::tree::{self, Hash, Node};
use crate::codec::{DecodeError, Reader, Writer};

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels that one tile level spans.
pub const TILE_HEIGHT: u8 = 8;
/// Bytes of a full tile.
pub const TILE_BYTES_MAX: usize = 256 * 32;
/// Highest tile level that a tree of 2^64 entries needs.
pub const TILE_LEVEL_MAX: u8 = 7;
/// Longest entry bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);

/// What a tile path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes at this tile level, 0 for leaf hashes.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// The name of a tile or of an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// A path, or numbers, that name no tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such tile: expected tile/<level>/<number> or tile/entries/<number>, with .p/<width> if it is partial"
)]
pub struct TileNameError;

impl Tile {
    /// Tile `index` of a kind with `width` (1 to 256) hashes or entries.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileNameError> {
        let level_fits = !matches!(kind, TileKind::Hashes(level) if level > TILE_LEVEL_MAX);
        let tile = Self { kind, index, width };
        if level_fits && (1..=TILE_WIDTH).contains(&width) { Ok(tile) } else { Err(TileNameError) }
    }

    /// Tile `index` of a kind as it is in a tree of `size` entries; `None` if it does not exist there.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let nodes = size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0);
        let first = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = nodes.checked_sub(first)?.min(u64::from(TILE_WIDTH));
        Self::new(kind, index, u16::try_from(width).ok()?).ok()
    }

    /// Hashes or entries.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries in it, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it can still grow.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// Reads a path in its one canonical form.
    pub fn parse(path: &str) -> Result<Self, TileNameError> {
        Self::parse_path(path).ok_or(TileNameError)
    }

    fn parse_path(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match level {
            "entries" => TileKind::Entries,
            _ => TileKind::Hashes(u8::try_from(parse_decimal(level)?).ok()?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                let width = u16::try_from(parse_decimal(width)?).ok()?;
                (number, Some(width).filter(|width| *width < TILE_WIDTH)?)
            }
            None => (rest, TILE_WIDTH),
        };
        let tile = Self::new(kind, parse_number(number)?, width).ok()?;
        // Whatever spelling slipped through, only the canonical one names the tile.
        (tile.to_string() == path).then_some(tile)
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let mut number = 0_u64;
    for group in text.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(number)
}

impl fmt::Display for Tile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(out, "tile/{level}/")?,
            TileKind::Entries => out.write_str("tile/entries/")?,
        }
        // The largest power of 1000 that the number reaches, then down to the last group.
        let mut unit = 1_u64;
        while self.index / unit >= 1000 {
            unit *= 1000;
        }
        while unit > 1 {
            write!(out, "x{:03}/", self.index / unit % 1000)?;
            unit /= 1000;
        }
        write!(out, "{:03}", self.index % 1000)?;
        if self.is_partial() { write!(out, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// Why bytes are no tile or no entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not the layout.
    #[error("the entry bundle is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Not as many hashes or entries as the name says.
    #[error("{found} hashes or entries in a tile of {expected}")]
    Width {
        /// Expected from the name.
        expected: u16,
        /// Found in it.
        found: usize,
    },
    /// An entry that no bundle holds.
    #[error("an entry of {found} bytes, longer than 65535")]
    EntryTooLong {
        /// Its length in bytes.
        found: usize,
    },
}

/// Writes a bundle: each entry with its length in 16 bits before it.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut writer = Writer::with_capacity(64 * 1024);
    for (count, entry) in entries.into_iter().enumerate() {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(TileError::EntryTooLong { found: entry.len() });
        }
        if count == usize::from(TILE_WIDTH) {
            return Err(TileError::Width { expected: TILE_WIDTH, found: count + 1 });
        }
        writer.lp(entry);
    }
    Ok(writer.finish())
}

/// The entries of a bundle, at most 256.
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while !reader.rest().is_empty() {
        if entries.len() == usize::from(TILE_WIDTH) {
            return Err(TileError::Width { expected: TILE_WIDTH, found: entries.len() + 1 });
        }
        entries.push(reader.lp(ENTRY_BYTES_MAX)?);
    }
    Ok(entries)
}

/// Writes a hash tile.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.as_bytes().iter().copied()).collect()
}

/// The hashes of a hash tile that should hold `width` of them. A tile that has grown since is taken as far as
/// asked.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let wanted = usize::from(width);
    if !rest.is_empty() || hashes.len() < wanted || hashes.len() > usize::from(TILE_WIDTH) {
        return Err(TileError::Width { expected: width, found: hashes.len() });
    }
    Ok(hashes[..wanted].iter().map(|hash| Hash::from_bytes(*hash)).collect())
}

/// Why a node could not be read from tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The node is not complete in a tree of this size.
    #[error("a node outside the tree")]
    Outside,
    /// The tile is not one.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The tile could not be fetched.
    #[error("a tile could not be read")]
    Fetch(#[source] E),
}

/// Reads nodes of a tree from its tiles; keeps the tile it read last of each level.
///
/// `fetch` returns a tile's bytes; it is asked for tiles of the tree's size, and may answer with a wider
/// tile.
pub struct TileHashes<F> {
    size: u64,
    fetch: F,
    /// The last tile of each level with its number.
    recent: [Option<(u64, Vec<Hash>)>; 8],
}

impl<E, F: FnMut(Tile) -> Result<Vec<u8>, E>> TileHashes<F> {
    /// Reads the tree of the first `size` entries.
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch, recent: [const { None }; 8] }
    }

    /// The hash of a complete node: the root over up to 128 neighbours in one tile.
    pub fn node(&mut self, node: Node) -> Result<Hash, ReadError<E>> {
        let level = node.level / TILE_HEIGHT;
        let inner = u32::from(node.level % TILE_HEIGHT);
        let first = node.index.checked_mul(1 << inner).ok_or(ReadError::Outside)?;
        let (tile, offset) = (first / u64::from(TILE_WIDTH), first % u64::from(TILE_WIDTH));
        let begin = usize::try_from(offset).map_err(|_| ReadError::Outside)?;
        let hashes = self.tile(level, tile)?;
        let mut nodes = hashes.get(begin..begin + (1 << inner)).ok_or(ReadError::Outside)?.to_vec();
        for _ in 0..inner {
            let (pairs, _) = nodes.as_chunks::<2>();
            nodes = pairs.iter().map(|[left, right]| tree::node_hash(left, right)).collect();
        }
        nodes.first().copied().ok_or(ReadError::Outside)
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[Hash], ReadError<E>> {
        let place = self.recent.get_mut(usize::from(level)).ok_or(ReadError::Outside)?;
        if place.as_ref().is_none_or(|(kept, _)| *kept != index) {
            let name = Tile::in_tree(TileKind::Hashes(level), index, self.size).ok_or(ReadError::Outside)?;
            let bytes = (self.fetch)(name).map_err(ReadError::Fetch)?;
            *place = Some((index, decode_hashes(&bytes, name.width())?));
        }
        place.as_ref().map(|(_, hashes)| hashes.as_slice()).ok_or(ReadError::Outside)
    }
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
