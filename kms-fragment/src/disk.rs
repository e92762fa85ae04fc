//! The state directory: one process at a time, files replaced whole or not at all.
//!
//! ```text
//! sealing.toml        how to find the key (public)
//! identity            service root key, node key, TLS key (sealed, written once)
//! keys/<key_id>…      one scalar k or share k_i each (sealed, written once, overwritten when removed)
//!   ….run, ….receive  a group ceremony under way and its key (sealed, overwritten when replaced or removed)
//! tables              brokers, keys and their epochs, manifests, orders (sealed, replaced)
//! tombstones          what was destroyed, with certificates (sealed, only ever longer)
//! evaluations.log     one line per evaluation (plain, hash-chained)
//! evaluations.head    how far the log had come (sealed, replaced)
//! lock, admin.sock    held while a service runs
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand_core::Rng;
use rustix::fs::{FlockOperation, flock};

use crate::rng::os_rng;

/// Largest file that is read back, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

const LOCK: &str = "lock";
const KEYS: &str = "keys";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it open.
    #[error("another fragment service uses the state directory {path}; stop it first")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Others may look into it.
    #[error("the state directory {path} is open to others; run `chmod 700` on it")]
    Exposed {
        /// The directory.
        path: PathBuf,
    },
    /// There is nothing there.
    #[error("{path} holds no fragment service; run `symbolon fragment init` first, or correct `state_dir`")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// There is something there already.
    #[error("{path} is not empty; a fragment service is only created in an empty or absent directory")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file is larger than this service ever writes.
    #[error("{path} is larger than this service ever writes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot use {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An open state directory. The lock ends with it.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
    #[cfg(test)]
    pub(crate) fault: std::sync::Mutex<fault::Fault>,
}

impl StateDir {
    /// Makes and locks an empty directory. `first` are the files of an `init` that came to no end: where
    /// nothing else is, they go.
    pub(crate) fn create(path: &Path, first: &[&str]) -> Result<Self, DiskError> {
        let io = |source| DiskError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        if !is_unfinished(path, first).map_err(io)? {
            return Err(DiskError::NotEmpty { path: path.to_owned() });
        }
        let dir = Self::locked(path)?;
        dir.clear(first)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path.join(KEYS)).map_err(io)?;
        Ok(dir)
    }

    /// Removes what an `init` has made, before anybody could rely on it.
    pub(crate) fn clear(&self, first: &[&str]) -> Result<(), DiskError> {
        first.iter().try_for_each(|name| self.erase(name))
    }

    /// Locks an existing directory. `marker` is the file that shows that `init` has finished there.
    pub(crate) fn open(path: &Path, marker: &str) -> Result<Self, DiskError> {
        if !path.join(marker).exists() {
            return Err(DiskError::Missing { path: path.to_owned() });
        }
        Self::locked(path)
    }

    fn locked(path: &Path) -> Result<Self, DiskError> {
        let io = |source| DiskError::Io { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(io)?.mode() & 0o077 != 0 {
            return Err(DiskError::Exposed { path: path.to_owned() });
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
                #[cfg(test)]
                fault: std::sync::Mutex::default(),
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DiskError::Locked { path: path.to_owned() }),
            Err(errno) => Err(io(errno.into())),
        }
    }

    /// Full path of a file in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a whole file; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path(name);
        let failed = |source| DiskError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(DiskError::TooLarge { path });
        }
        Ok(Some(content))
    }

    /// Replaces a file so that after a crash either the old or the new content is there, durable when it
    /// returns.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), DiskError> {
        self.attempt(name, |path| replace(path, content))
    }

    /// The same for a file whose old content must not stay on the medium: that is overwritten when the new
    /// one is there. A crash in between leaves it, with no name.
    pub(crate) fn write_over(&self, name: &str, content: &[u8]) -> Result<(), DiskError> {
        self.attempt(name, |path| replace_and_overwrite(path, content))
    }

    /// Overwrites a file and removes it; nothing to do if there is none. What the medium keeps beside it
    /// (journals, snapshots, worn-out cells) is out of reach: that is why files are sealed under a key that
    /// lies elsewhere.
    pub(crate) fn erase(&self, name: &str) -> Result<(), DiskError> {
        self.attempt(name, overwrite_and_remove)
    }

    /// Names of the files in a folder of the directory.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, DiskError> {
        let path = self.path(folder);
        let entries = std::fs::read_dir(&path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
        });
        entries.map_err(|source| DiskError::Io { path, source })
    }

    fn attempt(&self, name: &str, change: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), DiskError> {
        let path = self.path(name);
        #[cfg(test)]
        let done = fault::around(&self.fault, || change(&path));
        #[cfg(not(test))]
        let done = change(&path);
        done.map_err(|source| DiskError::Io { path, source })
    }
}

/// Whether a directory holds nothing but what comes before the end of an `init`.
fn is_unfinished(path: &Path, first: &[&str]) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = match name.to_str() {
            Some(KEYS) => std::fs::read_dir(entry.path())?.next().is_none(),
            Some(name) => name == LOCK || first.contains(&name.trim_end_matches(".new")),
            None => false,
        };
        if !is_ours {
            return Ok(false);
        }
    }
    Ok(true)
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        sync_folder_of(path)
    })();
    if written.is_err() {
        // Best effort: what is left is written over next time, or erased at the next look.
        drop(overwrite_and_remove(&fresh));
    }
    written
}

fn replace_and_overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let old = open_present(path)?;
    replace(path, content)?;
    old.map_or(Ok(()), overwrite)
}

fn overwrite_and_remove(path: &Path) -> io::Result<()> {
    let Some(file) = open_present(path)? else { return Ok(()) };
    overwrite(file)?;
    std::fs::remove_file(path)?;
    sync_folder_of(path)
}

fn open_present(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn overwrite(mut file: File) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len().min(FILE_BYTES_MAX)).unwrap_or(0);
    let mut noise = vec![0; length];
    os_rng().fill_bytes(&mut noise);
    file.write_all(&noise)?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Crashes on request: from one change of the directory on, all fail, as if the process had died there.
#[cfg(test)]
pub(crate) mod fault {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    /// Changes that still succeed, and whether the first that fails has reached the disk all the same.
    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) struct Fault(pub(crate) Option<(u32, bool)>);

    pub(super) fn around(fault: &Mutex<Fault>, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
        let died = || Err(io::Error::other("the disk failed as the test demanded"));
        match &mut fault.0 {
            None => change(),
            Some((0, reached)) => {
                if std::mem::take(reached) {
                    change()?;
                }
                died()
            }
            Some((left, _)) => {
                *left -= 1;
                change()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_an_init_without_an_end_left_goes_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        let first = ["sealing.toml", "identity"];
        let dir = StateDir::create(&path, &first).unwrap();
        dir.write("identity", b"x").unwrap();
        std::fs::write(dir.path("sealing.new"), b"x").unwrap();
        drop(dir);
        std::fs::rename(path.join("sealing.new"), path.join("sealing.toml.new")).unwrap();
        let again = StateDir::create(&path, &first).unwrap();
        assert_eq!(again.read("identity").unwrap(), None);
        again.write("identity", b"x").unwrap();
        again.write("evaluations.log", b"").unwrap();
        drop(again);
        assert!(matches!(StateDir::create(&path, &first), Err(DiskError::NotEmpty { .. })));
        assert!(path.join("identity").exists(), "that service was in use");
        std::fs::remove_file(path.join("evaluations.log")).unwrap();
        std::fs::write(path.join("keys/a"), b"x").unwrap();
        assert!(matches!(StateDir::create(&path, &first), Err(DiskError::NotEmpty { .. })));
    }

    #[test]
    fn a_second_process_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        let dir = StateDir::create(&path, &[]).unwrap();
        dir.write("marker", b"x").unwrap();
        assert!(matches!(StateDir::open(&path, "marker"), Err(DiskError::Locked { .. })));
        drop(dir);
        assert!(StateDir::open(&path, "marker").is_ok());
    }

    #[test]
    fn nothing_is_created_where_something_is() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("thing"), b"").unwrap();
        assert!(matches!(StateDir::create(root.path(), &[]), Err(DiskError::NotEmpty { .. })));
    }

    #[test]
    fn nothing_is_opened_where_nothing_is() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(
            StateDir::open(&root.path().join("none"), "marker"),
            Err(DiskError::Missing { .. })
        ));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        StateDir::create(&path, &[]).unwrap().write("marker", b"x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(StateDir::open(&path, "marker"), Err(DiskError::Exposed { .. })));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state"), &[]).unwrap();
        dir.write("a", b"first").unwrap();
        dir.write("a", b"second").unwrap();
        assert_eq!(dir.read("a").unwrap().unwrap(), b"second");
        assert_eq!(dir.read("b").unwrap(), None);
    }

    #[test]
    fn what_is_written_over_is_not_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state"), &[]).unwrap();
        dir.write_over("keys/a", b"precious").unwrap();
        let link = root.path().join("link");
        std::fs::hard_link(dir.path("keys/a"), &link).unwrap();
        dir.write_over("keys/a", b"next").unwrap();
        assert_eq!(dir.read("keys/a").unwrap().unwrap(), b"next");
        assert_ne!(std::fs::read(&link).unwrap(), b"precious");
        assert_eq!(std::fs::read(&link).unwrap().len(), 8);
    }

    #[test]
    fn an_erased_file_was_overwritten_first_and_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state"), &[]).unwrap();
        dir.write("keys/a", b"precious").unwrap();
        let link = root.path().join("link");
        std::fs::hard_link(dir.path("keys/a"), &link).unwrap();
        dir.erase("keys/a").unwrap();
        assert_eq!(dir.read("keys/a").unwrap(), None);
        assert_ne!(std::fs::read(&link).unwrap(), b"precious");
        assert_eq!(std::fs::read(&link).unwrap().len(), 8);
        dir.erase("keys/a").unwrap();
        assert!(dir.list("keys").unwrap().is_empty());
    }
}
