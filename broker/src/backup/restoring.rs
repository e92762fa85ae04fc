//! From a backup to a store.
//!
//! The store gets its name when the backup has been read to its end and is whole: whoever breaks off, or
//! restores from half a backup, has no store. A store that is there is never touched.

use std::path::{Path, PathBuf};

use rand_core::Rng as _;
use symbolon_proto::backup::{Row, Whole};
use symbolon_proto::log::VerifierKey;
use symbolon_proto::xwing::XWingSeed;

use super::checking::{self, CheckError};
use super::place::Bytes;
use crate::audit::log::{LogReader, VerifyError};
use crate::random::os_rng;
use crate::rows::restored_key;
use crate::store::embedded::{CACHE_BYTES_DEFAULT, EmbeddedStore, write_ahead_path};
use crate::store::{Expect, OPS_MAX, Store, StoreError, Write};

/// Most bytes of rows in one commit.
const COMMIT_BYTES: usize = 8 << 20;

/// Why there is no restored store.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Its place is taken.
    #[error(
        "there is a store at {path} already, and a restore never touches one; move it away, or name another path"
    )]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The new store.
    #[error("the store at {path} cannot be written: {source}")]
    Store {
        /// Where.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// Its directory.
    #[error("the restored store cannot be put in place at {path}: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another deployment, or somebody's own.
    #[error("the backup is signed by another key than the given one; the key of its log is {found}")]
    OtherLog {
        /// The key that it names.
        found: Box<VerifierKey>,
    },
    /// The log in it.
    #[error("the audit log in the backup does not verify: {0}")]
    Log(#[from] VerifyError),
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub whole: Whole,
    /// Entries of the log that its signed checkpoint covers, all of them verified. The backup's own signature
    /// covers what came after it, and the next unseal compares that with the head.
    pub entries: u64,
}

/// Makes a store of a backup at `path`. `log` is the key of the deployment's log, as `init` gave it out; who
/// has none must compare the one in the answer.
pub async fn restore(
    bytes: Bytes,
    seed: &XWingSeed,
    log: Option<&VerifierKey>,
    path: &Path,
) -> Result<Restored, RestoreError> {
    if path.exists() {
        return Err(RestoreError::Exists { path: path.to_owned() });
    }
    let work = beside(path);
    let made = fill(bytes, seed, log, &work).await;
    let made = made.and_then(|restored| put_in_place(&work, path).map(|()| restored));
    if made.is_err() {
        remove(&work);
    }
    made
}

/// Removes a store that was begun, if it was.
fn remove(work: &Path) {
    for file in [work, &write_ahead_path(work)] {
        let _ = std::fs::remove_file(file); // it may never have been made
    }
}

/// Where a store is put together before it gets its name.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let mut mark = [0; 4];
    os_rng().fill_bytes(&mut mark); // two restores at once do not meet
    name.push(format!(".restoring-{:08x}", u32::from_be_bytes(mark)));
    path.with_file_name(name)
}

async fn fill(
    bytes: Bytes,
    seed: &XWingSeed,
    log: Option<&VerifierKey>,
    work: &Path,
) -> Result<Restored, RestoreError> {
    let fail = |source| RestoreError::Store { path: work.to_owned(), source };
    let store = std::sync::Arc::new(EmbeddedStore::create(work, CACHE_BYTES_DEFAULT).map_err(fail)?);
    let mut batch = Batch::default();
    let whole = checking::read(bytes, Some(seed), async |rows| {
        for row in rows {
            if let Some(full) = batch.add(row) {
                store.commit(full).await.map_err(fail)?;
            }
        }
        Ok::<_, RestoreError>(())
    })
    .await?;
    let found = &whole.head.about().log_key;
    if log.is_some_and(|expected| expected != found) {
        return Err(RestoreError::OtherLog { found: Box::new(found.clone()) });
    }
    batch.ops.push(mark(&whole));
    store.commit(batch.ops).await.map_err(fail)?;
    let verified = LogReader::new(std::sync::Arc::clone(&store) as _).verify_all(found).await?;
    store.close().await.map_err(fail)?;
    Ok(Restored { entries: verified.size, whole })
}

/// For the next unseal, which enters it into the log: made(8) ‖ entries(8).
fn mark(whole: &Whole) -> Write {
    let about = whole.head.about();
    let value = [about.made.to_be_bytes(), about.entries.to_be_bytes()].concat();
    Write::Put { key: restored_key(), value, expect: Expect::Any }
}

/// Rows on their way into one commit.
#[derive(Default)]
struct Batch {
    ops: Vec<Write>,
    bytes: usize,
}

impl Batch {
    /// Takes a row; gives what is to be committed first, if it does not fit with that.
    fn add(&mut self, (key, value): Row) -> Option<Vec<Write>> {
        let op = Write::Put { key, value, expect: Expect::Absent };
        let is_full = self.ops.len() == OPS_MAX - 1 || self.bytes + op.bytes() > COMMIT_BYTES;
        let full = (is_full && !self.ops.is_empty()).then(|| std::mem::take(self).ops);
        self.bytes += op.bytes();
        self.ops.push(op);
        full
    }
}

fn put_in_place(work: &Path, path: &Path) -> Result<(), RestoreError> {
    let fail = |source| RestoreError::File { path: path.to_owned(), source };
    // A link fails if somebody has made a store meanwhile; a rename would replace it.
    std::fs::hard_link(work, path).map_err(fail)?;
    std::fs::remove_file(work).map_err(fail)?;
    let _ = std::fs::remove_file(write_ahead_path(work)); // a closed store does not need it
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail)
}
