//! The audit log, read and verified without trusting who keeps it.
//!
//! A log is a signed checkpoint, entry bundles and hash tiles (C2SP tlog-tiles), at a broker below `/log/` or
//! in a directory with the same names. [`verify`] recomputes the whole tree from the entries and compares its
//! root with the one that the log's key signed; who holds that key's public half needs nothing else.

mod archive;
mod beginning;
mod copy;
mod following;
mod proving;
mod report;
mod search;

use std::path::{Path, PathBuf};

use symbolon_proto::log::checkpoint::CheckpointError;
use symbolon_proto::log::note::NOTE_BYTES_MAX;
use symbolon_proto::log::pruned::PRUNED_BYTES_MAX;
use symbolon_proto::log::tile::{BUNDLE_BYTES_MAX, TILE_BYTES_MAX, TILE_WIDTH, TileError, decode_hashes};
use symbolon_proto::log::{
    Checkpoint, Entry, Finding, Frontier, Hash, Pruned, Replay, Tile, TileKind, Verified, VerifierKey,
};

use crate::operator::Operator;
use symbolon::{Error, Method};

pub use self::archive::Archive;
pub use self::copy::copy;
pub use self::following::{Followed, Line};
pub use self::proving::Prover;
pub use self::report::{Counted, Kinds, Logins, OTHERS, Often, Tally};
pub use self::search::{Page, Search, Span};

/// Where a log is.
pub enum LogSource {
    /// A directory with `checkpoint` and `tile/…`.
    Directory(PathBuf),
    /// A broker, which serves the same below `/log/`.
    Broker(Operator),
    /// Segments that were exported, and whatever they do not have from elsewhere.
    Exported(Archive, Box<LogSource>),
}

/// Why a log was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A copy cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The broker does not give it.
    #[error("the broker does not give {path}")]
    Broker {
        /// Which part of the log.
        path: String,
        /// Why.
        source: Box<Error>,
    },
    /// A part of the log is not there.
    #[error("{path} is missing: entries from {index} on cannot be read")]
    Missing {
        /// Which part of the log.
        path: String,
        /// First entry of it.
        index: u64,
    },
    /// An exported segment is not whole.
    #[error(
        "the exported segment {path} is not whole: {problem}; fetch it again from where it was exported to"
    )]
    Segment {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What is told of what was pruned does not fit the log.
    #[error(
        "what the broker says was pruned does not fit what was signed: the log does not begin at entry {minimum} as it says"
    )]
    Pruned {
        /// The first entry that is said to be kept.
        minimum: u64,
    },
    /// An earlier checkpoint is of entries that were pruned.
    #[error(
        "the earlier log of {old} entries ended before entry {minimum}, the first that is kept: give the exported segments with --segments"
    )]
    Before {
        /// Size of the earlier log.
        old: u64,
        /// The first entry that is kept.
        minimum: u64,
    },
    /// The checkpoint is not one, or not signed by this key.
    #[error("the checkpoint does not hold")]
    Checkpoint(#[from] CheckpointError),
    /// The entries are not those that were signed.
    #[error(transparent)]
    Finding(#[from] Finding),
    /// A bundle of entries is damaged in its form.
    #[error("the entries {first} to {last} are damaged, and their stored hashes do not tell where")]
    Bundle {
        /// First entry of the bundle.
        first: u64,
        /// Last entry of the bundle.
        last: u64,
        /// How.
        source: TileError,
    },
    /// Asked for an entry that was pruned.
    #[error(
        "entry {index} was pruned, the first that is kept is {minimum}: give the exported segments with --segments and --key"
    )]
    Cut {
        /// What was asked for.
        index: u64,
        /// The first entry that is kept.
        minimum: u64,
    },
    /// Asked for an entry that there is none.
    #[error("there is no entry {index} in a log of {size} entries")]
    Beyond {
        /// What was asked for.
        index: u64,
        /// Entries in the log.
        size: u64,
    },
    /// The log is not the continuation of an earlier one.
    #[error("the log does not continue the earlier one of {old} entries: history was changed or cut")]
    NotGrown {
        /// Size of the earlier log.
        old: u64,
    },
}

/// What a verification found, and what it can say about the entries.
#[derive(Clone, Debug)]
pub struct Report {
    /// Size and root, all of which were recomputed.
    pub verified: Verified,
    /// Name of the log.
    pub origin: String,
    /// The first entry that was verified: 0, or the minimum index of a pruned log without its segments.
    pub begin: u64,
    /// What the broker says was pruned. Where it begins is proven; when and by whose order is not.
    pub pruned: Pruned,
    /// When the first entry that was verified was written, milliseconds since the Unix epoch; 0 for an empty
    /// log.
    pub first_ms: u64,
    /// When the last entry was written.
    pub last_ms: u64,
}

impl LogSource {
    /// A part of the log, at most `limit` bytes; `None` if it is not there.
    async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, LogError> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(path);
                let shown = path.clone();
                let read = tokio::task::spawn_blocking(move || read_bounded(&path, limit)).await;
                let failed = |source| LogError::File { path: shown, source };
                read.unwrap_or_else(|join| Err(std::io::Error::other(join))).map_err(failed)
            }
            Self::Exported(archive, rest) => match archive.read(path, limit).await? {
                Some(bytes) => Ok(Some(bytes)),
                None => Box::pin(rest.read(path, limit)).await,
            },
            Self::Broker(client) => {
                let call = client.public(Method::GET, &format!("log/{path}")).limit(limit).accept(&[404]);
                let failed = |source| LogError::Broker { path: path.to_owned(), source: Box::new(source) };
                let answer = call.send().await.map_err(failed)?;
                Ok((answer.status() != 404).then(|| answer.body().to_vec()))
            }
        }
    }

    /// The signed checkpoint as text, unverified.
    pub async fn checkpoint(&self) -> Result<String, LogError> {
        let missing = || LogError::Missing { path: "checkpoint".to_owned(), index: 0 };
        let bytes = self.read("checkpoint", NOTE_BYTES_MAX).await?.ok_or_else(missing)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What was pruned, as whoever keeps the log says; the default if nothing is said, as by older brokers.
    async fn pruned(&self) -> Result<Pruned, LogError> {
        let said = self.read("pruned", PRUNED_BYTES_MAX).await?;
        let Some(bytes) = said else { return Ok(Pruned::default()) };
        let text = String::from_utf8_lossy(&bytes);
        Pruned::parse(&text).map_err(|_| LogError::Pruned { minimum: 0 })
    }

    /// A tile; a full one where the partial one has been replaced since the checkpoint.
    async fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, LogError> {
        let limit = match tile.kind() {
            TileKind::Entries => BUNDLE_BYTES_MAX,
            TileKind::Hashes(_) => TILE_BYTES_MAX,
        };
        if let Some(bytes) = self.read(&tile.to_string(), limit).await? {
            return Ok(Some(bytes));
        }
        match Tile::new(tile.kind(), tile.index(), TILE_WIDTH) {
            Ok(full) if tile.is_partial() => self.read(&full.to_string(), limit).await,
            _ => Ok(None),
        }
    }
}

fn read_bounded(path: &Path, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::{ErrorKind, Read};
    let file = match std::fs::File::open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(std::io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Recomputes the whole tree from the entries and compares it with the checkpoint that `key` signed.
///
/// With `earlier`, also checks that this log continues that one. `progress` hears (entries read, entries in
/// all).
pub async fn verify(
    source: &LogSource,
    key: &VerifierKey,
    earlier: Option<&Checkpoint>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Report, LogError> {
    let checkpoint = Checkpoint::open(&source.checkpoint().await?, key)?;
    if let Some(earlier) =
        earlier.filter(|earlier| earlier.size > checkpoint.size || earlier.origin != checkpoint.origin)
    {
        return Err(LogError::NotGrown { old: earlier.size });
    }
    let mut walk = Walk::begin(source, checkpoint, earlier).await?;
    while walk.bundle().await? {
        progress(walk.read, walk.checkpoint.size);
    }
    walk.finish()
}

/// A verification under way.
struct Walk<'a> {
    source: &'a LogSource,
    checkpoint: Checkpoint,
    replay: Replay,
    read: u64,
    begin: u64,
    pruned: Pruned,
    /// The tree before the first entry.
    before: Frontier,
    /// The tree up to what was pruned, where that is read as well.
    cut: Frontier,
    times: Option<(u64, u64)>,
    /// The earlier checkpoint and the tree up to its size.
    earlier: Option<(&'a Checkpoint, Frontier)>,
}

impl<'a> Walk<'a> {
    /// At the first entry that there is: of all, if the source has that, and otherwise of those that are
    /// kept.
    async fn begin(
        source: &'a LogSource,
        checkpoint: Checkpoint,
        earlier: Option<&'a Checkpoint>,
    ) -> Result<Self, LogError> {
        let pruned = source.pruned().await?;
        let before = beginning::find(source, &checkpoint, &pruned).await?;
        let begin = before.size();
        if let Some(old) = earlier.map(|earlier| earlier.size).filter(|old| *old < begin) {
            return Err(LogError::Before { old, minimum: begin });
        }
        let replay = Replay::after(checkpoint.clone(), before.clone());
        let earlier = earlier.map(|earlier| (earlier, before.clone()));
        let cut = before.clone();
        Ok(Self { source, checkpoint, replay, read: begin, begin, pruned, before, cut, times: None, earlier })
    }

    /// Takes the next bundle; false if there is none.
    async fn bundle(&mut self) -> Result<bool, LogError> {
        if self.read == self.checkpoint.size {
            return Ok(false);
        }
        let index = self.read / u64::from(TILE_WIDTH);
        let Some(name) = Tile::in_tree(TileKind::Entries, index, self.checkpoint.size) else {
            return Ok(false);
        };
        let missing = || LogError::Missing { path: name.to_string(), index: self.read };
        let bytes = self.source.tile(name).await?.ok_or_else(missing)?;
        let stored = self.stored_hashes(index).await?;
        let (entries, damage) = split(&bytes, name.width());
        if let Some(error) = damage {
            return Err(self.locate(&entries, name.width(), error).await?);
        }
        for (place, entry) in entries.iter().enumerate() {
            self.push(entry, stored.as_ref().and_then(|hashes| hashes.get(place)).copied())?;
        }
        Ok(true)
    }

    fn push(&mut self, entry: &[u8], stored: Option<Hash>) -> Result<(), LogError> {
        if let Some((earlier, tree)) = &mut self.earlier
            && tree.size() < earlier.size
        {
            tree.append(Entry::leaf_hash(entry));
        }
        if self.cut.size() < self.pruned.minimum {
            self.cut.append(Entry::leaf_hash(entry));
        }
        if let Some(entry) = self.replay.push(entry, stored)? {
            let first = self.times.map_or(entry.time_ms, |(first, _)| first);
            self.times = Some((first, entry.time_ms));
        }
        self.read += 1;
        Ok(())
    }

    async fn stored_hashes(&self, index: u64) -> Result<Option<Vec<Hash>>, LogError> {
        let Some(name) = Tile::in_tree(TileKind::Hashes(0), index, self.checkpoint.size) else {
            return Ok(None);
        };
        let bytes = self.source.tile(name).await?;
        Ok(bytes.and_then(|bytes| decode_hashes(&bytes, name.width()).ok()))
    }

    /// Finds the first changed entry of a bundle that does not even have the form of one.
    async fn locate(&self, intact: &[&[u8]], width: u16, source: TileError) -> Result<LogError, LogError> {
        let mut tree = self.before.clone();
        let mut changed = None;
        for index in self.begin / u64::from(TILE_WIDTH)..self.checkpoint.size.div_ceil(u64::from(TILE_WIDTH))
        {
            let Some(hashes) = self.stored_hashes(index).await? else { break };
            if index == self.read / u64::from(TILE_WIDTH) {
                let differs = |(entry, hash): (&&[u8], &Hash)| Entry::leaf_hash(entry) != *hash;
                let place = intact.iter().zip(&hashes).position(differs).unwrap_or(intact.len());
                changed = Some(self.read + place as u64);
            }
            hashes.into_iter().for_each(|hash| tree.append(hash));
        }
        let authentic = tree.size() == self.checkpoint.size && tree.root() == self.checkpoint.root;
        Ok(match changed.filter(|_| authentic) {
            Some(index) => Finding::Changed { index }.into(),
            None => LogError::Bundle { first: self.read, last: self.read + u64::from(width) - 1, source },
        })
    }

    fn finish(self) -> Result<Report, LogError> {
        let verified = self.replay.finish()?;
        if let Some((earlier, tree)) = &self.earlier
            && tree.root() != earlier.root
        {
            return Err(LogError::NotGrown { old: earlier.size });
        }
        let Pruned { minimum, root, .. } = self.pruned;
        if self.cut.size() != minimum || self.cut.root() != root {
            return Err(LogError::Pruned { minimum });
        }
        let (first_ms, last_ms) = self.times.unwrap_or((0, 0));
        let (origin, begin, pruned) = (self.checkpoint.origin, self.begin, self.pruned);
        Ok(Report { verified, origin, begin, pruned, first_ms, last_ms })
    }
}

/// The first `width` entries of a bundle, and why there are not as many, if so.
fn split(bytes: &[u8], width: u16) -> (Vec<&[u8]>, Option<TileError>) {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while entries.len() < usize::from(width) {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { break };
        let length = usize::from(u16::from_be_bytes(*length));
        if after.len() < length {
            break;
        }
        let (entry, after) = after.split_at(length);
        entries.push(entry);
        rest = after;
    }
    let damage = TileError::Width { expected: width, found: entries.len() };
    let whole = entries.len() == usize::from(width);
    (entries, (!whole).then_some(damage))
}

#[cfg(test)]
mod tests;
