//! What becomes of entries when they are old: counted in segments, exported, pruned.
//!
//! ```text
//! packing.rs    a segment as one object, proven against the signed checkpoint as it is made
//! unpacking.rs  an object as it lies in its place, and whose entries are in it
//! segments.rs   what is known of a whole segment: bytes, time, where it was exported to
//! cutting.rs    the commits of a cut: first the minimum index, then rows below it, a few at a time
//! plan.rs       how far the log may be cut, and what keeps it from it
//! reserve.rs    what is still entered at the end of the disk budget
//! age.rs        what time it is at least, when a clock may have jumped
//! ledger.rs     who ordered which cut, under the keys of the deployment
//! journal.rs    what is known of all this, sealed or not
//! ```
//!
//! **Order.** An object is written and read back to its end; only then does a row say that its segment is
//! exported. A cut is one commit: the minimum index, what is kept of the tree before it, and an entry that
//! says so. From then on rows below it are garbage, removed in small commits. So a kill at any point leaves
//! a log that verifies, and the next round goes on where this one ended.

pub mod age;
pub mod cutting;
pub mod journal;
pub mod ledger;
pub mod packing;
pub mod plan;
pub mod reserve;
pub mod segments;
pub mod unpacking;

#[cfg(test)]
mod tests;

use crate::store::Write;

/// Changes of the log's own rows. Made in this room only, for they are the ones that nobody else may make.
#[derive(Debug, Default)]
pub struct Changes(Vec<Write>);

impl Changes {
    /// The index of a segment.
    #[must_use]
    pub(in crate::audit) fn of_index(changes: Vec<Write>) -> Self {
        Self(changes)
    }

    /// For the writer.
    #[must_use]
    pub fn into_writes(self) -> Vec<Write> {
        self.0
    }

    /// With a change of another row in the same commit.
    #[must_use]
    pub fn and(mut self, change: Write) -> Self {
        self.0.push(change);
        self
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rows it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
