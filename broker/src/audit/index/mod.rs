//! The sealed index of the log: who did what to which path, by segment, so that a search reads the entries
//! that fit and not all of them.
//!
//! ```text
//! block.rs      what an index says of a segment, and its bytes
//! texts.rs      its callers and paths
//! gathering.rs  a block out of entries and their details
//! choosing.rs   which entries of a block can fit a filter
//! trust.rs      the root of a segment, proven from the tree that this process has made
//! sealing.rs    a block as a row: sealed under the audit key, bound to its segment and to that root
//! making.rs     one row from the entries of a segment; rows of other formats, removed
//! known.rs      what a session knows of indices: roots, what is to be made again
//! searching.rs  a search that uses them
//! tallying.rs   what a stretch of the log comes to, for a report
//! ```
//!
//! **It can make a search faster and never hide an entry.** Who can write the store can remove a row, or
//! put back an old one. So a row opens only for the root over the entries of its segment, and that root
//! comes out of the tree in memory and hashes that lead to it, never out of a row that says so. Whatever
//! does not open, or cannot be proven, is not there: its entries are looked at one by one, and the row is
//! made again. Where a block cannot say that an entry does not fit, the entry is opened.

pub mod block;
mod choosing;
mod gathering;
pub mod known;
pub mod making;
mod sealing;
pub mod searching;
pub mod tallying;
mod texts;
mod trust;

#[cfg(test)]
mod tests;
