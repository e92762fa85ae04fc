//! The Merkle tree over the entries: hashes, appending, proofs (RFC 6962 section 2.1, RFC 9162 section 2.1).
//!
//! A node at level l and index i covers the leaves [i·2^l, (i+1)·2^l) and exists once they all do. Proofs are
//! made from such complete nodes only; whoever calls says how to read one ([`super::tile::TileHashes`] reads
//! them from tiles).

use core::fmt;

use sha2::{Digest, Sha256};

use crate::codec::{DecodeError, Reader, Writer};

/// Most hashes of an inclusion proof, which a tree of 2^64 leaves would need.
pub const PROOF_HASHES_MAX: usize = 64;

/// A SHA-256 hash in the tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The root of the empty tree: SHA-256 of nothing.
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The hash with exactly these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hash({self})")
    }
}

/// SHA-256(0x00 ‖ entry).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// SHA-256(0x01 ‖ left ‖ right). The prefixes keep a leaf from passing as a node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// A node whose leaves all exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// 0 for leaves.
    pub level: u8,
    /// Place in its level, from 0.
    pub index: u64,
}

/// The right edge of a tree: its size and the roots of its complete subtrees, largest first. All that
/// appending needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One hash per set bit of `size`.
    hashes: Vec<Hash>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, hashes: Vec::new() }
    }

    /// Leaves so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    ///
    /// # Panics
    /// At 2^64 - 1 leaves.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _| ());
    }

    /// Adds a leaf and tells `completed` every node that it completes, the leaf first: that is what goes into
    /// tiles.
    ///
    /// # Panics
    /// At 2^64 - 1 leaves.
    pub fn append_with(&mut self, leaf: Hash, mut completed: impl FnMut(Node, Hash)) {
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        completed(node, hash);
        // An odd node is the right child of a subtree whose left half is the last one here.
        while node.index & 1 == 1 {
            let left = self.hashes.pop().expect("there is one hash per set bit of the size");
            hash = node_hash(&left, &hash);
            node = Node { level: node.level + 1, index: node.index >> 1 };
            completed(node, hash);
        }
        self.hashes.push(hash);
        self.size = self.size.checked_add(1).expect("no log has 2^64 entries");
    }

    /// The complete subtree that covers the node, with its root; `None` if not all of its leaves exist.
    #[must_use]
    pub fn above(&self, node: Node) -> Option<(Node, Hash)> {
        let covers = |whole: &Node| {
            whole.level >= node.level && whole.index == node.index >> (whole.level - node.level)
        };
        let mut all = complete_nodes(0, self.size).zip(self.hashes.iter().copied());
        all.find(|(whole, _)| covers(whole))
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_right(self.hashes.iter().copied()).unwrap_or(Hash::EMPTY_ROOT)
    }

    /// size(8) ‖ hashes (32 each).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(8 + 32 * self.hashes.len());
        writer.u64(self.size);
        for hash in &self.hashes {
            writer.bytes(&hash.0);
        }
        writer.finish()
    }

    /// Reads [`Frontier::to_bytes`]. What it says is only as good as where it was kept: compare the root.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let size = reader.u64()?;
        let hashes = (0..size.count_ones()).map(|_| reader.array().map(Hash)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { size, hashes })
    }

    /// The frontier of a tree whose complete nodes can be read.
    pub fn read<E>(size: u64, read: &mut dyn FnMut(Node) -> Result<Hash, E>) -> Result<Self, E> {
        let hashes = complete_nodes(0, size).map(read).collect::<Result<_, _>>()?;
        Ok(Self { size, hashes })
    }
}

/// The largest complete nodes that together cover the leaves [begin, end), left to right. `begin` must be the
/// start of a subtree that reaches at least to `end`, as it is everywhere in RFC 6962's recursion.
fn complete_nodes(begin: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut next = begin;
    core::iter::from_fn(move || {
        let rest = end - next;
        let level = rest.checked_ilog2()?;
        let node = Node { level: u8::try_from(level).unwrap_or(63), index: next >> level };
        next += 1 << level;
        Some(node)
    })
}

/// Joins subtree roots from the right: the smallest subtrees lie there.
fn fold_right(hashes: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    hashes.rev().reduce(|right, left| node_hash(&left, &right))
}

/// Reads the hash of a complete node.
type Read<'a, E> = &'a mut dyn FnMut(Node) -> Result<Hash, E>;

/// Root over the leaves [begin, end).
fn range_root<E>(begin: u64, end: u64, read: Read<'_, E>) -> Result<Hash, E> {
    let hashes = complete_nodes(begin, end).map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(fold_right(hashes.into_iter()).unwrap_or(Hash::EMPTY_ROOT))
}

/// Root of the tree of the first `size` leaves.
pub fn root<E>(size: u64, read: &mut dyn FnMut(Node) -> Result<Hash, E>) -> Result<Hash, E> {
    range_root(0, size, read)
}

/// Why no proof can be made: the question is wrong, or a hash could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// There is no such entry in a tree of this size, or no such smaller tree.
    #[error("{asked} is outside a log of {size} entries")]
    Range {
        /// Index or size that was asked for.
        asked: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The tree could not be read.
    #[error("a hash of the tree could not be read")]
    Read(#[source] E),
}

/// Proof that the entry at `index` is in the tree of the first `size` entries (RFC 6962 section 2.1.1).
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    read: &mut dyn FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    if index >= size {
        return Err(ProveError::Range { asked: index, size });
    }
    let (mut begin, mut end) = (0, size);
    let mut proof = Vec::with_capacity(PROOF_HASHES_MAX);
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        let sibling = if index < middle { (middle, end) } else { (begin, middle) };
        proof.push(range_root(sibling.0, sibling.1, read).map_err(ProveError::Read)?);
        (begin, end) = if index < middle { (begin, middle) } else { (middle, end) };
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of the first `old` entries is the beginning of the tree of the first `new` (RFC 6962
/// section 2.1.2). Empty for `old == new` and for `old == 0`.
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    read: &mut dyn FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    if old > new {
        return Err(ProveError::Range { asked: old, size: new });
    }
    let mut proof = Vec::with_capacity(PROOF_HASHES_MAX);
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut begin, mut end) = (0, new);
    while end != old {
        let middle = begin + split(end - begin);
        let sibling = if old <= middle { (middle, end) } else { (begin, middle) };
        proof.push(range_root(sibling.0, sibling.1, read).map_err(ProveError::Read)?);
        (begin, end) = if old <= middle { (begin, middle) } else { (middle, end) };
    }
    // The old tree itself is known to the verifier; a part of it is not.
    if begin != 0 {
        proof.push(range_root(begin, end, read).map_err(ProveError::Read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Index or size is impossible.
    #[error("{asked} is outside a log of {size} entries")]
    Range {
        /// Index, or size of the smaller tree.
        asked: u64,
        /// Size of the tree.
        size: u64,
    },
    /// Not as many hashes as trees of these sizes need.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// It leads to another root than the checkpoint's.
    #[error("the proof leads to another root than the checkpoint's: one of them is forged")]
    Root,
}

/// Checks that `leaf` is the entry hash at `index` of the tree with `size` entries and this `root` (RFC 9162
/// section 2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range { asked: index, size });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            let climbed = if node & 1 == 1 { 0 } else { node.trailing_zeros() };
            (node, last) = (node >> climbed, last >> climbed);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree with `old` entries and `old_root` is the beginning of the one with `new` entries and
/// `new_root` (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range { asked: old, size: new });
    }
    if old == 0 || old == new {
        let same = if old == 0 { *old_root == Hash::EMPTY_ROOT } else { old_root == new_root };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    // An old tree that is a whole subtree starts the proof itself.
    let (first, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some(split) => split,
        None => return Err(ProofError::Length),
    };
    let shared = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shared, (new - 1) >> shared);
    let (mut from_old, mut from_new) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(hash, &from_old);
            from_new = node_hash(hash, &from_new);
            let climbed = if node & 1 == 1 || node == 0 { 0 } else { node.trailing_zeros() };
            (node, last) = (node >> climbed, last >> climbed);
        } else {
            from_new = node_hash(&from_new, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if from_old == *old_root && from_new == *new_root { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
