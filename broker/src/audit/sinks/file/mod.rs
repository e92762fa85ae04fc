//! Lines in a file of this machine, with rotation. What is acknowledged is synced.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::Deserialize;

use super::files::unusable;
use super::threads::on_thread;
use super::{Connecting, Kind, Line, Patience, Peer, Sending, Sent, Sink, SinkError};
use crate::config::SinkConfig;

/// Whoever else has an account on the machine has no business with it.
const FILE_MODE: u32 = 0o600;
/// Most files that are kept beside the one that is written.
const KEEP_MAX: u32 = 1000;
const MIB: u64 = 1 << 20;
/// Bytes that are searched for the end of the last whole line.
const TAIL_BYTES: u64 = 128 << 10;

/// The descriptor.
pub static KIND: Kind = Kind {
    name: "file",
    parse: |raw, patience| {
        let settings: Settings = raw.parse()?;
        let is_sound = settings.path.is_absolute()
            && settings.path.file_name().is_some()
            && (1..=1 << 20).contains(&settings.rotate_mib)
            && settings.keep <= KEEP_MAX;
        if !is_sound {
            return Err("path must be absolute, rotate_mib at least 1, and keep at most 1000".to_owned());
        }
        Ok(Box::new(FileSink { settings: Arc::new(settings), patience }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The file that is written; those before it have `.1`, `.2` and so on, the newest first.
    path: PathBuf,
    /// MiB after which another one is begun.
    #[serde(default = "rotate_mib")]
    rotate_mib: u64,
    /// How many of those before are kept.
    #[serde(default = "keep")]
    keep: u32,
}

fn rotate_mib() -> u64 {
    64
}

fn keep() -> u32 {
    5
}

/// Whether one of `others` writes where `sink` does: to the same path, or to a name that a rotation gives.
pub(super) fn shared<'a>(sink: &SinkConfig, mut others: impl Iterator<Item = &'a SinkConfig>) -> bool {
    let Some(own) = path_of(sink) else { return false };
    let is_rotated = |path: &Path, of: &Path| {
        let (Some(name), Some(of_name)) = (path.to_str(), of.to_str()) else { return false };
        let number = name.strip_prefix(of_name).and_then(|rest| rest.strip_prefix('.'));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    others.any(|other| {
        path_of(other).is_some_and(|path| path == own || is_rotated(&path, &own) || is_rotated(&own, &path))
    })
}

/// The path of a sink of this kind, in one way to write it.
fn path_of(sink: &SinkConfig) -> Option<PathBuf> {
    let settings: Settings = (sink.kind == KIND.name).then(|| sink.rest.parse().ok())??;
    Some(settings.path.components().collect())
}

struct FileSink {
    settings: Arc<Settings>,
    patience: Patience,
}

/// What a disk did not do in time.
const HANGS: &str = "write to its disk";

impl Sink for FileSink {
    fn connect(&self) -> Connecting<'_> {
        let (settings, bound) = (Arc::clone(&self.settings), (HANGS, self.patience.answer));
        Box::pin(async move {
            let path = settings.path.clone();
            let file = on_thread(&path, bound, move || Open::of(settings)).await?;
            Ok(Box::new(FilePeer { file: Some(file), path, bound }) as Box<dyn Peer>)
        })
    }
}

struct FilePeer {
    /// `None` while a disk has it.
    file: Option<Open>,
    path: PathBuf,
    bound: (&'static str, Duration),
}

impl Peer for FilePeer {
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        let text: String = lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
        let file = self.file.take();
        Box::pin(async move {
            let Some(mut file) = file else { return Err(SinkError::Broken("it hangs".to_owned())) };
            let write = move || file.write(text.as_bytes()).map(|()| file);
            self.file = Some(on_thread(&self.path, self.bound, write).await?);
            Ok(Sent::default())
        })
    }
}

/// The file as it is open.
struct Open {
    settings: Arc<Settings>,
    file: File,
    bytes: u64,
}

impl Open {
    fn of(settings: Arc<Settings>) -> Result<Self, SinkError> {
        let path = settings.path.as_path();
        let made = open(path).and_then(|mut file| Ok((cut_torn(&mut file)?, file)));
        let (bytes, file) = made.map_err(|source| unusable(path, source))?;
        sync_folder(path)?;
        Ok(Self { settings, file, bytes })
    }

    fn write(&mut self, text: &[u8]) -> Result<(), SinkError> {
        if !self.is_in_place() {
            *self = Self::of(Arc::clone(&self.settings))?; // somebody else has moved it away
        }
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.settings.rotate_mib * MIB {
            rotate(&self.settings)?;
            *self = Self::of(Arc::clone(&self.settings))?;
        }
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        written.map_err(|source| unusable(&self.settings.path, source))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        let same = |there: fs::Metadata| {
            self.file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        };
        fs::symlink_metadata(&self.settings.path).is_ok_and(same)
    }
}

/// A regular file with lines in it, or nothing; anything else is left as it is. No link is followed, and
/// nothing is waited for.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).mode(FILE_MODE).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(std::io::Error::other("a regular file is expected"));
    }
    let mut first = [0];
    if file.read_at(&mut first, 0)? == 1 && first != *b"{" {
        return Err(foreign());
    }
    if about.mode() & 0o777 != FILE_MODE {
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    }
    Ok(file)
}

fn foreign() -> std::io::Error {
    std::io::Error::other("it holds something else than lines of a sink; name another file")
}

/// Removes what a crash left of a line: it was not acknowledged, and is written again. The length that stays.
fn cut_torn(file: &mut File) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let last = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if from == 0 && tail.get(last).is_some_and(|first| *first != b'{') {
        return Err(foreign());
    }
    let whole = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => from + at as u64 + 1,
        None if from == 0 => 0,
        None => length, // no line of ours is so long
    };
    if whole < length {
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// `x` becomes `x.1`, `x.1` becomes `x.2`, and the last one goes.
fn rotate(settings: &Settings) -> Result<(), SinkError> {
    let path = settings.path.as_path();
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if settings.keep == 0 {
        return fs::remove_file(path).map_err(|source| unusable(path, source));
    }
    for number in (1..settings.keep).rev() {
        moved(&numbered(number), &numbered(number + 1))?;
    }
    moved(path, &numbered(1))?;
    sync_folder(path)
}

fn moved(from: &Path, to: &Path) -> Result<(), SinkError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|source| unusable(from, source)),
    }
}

/// So that a name survives a power cut, too.
fn sync_folder(path: &Path) -> Result<(), SinkError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| unusable(folder, source))
}

#[cfg(test)]
mod tests;
