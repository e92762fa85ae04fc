//! Exported segments in a directory, as the broker wrote them or unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use symbolon_proto::log::{Segment, VerifierKey};

use super::{LogError, read_bounded};

/// Most files of a directory that are looked at.
const FILES_MAX: usize = 1_000_000;

/// Where each tile of the segments lies.
#[derive(Clone, Debug)]
pub struct Archive {
    directory: PathBuf,
    parts: BTreeMap<String, Part>,
}

/// A run of bytes in a file.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    at: u64,
    bytes: u64,
}

impl Archive {
    /// Looks at the heads of all segments of the log which `key` verifies. What is in them is verified with
    /// the log; one that was cut off is named here.
    pub fn open(directory: &Path, key: &VerifierKey) -> Result<Self, LogError> {
        let failed = |source| LogError::File { path: directory.to_owned(), source };
        let mut parts = BTreeMap::new();
        for file in std::fs::read_dir(directory).map_err(failed)?.take(FILES_MAX) {
            let path = file.map_err(failed)?.path();
            if let Some(segment) = path.file_name().and_then(|name| of_log(name.to_str()?, key)) {
                parts.append(&mut parts_of(&path, segment)?);
            }
        }
        Ok(Self { directory: directory.to_owned(), parts })
    }

    /// A part of the log, at most `limit` bytes; `None` if no segment has it. The newest checkpoint, and what
    /// was pruned, are not looked for here.
    pub(super) async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, LogError> {
        if !path.starts_with("tile/") {
            return Ok(None);
        }
        let Some(part) = self.parts.get(path).cloned() else {
            let unpacked = self.directory.join(path);
            return read_bounded(&unpacked, limit)
                .map_err(|source| LogError::File { path: unpacked, source });
        };
        let shown = part.path.clone();
        let read = tokio::task::spawn_blocking(move || part.read(limit)).await;
        let read = read.unwrap_or_else(|join| Err(std::io::Error::other(join)));
        read.map(Some).map_err(|source| LogError::File { path: shown, source })
    }
}

impl Part {
    fn read(&self, limit: usize) -> std::io::Result<Vec<u8>> {
        if self.bytes > limit as u64 {
            return Err(std::io::Error::other(format!("larger than {limit} bytes")));
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take(self.bytes).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The segment of a file, if it is one of this log: its name has the beginning of the deployment's id, with
/// which the name of the key ends.
fn of_log(name: &str, key: &VerifierKey) -> Option<Segment> {
    let segment = Segment::of_object(name)?;
    let digits = name.split('-').nth(1)?;
    let deployment = key.name().rsplit('/').next()?;
    (deployment.starts_with(digits) || !is_id(deployment)).then_some(segment)
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn parts_of(path: &Path, segment: Segment) -> Result<BTreeMap<String, Part>, LogError> {
    let broken = |problem: String| LogError::Segment { path: path.to_owned(), problem };
    let failed = |source| LogError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut archive = tar::Archive::new(file);
    let mut parts = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(|error| broken(error.to_string()))? {
        let entry = entry.map_err(|error| broken(error.to_string()))?;
        let name = entry.path().map_err(|error| broken(error.to_string()))?.display().to_string();
        let (at, bytes) = (entry.raw_file_position(), entry.size());
        if at.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(broken(format!("it ends within {name}")));
        }
        parts.insert(name, Part { path: path.to_owned(), at, bytes });
    }
    let names = segment.tiles().map(|tile| tile.to_string()).chain(["checkpoint".to_owned()]);
    match names.into_iter().find(|name| !parts.contains_key(name)) {
        Some(missing) => Err(broken(format!("{missing} is missing in it"))),
        None => Ok(parts),
    }
}
