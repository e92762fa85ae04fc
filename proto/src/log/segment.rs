//! Segments: runs of 4,096 entries, which leave a log together, and what of a log stays behind them.
//!
//! ```text
//! segment n    entries [4096·n, 4096·(n+1)): the leaves of one tree node at level 12
//! its object   tile/entries/…  tile/0/…    16 of each
//!              tile/1/… tile/2/…           those that its last entry completes
//!              checkpoint                  signed, of the whole log when the object was made
//! ```
//!
//! An object is a tar with these names (C2SP tlog-tiles). All objects in order, unpacked into one directory,
//! are the static log up to their end; what the broker still holds goes on from there.
//!
//! **Pruning.** A log with the *minimum index* m, a whole number of segments, has every entry from m on and
//! every tile that reaches beyond m. That is all that proofs about entries from m on and between sizes of at
//! least m ask for: whatever lies left of m enters them only through nodes of a tile that reaches beyond m.

use super::tile::{TILE_HEIGHT, TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind};
use super::tree::Node;

/// Entries of a segment: 16 bundles, about 2 MB as they are written by requests. A small installation fills
/// one in days, and a busy one has no more than a few hundred a day.
pub const SEGMENT_ENTRIES: u64 = 1 << SEGMENT_HEIGHT;

/// Tree levels that a segment spans.
const SEGMENT_HEIGHT: u8 = 12;
/// Bundles of a segment.
const BUNDLES: u64 = SEGMENT_ENTRIES / TILE_WIDTH as u64;

/// A segment by its number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(u64);

impl Segment {
    /// The one with this number; `None` if no log can reach its end.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        number.checked_add(1)?.checked_mul(SEGMENT_ENTRIES).map(|_| Self(number))
    }

    /// Those that are whole in a log of `size` entries, from the one on that begins at `first`.
    pub fn whole(first: u64, size: u64) -> impl Iterator<Item = Self> {
        (first.div_ceil(SEGMENT_ENTRIES)..size / SEGMENT_ENTRIES).map(Self)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Its first entry.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.0 * SEGMENT_ENTRIES
    }

    /// The first entry after it.
    #[must_use]
    pub const fn end(self) -> u64 {
        (self.0 + 1) * SEGMENT_ENTRIES
    }

    /// The node of the tree that stands for it.
    #[must_use]
    pub const fn node(self) -> Node {
        Node { level: SEGMENT_HEIGHT, index: self.0 }
    }

    /// The tiles of its object, in their order there: bundles and their hashes, then what it completes.
    pub fn tiles(self) -> impl Iterator<Item = Tile> {
        let first = self.first() / u64::from(TILE_WIDTH);
        let lowest = (first..first + BUNDLES).flat_map(|index| {
            [TileKind::Entries, TileKind::Hashes(0)].map(|kind| Tile::new(kind, index, TILE_WIDTH))
        });
        lowest.chain((1..=TILE_LEVEL_MAX).filter_map(move |level| completed(level, self.end()))).flatten()
    }

    /// The name of its object.
    #[must_use]
    pub fn object(self, deployment_digits: &str) -> String {
        format!("symbolon-{deployment_digits}-log-{:012}-{:012}.tar", self.first(), self.end() - 1)
    }

    /// The segment of an object that is named like this, of whichever deployment.
    #[must_use]
    pub fn of_object(name: &str) -> Option<Self> {
        let (digits, range) = name.strip_prefix("symbolon-")?.strip_suffix(".tar")?.split_once("-log-")?;
        let first: u64 = range.split_once('-')?.0.parse().ok()?;
        let segment = Self::new(first / SEGMENT_ENTRIES)?;
        (segment.object(digits) == name).then_some(segment)
    }
}

/// Leaves below a full tile; `None` beyond 2^64.
fn leaves(level: u8) -> Option<u64> {
    1_u64.checked_shl(u32::from(TILE_HEIGHT) * (u32::from(level) + 1))
}

/// The tile of a level that the last of `size` entries completes.
fn completed(level: u8, size: u64) -> Option<Result<Tile, super::tile::TileNameError>> {
    let leaves = leaves(level).filter(|leaves| size.is_multiple_of(*leaves))?;
    Some(Tile::new(TileKind::Hashes(level), size / leaves - 1, TILE_WIDTH))
}

/// Whether a log with this minimum index has the tile, or would once it is that long.
#[must_use]
pub fn is_kept(tile: Tile, minimum: u64) -> bool {
    let level = match tile.kind() {
        TileKind::Entries => 0,
        TileKind::Hashes(level) => level,
    };
    let end = leaves(level).and_then(|leaves| leaves.checked_mul(tile.index() + 1));
    end.is_none_or(|end| end > minimum)
}

/// How many tiles of a level a log with this minimum index has lost, from 0 on.
#[must_use]
pub fn lost_tiles(level: u8, minimum: u64) -> u64 {
    leaves(level).map_or(0, |leaves| minimum / leaves)
}

/// The tile of a level, above 0, that reaches beyond `minimum` and has hashes of what lies before: its number
/// and how many. `None` if all of its hashes come from what is kept.
#[must_use]
pub fn straddling(level: u8, minimum: u64) -> Option<(u64, u16)> {
    let nodes = minimum.checked_shr(u32::from(TILE_HEIGHT) * u32::from(level)).unwrap_or(0);
    let width = u16::try_from(nodes % u64::from(TILE_WIDTH)).ok().filter(|width| *width > 0)?;
    Some((nodes / u64::from(TILE_WIDTH), width))
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
