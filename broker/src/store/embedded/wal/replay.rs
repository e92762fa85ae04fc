//! Finding the commits of a write-ahead file after an end without order.
//!
//! Records are taken one after the other as long as each proves itself and names the one before it. What
//! comes then is the end: a record that was being written when the power went, or nothing. It is only the
//! end if nothing follows. A record of this use with a later number, anywhere in the ring, was written after
//! the one that cannot be read had been acknowledged: the file is damaged, and nothing is opened.

use std::io;
use std::sync::Arc;

use super::super::header::Mark;
use super::Wal;
use super::record::{self, BLOCK_BYTES, Commit, Head, PREFIX_BYTES};
use super::ring::Ring;
use crate::store::medium::Medium;
use crate::store::{Cause, StoreError};

const MISSING: &str = "its write-ahead file, which has acknowledged commits, is not beside it; put back the file \
                       of the same name that ends in .wal";
const FOREIGN: &str = "the write-ahead file beside it is damaged, or belongs to another store; put back the one \
                       that was copied with it";
const HOLE: &str = "a record in the middle of the write-ahead file is damaged, and acknowledged commits are lost \
                    with it";
const UNKNOWN: &str = "a record of the write-ahead file is of a form that this version does not know";

pub(super) fn resume(
    medium: Arc<dyn Medium>,
    mark: Mark,
    sequence: u64,
) -> Result<(Wal, Vec<Commit>), StoreError> {
    let ring = open(medium, &mark)?;
    let wal = Wal { ring, log: mark.log, next: mark.position, digest: mark.digest, reclaimed: mark.position };
    let mut replay = Replay { wal, sequence, commits: Vec::new() };
    while replay.step()? {}
    replay.check_that_nothing_follows()?;
    // A killed process may have written what is not durable yet; nobody may see it before it is.
    replay.wal.ring.sync().map_err(unavailable)?;
    Ok((replay.wal, replay.commits))
}

fn open(medium: Arc<dyn Medium>, mark: &Mark) -> Result<Ring, StoreError> {
    if !Ring::exists(medium.as_ref()).map_err(unavailable)? {
        return Err(corrupt(MISSING));
    }
    match Ring::open(medium).map_err(unavailable)? {
        Some((ring, log)) if log == mark.log => Ok(ring),
        _ => Err(corrupt(FOREIGN)),
    }
}

struct Replay {
    wal: Wal,
    /// Number of the last commit that was found.
    sequence: u64,
    commits: Vec<Commit>,
}

impl Replay {
    /// Takes the next record, if there is one.
    fn step(&mut self) -> Result<bool, StoreError> {
        let Some((head, body)) = self.proven(self.wal.next)? else { return Ok(false) };
        if head.before != self.wal.digest {
            return Err(corrupt(HOLE));
        }
        self.commits.extend(head.commits(&body).ok_or_else(|| corrupt(UNKNOWN))?);
        self.sequence = head.last();
        self.wal.next += record::padded(body.len() as u64);
        self.wal.digest = head.digest;
        Ok(true)
    }

    /// A record of this use that is newer than what was found, whole, at a position.
    fn proven(&self, position: u64) -> Result<Option<(Head, Vec<u8>)>, StoreError> {
        let mut prefix = [0; PREFIX_BYTES];
        self.wal.ring.read(position, &mut prefix).map_err(unavailable)?;
        let Some(head) = record::parse_head(&prefix).filter(|head| self.is_newer(head)) else {
            return Ok(None);
        };
        let mut record = vec![0; PREFIX_BYTES + usize::try_from(head.body_bytes).unwrap_or(0)];
        self.wal.ring.read(position, &mut record).map_err(unavailable)?;
        let body = record.split_off(PREFIX_BYTES);
        Ok(head.proves(&body).then_some((head, body)))
    }

    fn is_newer(&self, head: &Head) -> bool {
        let length = record::padded(u64::from(head.body_bytes));
        head.log == self.wal.log
            && head.first > self.sequence
            && head.commits > 0
            && length <= self.wal.ring.bytes()
    }

    fn check_that_nothing_follows(&self) -> Result<(), StoreError> {
        let blocks = self.wal.ring.bytes() / BLOCK_BYTES;
        for block in 0..blocks {
            if self.proven(self.wal.next + block * BLOCK_BYTES)?.is_some() {
                return Err(corrupt(HOLE));
            }
        }
        Ok(())
    }
}

fn corrupt(text: &'static str) -> StoreError {
    StoreError::Corrupt(Cause::new(text))
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(Cause::new(error))
}
