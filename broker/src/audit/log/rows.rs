//! How the log lies in the store: tables of the deployment itself, outside every tenant.
//!
//! ```text
//! 0x20 ‖ first index(8)       bundle: entries of one group commit, in order
//! 0x21 ‖ level(1) ‖ N(8)      tile: 256 hashes of 32 bytes, written when complete
//! 0x22                        the latest signed checkpoint, a signed note; at most a second behind
//! 0x24                        the head: where the log ends, authenticated (`docs/skb1.md` 16.82)
//! 0x25 ‖ 0                    what was pruned (`symbolon_proto::log::pruned`); absent before the first cut
//! 0x25 ‖ 1 ‖ segment(8)       what is known of a whole segment (`audit::retention::segments`)
//! 0x25 ‖ 2 ‖ format(1) ‖ segment(8)   its index, sealed (`audit::index`)
//! ```
//!
//! The entries of a group commit are one bundle or several:
//! `format(1)=1 ‖ count(2) ‖ count × (leaf hash(32) ‖ LP32(entry))`. The leaf hash is redundant on
//! purpose: when the root is wrong, it tells which entry was changed, also before its tile is complete.
//! Entries are public but for their sealed detail, so nothing here is encrypted a second time.

use symbolon_proto::codec::{Reader, Writer};
use symbolon_proto::id::TenantId;
use symbolon_proto::log::Hash;
use symbolon_proto::log::entry::ENTRY_BYTES_MAX;

use crate::rows::{Layout, Life, Table};

/// Bundles of entries.
pub const TABLE_BUNDLES: u8 = 0x20;
/// Complete tiles.
pub const TABLE_TILES: u8 = 0x21;
/// The latest checkpoint.
pub const TABLE_CHECKPOINT: u8 = 0x22;

/// Where the log ends.
pub const TABLE_HEAD: u8 = 0x24;

/// What is known of segments, and what was pruned.
pub const TABLE_RETENTION: u8 = 0x25;

/// The same for the list of all tables.
pub const TABLES: &[Table] = &[
    Table::new(TABLE_BUNDLES, "entries of the log", Layout::Log, Life::Kept),
    Table::new(TABLE_TILES, "tiles of the log", Layout::Log, Life::Kept),
    Table::new(TABLE_CHECKPOINT, "checkpoint of the log", Layout::Log, Life::Kept),
    Table::new(TABLE_HEAD, "end of the log", Layout::Log, Life::Kept),
    Table::new(TABLE_RETENTION, "segments of the log", Layout::Log, Life::Kept),
];

/// Most entries in a bundle, which is most jobs in a group.
pub const BUNDLE_ENTRIES_MAX: usize = 256;

const BUNDLE_FORMAT: u8 = 1;
/// Before the entries of a bundle.
const BUNDLE_HEAD_BYTES: usize = 3;
/// Before each entry: its leaf hash and its length.
const ENTRY_HEAD_BYTES: usize = 36;
/// Least page of the stores that we know; a row of more takes a power of two of them.
const PAGE_BYTES: usize = 4096;
/// What a page has beside the value of its only row.
const PAGE_HEAD_BYTES: usize = 64;
/// Of the sealed index of a segment. Rows of another are removed, and made again.
const INDEX_FORMAT: u8 = 1;

/// An entry as a bundle holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Leaf hash that the writer computed.
    pub leaf: Hash,
    /// Wire form of the entry.
    pub bytes: Vec<u8>,
}

/// The key of the bundle that begins with entry `first`.
#[must_use]
pub fn bundle_key(first: u64) -> Vec<u8> {
    key(TABLE_BUNDLES, &[&first.to_be_bytes()])
}

/// The key of tile `number` of `level`.
#[must_use]
pub fn tile_key(level: u8, number: u64) -> Vec<u8> {
    key(TABLE_TILES, &[&[level], &number.to_be_bytes()])
}

/// The key of the checkpoint.
#[must_use]
pub fn checkpoint_key() -> Vec<u8> {
    key(TABLE_CHECKPOINT, &[])
}

/// The key of the head.
#[must_use]
pub fn head_key() -> Vec<u8> {
    key(TABLE_HEAD, &[])
}

/// The key of what was pruned.
#[must_use]
pub fn pruned_key() -> Vec<u8> {
    key(TABLE_RETENTION, &[&[0]])
}

/// The key of what is known of a segment.
#[must_use]
pub fn segment_key(number: u64) -> Vec<u8> {
    key(TABLE_RETENTION, &[&[1], &number.to_be_bytes()])
}

/// The first key after all segments.
#[must_use]
pub fn segments_end() -> Vec<u8> {
    key(TABLE_RETENTION, &[&[2]])
}

/// The key of the index of a segment, in the format that this version writes.
#[must_use]
pub fn index_key(segment: u64) -> Vec<u8> {
    key(TABLE_RETENTION, &[&[2, INDEX_FORMAT], &segment.to_be_bytes()])
}

/// Where indices of other formats can be: before and after those of this version.
#[must_use]
pub fn foreign_indices() -> [[Vec<u8>; 2]; 2] {
    let from = |format: &[u8]| key(TABLE_RETENTION, &[format]);
    [[from(&[2]), from(&[2, INDEX_FORMAT])], [from(&[2, INDEX_FORMAT + 1]), from(&[3])]]
}

/// The number of the segment in the key of its index.
#[must_use]
pub fn indexed_segment(index_key: &[u8]) -> Option<u64> {
    let number = index_key.strip_prefix(key(TABLE_RETENTION, &[&[2, INDEX_FORMAT]]).as_slice())?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// The number in the key of a segment.
#[must_use]
pub fn segment_number(segment_key: &[u8]) -> Option<u64> {
    let number = segment_key.strip_prefix(key(TABLE_RETENTION, &[&[1]]).as_slice())?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// The first key after all bundles.
#[must_use]
pub fn bundles_end() -> Vec<u8> {
    key(TABLE_BUNDLES + 1, &[])
}

/// Whether a row key belongs to the log, which only the writer may touch.
#[must_use]
pub fn is_log_key(row: &[u8]) -> bool {
    let table = row.get(TenantId::SYSTEM.as_bytes().len());
    row.starts_with(TenantId::SYSTEM.as_bytes())
        && table.is_some_and(|table| TABLES.iter().any(|own| own.number() == *table))
}

/// The first index that a bundle's key names.
#[must_use]
pub fn first_index(bundle_key: &[u8]) -> Option<u64> {
    let index = bundle_key.strip_prefix(key(TABLE_BUNDLES, &[]).as_slice())?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// The entries of a group as bundles that fill the pages of the store: a row is given a power of two of
/// pages, so the row of a whole group would leave a third of its pages empty.
pub fn bundles(mut entries: &[StoredEntry]) -> impl Iterator<Item = &[StoredEntry]> {
    std::iter::from_fn(move || {
        let (bundle, rest) =
            entries.split_at_checked(fitting(entries)).filter(|(bundle, _)| !bundle.is_empty())?;
        entries = rest;
        Some(bundle)
    })
}

/// How many of the first entries fit the largest row that all of them fill. At least one.
fn fitting(entries: &[StoredEntry]) -> usize {
    let mut room = row_bytes(bundle_bytes(entries)).saturating_sub(PAGE_HEAD_BYTES + BUNDLE_HEAD_BYTES);
    let fits = entries.iter().take_while(|entry| {
        let rest = room.checked_sub(ENTRY_HEAD_BYTES + entry.bytes.len());
        room = rest.unwrap_or(room);
        rest.is_some()
    });
    fits.count().max(1).min(entries.len())
}

/// Largest power of two of pages that so many bytes fill; one page if they do not fill it.
fn row_bytes(bytes: usize) -> usize {
    let pages = ((bytes + PAGE_HEAD_BYTES) / PAGE_BYTES).max(1);
    PAGE_BYTES << pages.ilog2()
}

fn bundle_bytes(entries: &[StoredEntry]) -> usize {
    BUNDLE_HEAD_BYTES + entries.iter().map(|entry| ENTRY_HEAD_BYTES + entry.bytes.len()).sum::<usize>()
}

/// Bytes of a bundle of these entries.
#[must_use]
pub fn encode_bundle(entries: &[StoredEntry]) -> Vec<u8> {
    let mut out = Writer::with_capacity(bundle_bytes(entries));
    out.u8(BUNDLE_FORMAT);
    out.u16(u16::try_from(entries.len()).expect("a bundle has at most 256 entries"));
    for entry in entries {
        out.bytes(entry.leaf.as_bytes()).lp32(&entry.bytes);
    }
    out.finish()
}

/// The entries of a bundle, or `None` if its bytes are not one.
#[must_use]
pub fn decode_bundle(bundle: &[u8]) -> Option<Vec<StoredEntry>> {
    let mut reader = Reader::new(bundle);
    if reader.u8().ok()? != BUNDLE_FORMAT {
        return None;
    }
    let count = usize::from(reader.u16().ok()?);
    if count == 0 || count > BUNDLE_ENTRIES_MAX {
        return None;
    }
    let entries: Option<Vec<_>> = (0..count)
        .map(|_| {
            let leaf = Hash::from_bytes(reader.array().ok()?);
            Some(StoredEntry { leaf, bytes: reader.lp32(ENTRY_BYTES_MAX).ok()?.to_vec() })
        })
        .collect();
    reader.finish().ok()?;
    entries
}

/// One entry of a bundle, by its place there. The others are passed over without a look.
#[must_use]
pub fn decode_one(bundle: &[u8], place: usize) -> Option<StoredEntry> {
    let mut reader = Reader::new(bundle);
    if reader.u8().ok()? != BUNDLE_FORMAT || place >= usize::from(reader.u16().ok()?) {
        return None;
    }
    for _ in 0..place {
        let _: [u8; 32] = reader.array().ok()?;
        reader.lp32(ENTRY_BYTES_MAX).ok()?;
    }
    let leaf = Hash::from_bytes(reader.array().ok()?);
    Some(StoredEntry { leaf, bytes: reader.lp32(ENTRY_BYTES_MAX).ok()?.to_vec() })
}

fn key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = TenantId::SYSTEM.as_bytes().to_vec();
    key.push(table);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_come_back_and_nothing_else_is_one() {
        let entries: Vec<_> = [b"one".to_vec(), Vec::new(), vec![7; 3000]]
            .into_iter()
            .map(|bytes| StoredEntry { leaf: Hash::EMPTY_ROOT, bytes })
            .collect();
        let bundle = encode_bundle(&entries);
        for (place, entry) in entries.iter().enumerate() {
            assert_eq!(decode_one(&bundle, place).as_ref(), Some(entry));
        }
        assert_eq!(decode_one(&bundle, entries.len()), None);
        assert_eq!(decode_bundle(&bundle), Some(entries));
        for cut in 0..bundle.len() {
            assert_eq!(decode_bundle(&bundle[..cut]), None, "{cut} bytes");
        }
        assert_eq!(decode_bundle(&[bundle, vec![0]].concat()), None);
        assert_eq!(decode_bundle(&encode_bundle(&[])), None);
        assert_eq!(decode_bundle(&[2, 0, 1, 0, 0, 0, 0]), None);
    }

    #[test]
    fn the_bundles_of_a_group_fill_the_pages_of_their_rows() {
        let stored = |bytes: usize| StoredEntry { leaf: Hash::EMPTY_ROOT, bytes: vec![7; bytes] };
        let rows = |entries: &[StoredEntry]| bundles(entries).map(<[_]>::to_vec).collect::<Vec<_>>();
        for group in [1, 2, 9, 33, 64, 255] {
            let entries: Vec<_> = (0..group).map(|number| stored(480 + number % 40)).collect();
            assert_eq!(rows(&entries).concat(), entries, "in order, each once");
            let takes = |bytes: usize| (bytes + PAGE_HEAD_BYTES).div_ceil(PAGE_BYTES).next_power_of_two();
            let pages: usize = bundles(&entries).map(|bundle| takes(bundle_bytes(bundle))).sum();
            let least = bundle_bytes(&entries).div_ceil(PAGE_BYTES);
            assert!(pages <= least + least / 8 + 1, "{pages} pages where {least} are enough for {group}");
        }
        assert_eq!(
            rows(&[stored(60_000), stored(1)]).len(),
            2,
            "what fits no row that it fills stands alone"
        );
        assert_eq!(rows(&[stored(1), stored(60_000)]).len(), 2);
        assert!(rows(&[]).is_empty());
    }

    #[test]
    fn keys_sort_by_index_and_say_it() {
        assert!(bundle_key(255) < bundle_key(256));
        assert!(bundle_key(u64::MAX) < bundles_end());
        assert_eq!(first_index(&bundle_key(77)), Some(77));
        assert_eq!(first_index(&tile_key(0, 77)), None);
        assert!(bundles_end() <= tile_key(0, 0));
        assert_eq!(segment_number(&segment_key(300)), Some(300));
        assert!(pruned_key() < segment_key(0) && segment_key(u64::MAX) < segments_end());
        assert_eq!(indexed_segment(&index_key(300)), Some(300));
        assert_eq!((segment_number(&index_key(3)), indexed_segment(&segment_key(3))), (None, None));
        let [before, after] = foreign_indices();
        assert!(segment_key(u64::MAX) < before[0] && before[0] < before[1] && before[1] < index_key(0));
        assert!(index_key(u64::MAX) < after[0] && after[0] < after[1]);
    }

    #[test]
    fn log_keys_are_told_from_others() {
        for own in [bundle_key(0), tile_key(3, 9), checkpoint_key(), head_key(), pruned_key(), index_key(1)] {
            assert!(is_log_key(&own));
        }
        let mut other_tenant = checkpoint_key();
        other_tenant[0] = 1;
        assert!(!is_log_key(&other_tenant));
        assert!(!is_log_key(&key(0x01, &[])));
        assert!(!is_log_key(&[0; 16]));
    }
}
