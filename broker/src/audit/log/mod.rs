//! The audit log as it lies in the store: found again after a start, read back, searched and verified.
//!
//! ```text
//! writer.rs ──▶ rows (bundles, tiles, checkpoint) ──▶ reader   entries by index, tlog-tiles resources
//!                 ▲                                   search   opens details with the audit key
//!                 └─ tail: the end, at start          verify   every entry against the signed checkpoint
//! ```
//!
//! Reading needs no key but for details, so a sealed broker can still hand its log to an auditor. What the
//! rows say is believed only where a signature or a seal covers it: heads and tiles are for whoever checks
//! them against the checkpoint.

pub mod detail;
pub mod end;
mod error;
pub mod reader;
pub mod rows;
pub mod search;
pub mod tail;
pub mod verify;

#[cfg(test)]
mod tests;

pub use error::LogError;
pub use reader::LogReader;
pub use search::{Filter, Found, Page, Range};
pub(in crate::audit) use search::{Looking, open_detail};
pub use tail::TailError;
pub use verify::VerifyError;
