//! The audit log's formats: entries, Merkle tree, checkpoints, tiles, and how to verify them without the
//! broker.
//!
//! ```text
//! Entry ──encode──▶ bytes ──leaf_hash──▶ Frontier::append ──root──▶ Checkpoint::sign     (writer)
//!                     └──▶ entry bundles         └──▶ hash tiles                         (C2SP tlog-tiles)
//! Checkpoint::open + bundles ──▶ Replay          tiles ──▶ prove_* ──▶ verify_*          (anyone)
//! ```
//!
//! Formats: RFC 6962 hashing, C2SP signed-note, tlog-checkpoint, tlog-tiles and tlog-proof, so that public
//! tools can read the log.

mod action;
pub mod checkpoint;
pub mod entry;
pub mod head;
pub mod note;
pub mod proof;
pub mod pruned;
pub mod segment;
pub mod tile;
pub mod tree;
pub mod verify;

pub use self::action::{Action, Outcome};
pub use self::checkpoint::{Checkpoint, CheckpointError};
pub use self::entry::{Entry, EntryError};
pub use self::head::{Head, HeadError};
pub use self::note::{NoteError, NoteSigner, SignedNote, VerifierKey, VerifierKeyError};
pub use self::proof::{EntryProof, EntryProofError, ProvenEntry};
pub use self::pruned::Pruned;
pub use self::segment::Segment;
pub use self::tile::{Tile, TileHashes, TileKind};
pub use self::tree::{Frontier, Hash, Node};
pub use self::verify::{Finding, Replay, Verified};
