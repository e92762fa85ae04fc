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
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use redb::StorageBackend;

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
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
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

fn is_full(error: &io::Error) -> bool {
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
