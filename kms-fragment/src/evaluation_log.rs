//! The service's own record of evaluations: who asked for how many, never for what.
//!
//! One line per record, `n time key_id broker_id count status quota_left suppressed hash`, separated by
//! single spaces; the hash is `SHA-256(label ‖ previous hash ‖ line up to the hash)`, so a line that is
//! changed, removed or inserted breaks every later one. `count` is 0 unless the elements were really
//! evaluated.
//!
//! A record is on disk (`fdatasync`) before its answer leaves: the count is what bounds the damage of a
//! broker taken over, so no evaluation may be given that a crash could forget. One sync serves everybody who
//! waits at that moment, hence the cost is one sync per group and not per evaluation.
//!
//! Cutting lines off the end leaves a valid chain. Against that, `evaluations.head` (sealed) says how far the
//! log had come; it is written at start, at stop and at most a minute after a record. Lines lost after the
//! last head are noticed only by who kept the head that `status` prints. A tail that a crash left torn is
//! moved aside, never erased.
//!
//! A file longer than [`SEGMENT_BYTES_MAX`] is set aside as `evaluations.<records>.log` and the chain goes on
//! in a new one, so starting takes bounded time. Old segments are the operator's to archive; the service does
//! not read them again.

mod replay;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use symbolon_proto::codec::{DecodeError, Reader, Writer};
use symbolon_proto::id::{BrokerId, KeyId};
use symbolon_proto::label;

use self::replay::Replay;

/// Longest line, newline included.
const LINE_BYTES_MAX: usize = 512;

/// A file longer than this is set aside, in bytes: about 350,000 records.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Refusals of one key with one status are written once in so many seconds; the rest is counted in the next
/// line. Otherwise a broker out of quota could fill the disk by asking again.
pub const REFUSAL_INTERVAL_SECS: u64 = 60;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Seconds since the Unix epoch.
    pub time: u64,
    /// The key asked for.
    pub key_id: KeyId,
    /// The broker that asked.
    pub broker_id: BrokerId,
    /// Elements evaluated; 0 for a refusal.
    pub count: u16,
    /// Status of the answer (`docs/skb1.md` 6.6).
    pub status: u16,
    /// Elements that the quota still allows.
    pub quota_left: u32,
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Records so far.
    pub records: u64,
    /// Hash of the last one; zeros for none.
    pub hash: [u8; 32],
}

impl Head {
    pub(crate) const EMPTY: Self = Self { records: 0, hash: [0; 32] };
}

/// What `evaluations.head` says: where the current file begins, and how far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Head before the first record of the current file.
    pub(crate) base: Head,
    /// Head when this was written.
    pub(crate) head: Head,
}

impl Anchor {
    pub(crate) const EMPTY: Self = Self { base: Head::EMPTY, head: Head::EMPTY };

    /// `records(8) ‖ hash(32)` of the base, then of the head.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(80);
        for head in [self.base, self.head] {
            writer.u64(head.records).bytes(&head.hash);
        }
        writer.finish()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let base = Head { records: reader.u64()?, hash: reader.array()? };
        let head = Head { records: reader.u64()?, hash: reader.array()? };
        reader.finish()?;
        Ok(Self { base, head })
    }
}

/// Why the evaluation log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A record does not follow from the one before.
    #[error(
        "the evaluation log {path} was altered at record {record}; keep the file, it is evidence, and find out who wrote to it"
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        record: u64,
    },
    /// Records that were there are gone.
    #[error(
        "the evaluation log {path} ends at record {found}, but had come to {expected}: records were removed"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Records that are there.
        found: u64,
        /// Records that were there.
        expected: u64,
    },
    /// The operating system refused.
    #[error("cannot use the evaluation log {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record of the same group could not be written, so none of the group counts.
    #[error("the evaluation log could not be written; free disk space, evaluations are refused until then")]
    NotWritten,
}

/// The quota that was left when the service last answered for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastUse {
    /// Seconds since the Unix epoch.
    pub(crate) time: u64,
    /// Elements.
    pub(crate) quota_left: u32,
}

/// The open log.
pub(crate) struct EvaluationLog {
    path: PathBuf,
    pending: Mutex<Pending>,
    disk: Mutex<Disk>,
}

/// Lines waiting for the next sync.
struct Pending {
    lines: Vec<u8>,
    head: Head,
    /// Bumped when a write failed: whoever waits for a line of an older attempt learns that it is lost.
    attempt: u64,
    suppressed: HashMap<(KeyId, u16), Suppressed>,
}

struct Suppressed {
    since: u64,
    count: u64,
}

/// What is on disk.
struct Disk {
    file: File,
    bytes: u64,
    base: Head,
    head: Head,
    /// A write failed half-way; the file must be cut back before the next.
    torn: bool,
}

impl EvaluationLog {
    /// Opens or starts the log, checks every record of the current file, and says what each key had left.
    pub(crate) fn open(path: &Path, anchor: Anchor) -> Result<(Self, BTreeMap<KeyId, LastUse>), LogError> {
        let io = |source| LogError::Io { path: path.to_owned(), source };
        let mut file = open_file(path).map_err(io)?;
        let mut base = anchor.base;
        let mut replay = Replay::run(&file, base, anchor.head).map_err(io)?;
        if replay.head == base && !replay.met_anchor && segment(path, anchor.head).exists() {
            // A crash while the file was set aside: the anchor was written for exactly this.
            base = anchor.head;
            replay = Replay::run(&file, base, anchor.head).map_err(io)?;
        }
        if !replay.met_anchor {
            return Err(replay.fault(path, anchor.head));
        }
        if replay.broken {
            set_tail_aside(path, &mut file, replay.bytes).map_err(io)?;
        }
        let head = replay.head;
        let pending = Pending { lines: Vec::new(), head, attempt: 0, suppressed: HashMap::new() };
        let disk = Disk { file, bytes: replay.bytes, base, head, torn: false };
        let log = Self { path: path.to_owned(), pending: Mutex::new(pending), disk: Mutex::new(disk) };
        Ok((log, replay.last_use))
    }

    /// Sets the current file aside if it is longer than `bytes_max`. `write_anchor` must make what it is
    /// given durable; nobody else may write the anchor meanwhile.
    pub(crate) fn set_aside<E: From<LogError>>(
        &self,
        bytes_max: u64,
        write_anchor: impl FnOnce(Anchor) -> Result<(), E>,
    ) -> Result<(), E> {
        let io = |source| LogError::Io { path: self.path.clone(), source };
        let mut disk = lock(&self.disk);
        if disk.bytes <= bytes_max || disk.torn {
            return Ok(());
        }
        write_anchor(Anchor { base: disk.base, head: disk.head })?;
        let segment = segment(&self.path, disk.head);
        std::fs::rename(&self.path, &segment).map_err(io)?;
        disk.file = open_file(&self.path).map_err(|error| {
            // The open file goes on under its old name; if even that fails, the next start will say so.
            drop(std::fs::rename(&segment, &self.path));
            io(error)
        })?;
        (disk.bytes, disk.base) = (0, disk.head);
        Ok(())
    }

    /// Writes a record. When this returns `Ok`, it is on disk. Blocks for one sync at most two groups long.
    pub(crate) fn append(&self, record: &Record) -> Result<(), LogError> {
        let (number, attempt) = {
            let mut pending = lock(&self.pending);
            let Some(suppressed) = pending.due(record) else { return Ok(()) };
            pending.push(record, suppressed);
            (pending.head.records, pending.attempt)
        };
        let mut disk = lock(&self.disk);
        if disk.head.records >= number && lock(&self.pending).attempt == attempt {
            return Ok(());
        }
        let (lines, head) = {
            let mut pending = lock(&self.pending);
            if pending.attempt != attempt {
                return Err(LogError::NotWritten);
            }
            (std::mem::take(&mut pending.lines), pending.head)
        };
        let written = disk.write(&lines, head);
        written.map_err(|source| {
            let mut pending = lock(&self.pending);
            pending.lines.clear();
            pending.head = disk.head;
            pending.attempt += 1;
            LogError::Io { path: self.path.clone(), source }
        })
    }

    /// Makes every further write fail, as a full disk would.
    #[cfg(test)]
    pub(crate) fn break_for_test(&self) {
        lock(&self.disk).file = File::open("/dev/null").expect("always there");
    }

    /// How far the log has come on disk.
    pub(crate) fn head(&self) -> Head {
        lock(&self.disk).head
    }

    /// What `evaluations.head` should say.
    pub(crate) fn anchor(&self) -> Anchor {
        let disk = lock(&self.disk);
        Anchor { base: disk.base, head: disk.head }
    }
}

impl Pending {
    /// `None` if this refusal is only counted; otherwise how many were only counted since the last line.
    fn due(&mut self, record: &Record) -> Option<u64> {
        if record.status == 0 {
            return Some(0);
        }
        let slot = self
            .suppressed
            .entry((record.key_id, record.status))
            .or_insert(Suppressed { since: 0, count: 0 });
        if slot.since != 0 && record.time < slot.since.saturating_add(REFUSAL_INTERVAL_SECS) {
            slot.count += 1;
            return None;
        }
        slot.since = record.time;
        Some(std::mem::take(&mut slot.count))
    }

    fn push(&mut self, record: &Record, suppressed: u64) {
        let Record { time, key_id, broker_id, count, status, quota_left } = record;
        let records = self.head.records + 1;
        let body =
            format!("{records} {time} {key_id} {broker_id} {count} {status} {quota_left} {suppressed} ");
        let hash = chain(&self.head.hash, body.as_bytes());
        self.lines.extend_from_slice(body.as_bytes());
        self.lines.extend_from_slice(HEXLOWER.encode(&hash).as_bytes());
        self.lines.push(b'\n');
        self.head = Head { records, hash };
    }
}

impl Disk {
    fn write(&mut self, lines: &[u8], head: Head) -> io::Result<()> {
        if self.torn {
            // Otherwise the last attempt would leave half a line in the middle.
            self.file.set_len(self.bytes)?;
        }
        self.torn = true;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.torn = false;
        self.bytes += lines.len() as u64;
        self.head = head;
        Ok(())
    }
}

fn chain(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(label::EVALUATION_LOG)
        .chain_update(previous)
        .chain_update(body)
        .finalize()
        .into()
}

/// Opens or makes the file; made, it is there after a crash too.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

/// Where a file goes whose last record is `head`.
fn segment(path: &Path, head: Head) -> PathBuf {
    path.with_extension(format!("{}.log", head.records))
}

/// Moves everything after `bytes` into a file beside the log.
fn set_tail_aside(path: &Path, file: &mut File, bytes: u64) -> io::Result<()> {
    let aside = path.with_extension(format!("torn-at-{bytes}"));
    tracing::warn!(file = %aside.display(), "the evaluation log ended in a torn record; it was moved aside");
    file.seek(SeekFrom::Start(bytes))?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    io::copy(file, &mut copy)?;
    copy.sync_all()?;
    file.set_len(bytes)?;
    file.sync_all()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
