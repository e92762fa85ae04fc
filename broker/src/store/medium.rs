//! The bytes under an embedded store, and what went wrong with them.
//!
//! redb reports every failed write in the same way and refuses to go on afterwards. The store has to tell a
//! full disk (the request fails, everything is intact) from a failed sync (nothing the kernel holds of this
//! file can be trusted any more), so it lends redb a [`Disk`] that remembers which it was. The lock on the
//! file is ours as well: it outlives a redb handle that has to be reopened, so that no second broker slips in
//! meanwhile.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redb::StorageBackend;
use rustix::fs::OFlags;

use super::{Cause, StoreError};

/// Random-access bytes that can be grown and synced. Tests bring one that fails on demand.
pub(super) trait Medium: fmt::Debug + Send + Sync + 'static {
    /// Bytes there are.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Grows with zeros, or cuts.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes everything written so far survive a power cut.
    fn sync(&self) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Bytes that may still be written before the medium is full.
    fn free_bytes(&self) -> io::Result<u64>;
}

impl Medium for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let filesystem = rustix::fs::fstatvfs(self)?;
        Ok(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
    }
}

/// The write-ahead file beside a store: made when something is written to it, and written around the kernel's
/// cache where the file system allows it, so that a block is one write to the disk and occupies no memory.
#[derive(Debug)]
pub(super) struct WalFile {
    path: PathBuf,
    handles: OnceLock<Handles>,
}

#[derive(Debug)]
struct Handles {
    file: File,
    direct: Option<Direct>,
}

/// A handle that takes whole blocks from aligned memory only.
#[derive(Debug)]
struct Direct {
    file: File,
    buffer: Mutex<Vec<u8>>,
}

impl WalFile {
    /// The one at `path`, whether or not it is there yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, handles: OnceLock::new() }
    }

    /// The file, if there is one.
    fn existing(&self) -> io::Result<Option<&Handles>> {
        if let Some(handles) = self.handles.get() {
            return Ok(Some(handles));
        }
        match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => Ok(Some(self.keep(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file, made if there is none. Only the holder of the store's lock comes here.
    fn made(&self) -> io::Result<&Handles> {
        if let Some(handles) = self.existing()? {
            return Ok(handles);
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&self.path)?;
        sync_directory_of(&self.path)?;
        Ok(self.keep(file))
    }

    fn keep(&self, file: File) -> &Handles {
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(&self.path).ok();
        let direct = direct.map(|file| Direct { file, buffer: Mutex::default() });
        self.handles.get_or_init(|| Handles { file, direct })
    }
}

impl Medium for WalFile {
    fn len(&self) -> io::Result<u64> {
        Ok(match self.existing()? {
            Some(handles) => handles.file.metadata()?.len(),
            None => 0,
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.existing()?.ok_or(io::ErrorKind::NotFound)?.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.made()?.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.made()?.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let handles = self.made()?;
        match &handles.direct {
            Some(direct) if in_blocks(offset, data) => match direct.write(offset, data) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    handles.file.write_all_at(data, offset)
                }
                result => result,
            },
            _ => handles.file.write_all_at(data, offset),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let directory = directory_of(&self.path);
        let filesystem = rustix::fs::statvfs(directory)?;
        Ok(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
    }
}

/// What any disk takes as whole blocks, and memory that any disk reads from.
const ALIGNMENT: usize = 4096;
/// What is kept of the buffer between writes.
const BUFFER_BYTES: usize = 64 << 10;

fn in_blocks(offset: u64, data: &[u8]) -> bool {
    offset.is_multiple_of(ALIGNMENT as u64) && data.len().is_multiple_of(ALIGNMENT)
}

impl Direct {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.resize(data.len().max(BUFFER_BYTES) + ALIGNMENT, 0);
        let from = buffer.as_ptr().align_offset(ALIGNMENT);
        let aligned = buffer.get_mut(from..from.saturating_add(data.len()));
        let aligned = aligned.ok_or(io::ErrorKind::InvalidInput)?;
        aligned.copy_from_slice(data);
        let result = self.file.write_all_at(aligned, offset);
        buffer.truncate(BUFFER_BYTES + ALIGNMENT);
        buffer.shrink_to(BUFFER_BYTES + ALIGNMENT);
        result
    }
}

/// Makes a new, empty, locked file that only its owner may read. Never touches one that exists.
pub(super) fn create_file(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists,
            _ => StoreError::Unavailable(Cause::new(error)),
        },
    )?;
    lock(&file)?;
    Ok(file)
}

/// Opens and locks a file that exists.
pub(super) fn open_file(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing,
        io::ErrorKind::IsADirectory => StoreError::Foreign,
        _ => StoreError::Unavailable(Cause::new(error)),
    })?;
    lock(&file)?;
    Ok(file)
}

/// Makes the name of a new file survive a power cut, as its contents do.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Held as long as the file is open, and released by the kernel however the process ends.
fn lock(file: &File) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(StoreError::Unavailable(Cause::new(error))),
    }
}

/// The first thing that went wrong with a medium since it was last opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Trouble {
    /// Nothing.
    None = 0,
    /// A write found no space.
    Full = 1,
    /// A sync failed. The kernel may have dropped what it could not write and will not say so twice, so that
    /// only a new process, on a disk that somebody has looked at, may go on.
    Sync = 2,
    /// Any other read or write.
    Other = 3,
}

/// A medium as redb sees it.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    medium: Arc<dyn Medium>,
    trouble: Arc<AtomicU8>,
}

impl Disk {
    /// A fresh view on a medium, nothing having gone wrong yet.
    pub(super) fn new(medium: Arc<dyn Medium>) -> Self {
        Self { medium, trouble: Arc::new(AtomicU8::new(Trouble::None as u8)) }
    }

    /// What went wrong first.
    pub(super) fn trouble(&self) -> Trouble {
        match self.trouble.load(Ordering::Acquire) {
            0 => Trouble::None,
            1 => Trouble::Full,
            2 => Trouble::Sync,
            _ => Trouble::Other,
        }
    }

    fn note<T>(&self, result: io::Result<T>, otherwise: Trouble) -> io::Result<T> {
        result.inspect_err(|error| {
            let trouble =
                if otherwise == Trouble::Other && is_full(error) { Trouble::Full } else { otherwise };
            let first = Trouble::None as u8;
            let _ = self.trouble.compare_exchange(first, trouble as u8, Ordering::AcqRel, Ordering::Acquire);
        })
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.note(self.medium.len(), Trouble::Other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.medium.read(offset, out), Trouble::Other)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.medium.set_len(len), Trouble::Other)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.medium.sync(), Trouble::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.medium.write(offset, data), Trouble::Other)
    }
}
