//! The file of the write-ahead log: a head block, then a ring of blocks that is written round and round.
//!
//! ```text
//! block 0   "symring" ‖ 1 ‖ log(16) ‖ ring bytes(8) ‖ SHA-256 of these
//! then      ring bytes
//! ```
//!
//! The file is written with zeros from end to end before its first use, so that no later write changes its
//! length or the file system's map of it: syncing it then means one block and not a journal.

use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use symbolon_proto::codec::{Reader, Writer};

use super::super::header::{Digest, LogId};
use super::AppendError;
use super::record::BLOCK_BYTES;
use crate::store::medium::Medium;

const MAGIC: &[u8; 8] = b"symring\x01";
const HEAD_BYTES: usize = 8 + 16 + 8 + 32;
/// Zeros that are written at once.
const ZEROS: usize = 256 << 10;

/// A ring in a medium.
#[derive(Debug)]
pub(super) struct Ring {
    medium: Arc<dyn Medium>,
    bytes: u64,
}

impl Ring {
    /// Makes the medium a ring of `bytes` for the use `log`, or takes the one that is there. Durable when it
    /// returns. What an earlier use left in it stays, and no longer counts.
    pub(super) fn prepare(medium: Arc<dyn Medium>, bytes: u64, log: LogId) -> Result<Self, AppendError> {
        let ring = Self { medium, bytes };
        if !ring.is_prepared().map_err(AppendError::Void)? {
            ring.fill().map_err(AppendError::Void)?;
            ring.sync().map_err(AppendError::Distrusted)?;
        }
        ring.medium.write(0, &ring.head(log)).map_err(AppendError::Void)?;
        ring.sync().map_err(AppendError::Distrusted)?;
        Ok(ring)
    }

    /// Whether there is a file at all.
    pub(super) fn exists(medium: &dyn Medium) -> io::Result<bool> {
        Ok(medium.len()? > 0)
    }

    /// The ring that a medium holds and which use it says it is of; `None` if its head is not whole.
    pub(super) fn open(medium: Arc<dyn Medium>) -> io::Result<Option<(Self, LogId)>> {
        let length = medium.len()?;
        let Some((log, bytes)) = read_head(medium.as_ref(), length)? else { return Ok(None) };
        Ok((length >= BLOCK_BYTES.saturating_add(bytes)).then_some((Self { medium, bytes }, log)))
    }

    /// Bytes it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads what was written at a position, which the ring may have overwritten since.
    pub(super) fn read(&self, position: u64, out: &mut [u8]) -> io::Result<()> {
        let (first, second) = out.split_at_mut(self.before_the_end(position, out.len()));
        self.medium.read(self.offset(position), first)?;
        if second.is_empty() { Ok(()) } else { self.medium.read(BLOCK_BYTES, second) }
    }

    /// Writes at a position, in two pieces where the ring begins again.
    pub(super) fn write(&self, position: u64, data: &[u8]) -> io::Result<()> {
        let (first, second) = data.split_at(self.before_the_end(position, data.len()));
        self.medium.write(self.offset(position), first)?;
        if second.is_empty() { Ok(()) } else { self.medium.write(BLOCK_BYTES, second) }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.medium.sync()
    }

    fn offset(&self, position: u64) -> u64 {
        BLOCK_BYTES + position % self.bytes.max(1)
    }

    fn before_the_end(&self, position: u64, length: usize) -> usize {
        let left = self.bytes - position % self.bytes.max(1);
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }

    fn is_prepared(&self) -> io::Result<bool> {
        let length = self.medium.len()?;
        let head = read_head(self.medium.as_ref(), length)?;
        Ok(length == BLOCK_BYTES + self.bytes && head.is_some_and(|(_, bytes)| bytes == self.bytes))
    }

    /// Zeros everywhere. The head comes last, so that a ring that was filled in part is filled again.
    fn fill(&self) -> io::Result<()> {
        let end = BLOCK_BYTES + self.bytes;
        if self.medium.len()? > end {
            self.medium.set_len(end)?;
        }
        let zeros = vec![0; ZEROS];
        let mut offset = 0;
        while offset < end {
            let length = usize::try_from(end - offset).unwrap_or(ZEROS).min(ZEROS);
            let (piece, _) = zeros.split_at(length);
            self.medium.write(offset, piece)?;
            offset += length as u64;
        }
        Ok(())
    }

    fn head(&self, log: LogId) -> Vec<u8> {
        let mut head = Writer::with_capacity(HEAD_BYTES);
        head.bytes(MAGIC).bytes(&log).u64(self.bytes);
        let digest: Digest = Sha256::digest(head.as_bytes()).into();
        head.bytes(&digest);
        let mut block = head.finish();
        block.resize(usize::try_from(BLOCK_BYTES).unwrap_or(HEAD_BYTES), 0);
        block
    }
}

fn read_head(medium: &dyn Medium, length: u64) -> io::Result<Option<(LogId, u64)>> {
    let mut head = [0; HEAD_BYTES];
    if length < BLOCK_BYTES {
        return Ok(None);
    }
    medium.read(0, &mut head)?;
    Ok(parse_head(&head))
}

fn parse_head(head: &[u8]) -> Option<(LogId, u64)> {
    let (said, digest) = head.split_at_checked(HEAD_BYTES - 32)?;
    let mut reader = Reader::new(said.strip_prefix(MAGIC)?);
    let (log, bytes) = (reader.array().ok()?, reader.u64().ok()?);
    (Sha256::digest(said).as_slice() == digest && bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES))
        .then_some((log, bytes))
}
