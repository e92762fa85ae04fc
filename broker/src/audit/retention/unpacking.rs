//! An object as it lies in its place, read to its end: whose entries are in it.

use sha2::{Digest as _, Sha256};
use symbolon_proto::log::entry::ENTRY_BYTES_MAX;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::tile::{TILE_WIDTH, decode_bundle};
use symbolon_proto::log::tree::leaf_hash;
use symbolon_proto::log::{Checkpoint, Frontier, Hash, Segment, TileKind, VerifierKey};

use super::packing::Proven;
use crate::place::{Bytes, PlaceError};

/// Bytes of a tar are counted in blocks.
const BLOCK: usize = 512;
/// Most bytes of one file in an object: a bundle of the longest entries.
const FILE_BYTES_MAX: usize = TILE_WIDTH as usize * (ENTRY_BYTES_MAX + 8);
/// Zeros at the end of a tar.
const END_BYTES: usize = 2 * BLOCK;

/// A whole object of a segment, whoever wrote it.
#[derive(Debug)]
pub struct Object {
    root: Hash,
    body: [u8; 32],
    note: String,
    sha256: [u8; 32],
    length: u64,
}

impl Object {
    /// Reads an object to its end; `None` if it is not a whole one of this segment.
    pub async fn read(bytes: Bytes, segment: Segment) -> Result<Option<Self>, PlaceError> {
        let mut stream = Stream { bytes, rest: Vec::new(), hash: Sha256::new(), length: 0 };
        let mut tree = Frontier::new();
        for tile in segment.tiles() {
            let Some(bytes) = stream.file(&tile.to_string()).await? else { return Ok(None) };
            if tile.kind() == TileKind::Entries {
                let Ok(entries) = decode_bundle(&bytes) else { return Ok(None) };
                entries.into_iter().for_each(|entry| tree.append(leaf_hash(entry)));
            }
        }
        let body = stream.hash.clone().finalize().into();
        let Some(note) = stream.file("checkpoint").await? else { return Ok(None) };
        let Ok(note) = String::from_utf8(note) else { return Ok(None) };
        if tree.size() != SEGMENT_ENTRIES || !stream.ends().await? {
            return Ok(None);
        }
        let sha256 = stream.hash.finalize().into();
        Ok(Some(Self { root: tree.root(), body, note, sha256, length: stream.length }))
    }

    /// Whether it has the entries that were proven in the store.
    #[must_use]
    pub fn has_entries_of(&self, proven: &Proven) -> bool {
        self.root == proven.root
    }

    /// Whether it has all that was proven, and ends with a checkpoint that `key` signed after the segment.
    #[must_use]
    pub fn is_of(&self, proven: &Proven, segment: Segment, key: &VerifierKey) -> bool {
        let checkpoint = Checkpoint::open(&self.note, key);
        self.has_entries_of(proven)
            && self.body == proven.body
            && checkpoint.is_ok_and(|checkpoint| checkpoint.size >= segment.end())
    }

    /// SHA-256 of all its bytes, and how many.
    #[must_use]
    pub const fn digest(&self) -> ([u8; 32], u64) {
        (self.sha256, self.length)
    }
}

/// A tar as it comes.
struct Stream {
    bytes: Bytes,
    rest: Vec<u8>,
    hash: Sha256,
    length: u64,
}

impl Stream {
    /// The file that follows, if it is the one with this name and whole.
    async fn file(&mut self, name: &str) -> Result<Option<Vec<u8>>, PlaceError> {
        let Some(head) = self.take(BLOCK).await? else { return Ok(None) };
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&head);
        let is_named = header.path_bytes().as_ref() == name.as_bytes();
        let size = header.size().ok().and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|size| is_named && *size <= FILE_BYTES_MAX) else { return Ok(None) };
        let file = self.take(size.next_multiple_of(BLOCK)).await?;
        Ok(file.map(|mut file| {
            file.truncate(size);
            file
        }))
    }

    /// Whether what follows is the end of a tar, and nothing after it.
    async fn ends(&mut self) -> Result<bool, PlaceError> {
        let zeros = self.take(END_BYTES).await?;
        Ok(zeros.is_some_and(|zeros| zeros == [0; END_BYTES]) && self.take(1).await?.is_none())
    }

    /// So many bytes; `None` if there are fewer.
    async fn take(&mut self, count: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        while self.rest.len() < count {
            match self.bytes.next().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
        let left = self.rest.split_off(count);
        let taken = std::mem::replace(&mut self.rest, left);
        self.hash.update(&taken);
        self.length += count as u64;
        Ok(Some(taken))
    }
}
