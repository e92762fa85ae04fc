//! One record of the write-ahead file: the commits that became durable together.
//!
//! ```text
//! head    "symwal" ‖ 0 ‖ 1 ‖ log(16) ‖ first(8) ‖ commits(4) ‖ body bytes(4) ‖ digest of the one before(32)
//! digest  SHA-256(head ‖ body)
//! body    commits × ( operations(4) ‖ operations × operation )
//!         operation: 1 ‖ LP16(key) ‖ LP32(value)   put
//!                    2 ‖ LP16(key)                 delete
//! ```
//!
//! and zeros up to the next block. A record proves itself: its digest covers every byte that means something,
//! its own number and the record before it, so that a torn one, one of an earlier round of the ring and one
//! of another store are all told from it. Expectations are not written: they held.

use sha2::{Digest as _, Sha256};
use symbolon_proto::codec::{Reader, Writer};

use super::super::header::{Digest, LogId};
use crate::store::{Expect, KEY_BYTES_MAX, VALUE_BYTES_MAX, Write};

/// What a record begins on and is filled up to: the page of the kernel and the sector of most disks, so that
/// no write touches a byte that was acknowledged.
pub(super) const BLOCK_BYTES: u64 = 4096;
const MAGIC: &[u8; 8] = b"symwal\x00\x01";
/// Head and digest.
pub(super) const PREFIX_BYTES: usize = 8 + 16 + 8 + 4 + 4 + 32 + 32;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// What a record says of itself before its body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub log: LogId,
    /// Number of the first commit; the others follow it without a gap.
    pub first: u64,
    pub commits: u32,
    pub body_bytes: u32,
    /// Digest of the record before.
    pub before: Digest,
    /// Its own, as it stands there.
    pub digest: Digest,
}

/// A commit as it is replayed.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Commit {
    /// Its number, which is the revision of what it put.
    pub sequence: u64,
    /// Its operations, without expectations.
    pub ops: Vec<Write>,
}

/// Blocks that a record with a body of so many bytes takes, in bytes.
pub(super) fn padded(body_bytes: u64) -> u64 {
    (PREFIX_BYTES as u64 + body_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Bytes of the body of commits with these operations.
pub(super) fn body_bytes<'a>(commits: impl Iterator<Item = &'a [Write]>) -> u64 {
    commits.map(|ops| 4 + ops.iter().map(|op| 7 + op.bytes() as u64).sum::<u64>()).sum()
}

/// The bytes of a record, whole blocks, and its digest. `body_bytes` bounds its length to what fits a number
/// of four bytes, see [`super::Wal::append`].
pub(super) fn encode(log: LogId, first: u64, before: &Digest, commits: &[&[Write]]) -> (Vec<u8>, Digest) {
    let body = encode_body(commits);
    let mut head = Writer::with_capacity(PREFIX_BYTES);
    head.bytes(MAGIC).bytes(&log).u64(first).u32(short(commits.len())).u32(short(body.len())).bytes(before);
    let digest = digest(head.as_bytes(), &body);
    head.bytes(&digest);
    let mut record = Vec::with_capacity(usize::try_from(padded(body.len() as u64)).unwrap_or(0));
    record.extend_from_slice(head.as_bytes());
    record.extend_from_slice(&body);
    record.resize(record.len().next_multiple_of(BLOCK), 0);
    (record, digest)
}

const BLOCK: usize = 4096;

fn encode_body(commits: &[&[Write]]) -> Vec<u8> {
    let mut out = Writer::with_capacity(usize::try_from(body_bytes(commits.iter().copied())).unwrap_or(0));
    for ops in commits {
        out.u32(short(ops.len()));
        for op in *ops {
            match op {
                Write::Put { key, value, .. } => out.u8(PUT).lp(key).lp32(value),
                Write::Delete { key, .. } => out.u8(DELETE).lp(key),
            };
        }
    }
    out.finish()
}

/// The head at the beginning of a block, if there is one.
pub(super) fn parse_head(block: &[u8]) -> Option<Head> {
    let mut reader = Reader::new(block.strip_prefix(MAGIC)?);
    Some(Head {
        log: reader.array().ok()?,
        first: reader.u64().ok()?,
        commits: reader.u32().ok()?,
        body_bytes: reader.u32().ok()?,
        before: reader.array().ok()?,
        digest: reader.array().ok()?,
    })
}

impl Head {
    /// The number of its last commit.
    pub(super) fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.commits)).saturating_sub(1)
    }

    /// Whether a body is the one that the head was written with.
    pub(super) fn proves(&self, body: &[u8]) -> bool {
        let mut head = Writer::with_capacity(PREFIX_BYTES);
        head.bytes(MAGIC).bytes(&self.log).u64(self.first).u32(self.commits).u32(self.body_bytes);
        head.bytes(&self.before);
        body.len() as u64 == u64::from(self.body_bytes) && digest(head.as_bytes(), body) == self.digest
    }

    /// The commits of a body that was proven, or `None` if it says something that this version does not know.
    pub(super) fn commits(&self, body: &[u8]) -> Option<Vec<Commit>> {
        let mut reader = Reader::new(body);
        let commits = (self.first..).take(usize::try_from(self.commits).ok()?);
        let commits: Option<Vec<_>> =
            commits.map(|sequence| Some(Commit { sequence, ops: decode_ops(&mut reader)? })).collect();
        reader.finish().ok()?;
        commits
    }
}

fn decode_ops(reader: &mut Reader<'_>) -> Option<Vec<Write>> {
    let count = reader.u32().ok()?;
    (0..count).map(|_| decode_op(reader)).collect()
}

fn decode_op(reader: &mut Reader<'_>) -> Option<Write> {
    let (kind, expect) = (reader.u8().ok()?, Expect::Any);
    let key = reader.lp(KEY_BYTES_MAX).ok()?.to_vec();
    match kind {
        PUT => Some(Write::Put { key, value: reader.lp32(VALUE_BYTES_MAX).ok()?.to_vec(), expect }),
        DELETE => Some(Write::Delete { key, expect }),
        _ => None,
    }
}

fn digest(head: &[u8], body: &[u8]) -> Digest {
    Sha256::new().chain_update(head).chain_update(body).finalize().into()
}

/// Counts in a record are far below this: it is bounded by the ring.
fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ops(number: u8) -> Vec<Write> {
        let put = Write::Put { key: vec![number; 20], value: vec![7; 5000], expect: Expect::Any };
        vec![put, Write::Delete { key: vec![9; 17], expect: Expect::Any }]
    }

    #[test]
    fn a_record_comes_back_and_no_other_byte_passes_for_it() {
        let (first, second) = (ops(1), ops(2));
        let (record, digest) = encode([5; 16], 10, &[6; 32], &[&first, &second]);
        assert_eq!(record.len() as u64, padded(body_bytes([&first[..], &second].into_iter())));
        let head = parse_head(&record).unwrap();
        assert_eq!((head.first, head.last(), head.digest), (10, 11, digest));
        let end = PREFIX_BYTES + usize::try_from(head.body_bytes).unwrap();
        let commits = head.commits(&record[PREFIX_BYTES..end]).unwrap();
        assert_eq!(commits, [Commit { sequence: 10, ops: first }, Commit { sequence: 11, ops: second }]);
        for at in 0..end {
            let mut flipped = record.clone();
            flipped[at] ^= 1 << (at % 8);
            let passes = parse_head(&flipped).is_some_and(|head| {
                let end = PREFIX_BYTES + usize::try_from(head.body_bytes).unwrap();
                flipped.get(PREFIX_BYTES..end).is_some_and(|body| head.proves(body))
            });
            assert!(!passes, "a flipped bit in byte {at} passes");
        }
        assert!(record[end..].iter().all(|byte| *byte == 0));
    }
}
