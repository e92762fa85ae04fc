//! Where the broker keeps its rows: opaque keys, ciphertext values, all-or-nothing commits.
//!
//! [`Store`] is the seam. [`embedded`] keeps one file on this machine, [`memory`] is the reference that tests
//! make fail on demand, and [`conformance`] is the contract below as executable checks that every store runs.
//!
//! A store knows nothing of tenants, secrets or audit. It promises order, atomicity and durability; what a
//! row means, and that it is encrypted, is the business of `records.rs` and `writer.rs`.

pub mod conformance;
pub mod embedded;
pub mod memory;

mod error;
mod medium;

use std::future::Future;
use std::pin::Pin;

pub use error::{Cause, StoreError};

/// Shortest row key in bytes: tenant (16) and table (1).
pub const KEY_BYTES_MIN: usize = 17;
/// Longest row key in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value in bytes. A bundle of 256 entries of 64 KiB is the largest row that is ever written.
pub const VALUE_BYTES_MAX: usize = 24 << 20;
/// Most operations in one commit.
pub const OPS_MAX: usize = 16_384;

/// What a store operation answers, boxed so that stores can stand behind `Arc<dyn Store>`.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// An ordered map from bytes to bytes with revisions and atomic, durable commits.
///
/// **Order.** Keys compare as byte strings.
///
/// **Reads** see the latest answered commit, never a part of one, and never one that failed with `Full` or
/// `Conflict`. They may run concurrently with everything else. One `scan` is one consistent view; two calls
/// are two views.
///
/// **Commits** are serialised by the store in some order. The operations of one commit apply in the given
/// order, and an expectation sees the effect of the operations before it in the same commit. Either all of
/// them happen or none.
///
/// **Durability.** When `commit` answers `Ok`, a power cut does not undo it. There is no weaker mode.
///
/// **Revisions.** Every row that a commit puts carries a number larger than any number given before it,
/// deletions and re-creations included. So `Expect::Revision` means "nobody has written this row since I read
/// it", without ABA.
///
/// **Failure.** `Conflict`, `Full` and `Bounds` mean: nothing happened, and the store goes on. `Unavailable`
/// from a commit means: whether it happened is unknown (all or none of it still holds); read before
/// repeating. No call retries inside. A dropped future does not cancel a commit that was handed over.
pub trait Store: Send + Sync + 'static {
    /// The row at `key`, or `None`.
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>>;

    /// The rows in a range, in key order or its reverse, at most `scan.limit` of them.
    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>>;

    /// The same rows without what is in them: for whoever only has to know where they are. A row may be a
    /// megabyte long, a key never is.
    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>>;

    /// Everything as of the latest answered commit, to be read at leisure while commits go on. It holds what
    /// it shows, so a store may grow until it is dropped.
    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>>;

    /// Applies all of `ops` or none. Durable when it answers `Ok`.
    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()>;

    /// Finishes the commits that were handed over and lets go of what the store occupies; every later call
    /// answers `Unavailable`. When it answers, another process may open the store, and a copy of it is whole.
    fn close(&self) -> Answer<'_, ()>;
}

/// The rows of one moment, in key order.
pub trait Snapshot: Send {
    /// The rows that follow, of about `bytes` together and at least one; none at the end.
    fn next(&mut self, bytes: usize) -> Answer<'_, Vec<Pair>>;
}

/// A row's key and what was put there.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A stored value and the number of the commit that put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Grows with every commit that puts this row, also across deletions.
    pub revision: u64,
    /// The bytes that were put.
    pub value: Vec<u8>,
}

/// A range of keys to read.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// First key, inclusive.
    pub from: &'a [u8],
    /// End of the range, exclusive. A range that ends before it begins is empty.
    pub until: &'a [u8],
    /// Largest key first.
    pub descending: bool,
    /// Most rows to return.
    pub limit: usize,
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes the row, whether or not it exists, if `expect` holds.
    Put {
        /// Row key, `KEY_BYTES_MIN` to `KEY_BYTES_MAX` bytes.
        key: Vec<u8>,
        /// At most `VALUE_BYTES_MAX` bytes.
        value: Vec<u8>,
        /// What must hold for the commit to happen.
        expect: Expect,
    },
    /// Removes the row if `expect` holds. Removing an absent row under `Expect::Any` succeeds and changes
    /// nothing.
    Delete {
        /// Row key, `KEY_BYTES_MIN` to `KEY_BYTES_MAX` bytes.
        key: Vec<u8>,
        /// What must hold for the commit to happen.
        expect: Expect,
    },
}

/// What a row must look like for a commit to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// There is no such row.
    Absent,
    /// The row exists and carries this revision.
    Revision(u64),
}

impl Write {
    /// The key this operation touches.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// What it asks of the row beforehand.
    #[must_use]
    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } => *expect,
        }
    }

    /// Bytes of key and value together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key().len() + self.value_bytes()
    }

    pub(crate) fn in_bounds(&self) -> bool {
        (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&self.key().len()) && self.value_bytes() <= VALUE_BYTES_MAX
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

impl Expect {
    /// Whether a row with this revision, or no row, satisfies it.
    #[must_use]
    pub fn holds(self, revision: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => revision.is_none(),
            Self::Revision(expected) => revision == Some(expected),
        }
    }
}

/// Checks the sizes of a commit before anything is touched.
fn check_bounds(ops: &[Write]) -> Result<(), StoreError> {
    if ops.len() > OPS_MAX {
        return Err(StoreError::Bounds { op: OPS_MAX });
    }
    match ops.iter().position(|op| !op.in_bounds()) {
        Some(op) => Err(StoreError::Bounds { op }),
        None => Ok(()),
    }
}
