//! Reading the log back: every line must follow from the one before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use data_encoding::HEXLOWER;
use symbolon_proto::id::KeyId;

use super::{Head, LINE_BYTES_MAX, LastUse, LogError, Record, chain};

/// Reads the log from the start.
pub(super) struct Replay {
    pub(super) head: Head,
    /// Length of the valid part.
    pub(super) bytes: u64,
    /// Whether something follows the valid part.
    pub(super) broken: bool,
    /// Whether the valid part contains the anchor.
    pub(super) met_anchor: bool,
    pub(super) last_use: BTreeMap<KeyId, LastUse>,
}

impl Replay {
    pub(super) fn run(mut file: &File, base: Head, anchor: Head) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let met_anchor = anchor == base;
        let mut replay = Self { head: base, bytes: 0, broken: false, met_anchor, last_use: BTreeMap::new() };
        let mut reader = BufReader::new(file);
        let mut line = Vec::with_capacity(LINE_BYTES_MAX);
        loop {
            line.clear();
            let limited = io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if limited == 0 {
                return Ok(replay);
            }
            let Some((head, record)) = parse(&line, replay.head) else {
                replay.broken = true;
                return Ok(replay);
            };
            replay.head = head;
            replay.bytes += line.len() as u64;
            replay.met_anchor |= head == anchor;
            let last = LastUse { time: record.time, quota_left: record.quota_left };
            replay.last_use.insert(record.key_id, last);
        }
    }

    /// Why the anchor was not met.
    pub(super) fn fault(&self, path: &Path, anchor: Head) -> LogError {
        let path = path.to_owned();
        if self.head.records < anchor.records && !self.broken {
            LogError::Truncated { path, found: self.head.records, expected: anchor.records }
        } else {
            LogError::Altered { path, record: self.head.records + 1 }
        }
    }
}

/// Reads one line that must follow `previous`.
fn parse(line: &[u8], previous: Head) -> Option<(Head, Record)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (fields, hash_text) = line.rsplit_once(' ')?;
    let body = &line[..=fields.len()];
    let hash = chain(&previous.hash, body.as_bytes());
    if HEXLOWER.encode(&hash) != hash_text {
        return None;
    }
    let mut fields = fields.split(' ');
    let records: u64 = fields.next()?.parse().ok()?;
    let record = Record {
        time: fields.next()?.parse().ok()?,
        key_id: fields.next()?.parse().ok()?,
        broker_id: fields.next()?.parse().ok()?,
        count: fields.next()?.parse().ok()?,
        status: fields.next()?.parse().ok()?,
        quota_left: fields.next()?.parse().ok()?,
    };
    (records == previous.records + 1).then_some((Head { records, hash }, record))
}
