//! Files that are made before something that cannot be undone, and filled after it.
//!
//! What can go wrong with a file, a missing folder, an occupied name, no right to write, no room, then goes
//! wrong while nothing has happened yet.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Room that is proven to be there, in bytes: more than the text of an envelope takes.
const ROOM_BYTES: usize = 16 << 10;

/// A new file that only its owner may read. It goes again if nothing is written.
#[derive(Debug)]
pub struct Promised {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl Promised {
    /// Makes the file, and its folder where there is none. An existing file is never replaced.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        check_free(path)?;
        let failed = |error: std::io::Error| {
            Failure::general(format!("cannot write {}", path.display())).because(&error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder(path)).map_err(failed)?;
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => occupied(path),
            _ => failed(error),
        })?;
        let mut promised = Self { path: path.to_owned(), file, is_kept: false };
        promised.replace(&[0; ROOM_BYTES]).and_then(|()| promised.file.rewind()).map_err(failed)?;
        Ok(promised)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills the file, for good.
    pub fn fill(mut self, content: &[u8]) -> Result<(), Failure> {
        let path = self.path.display().to_string();
        let failed = |error| Failure::general(format!("cannot write {path}")).because(&error);
        self.replace(content).map_err(failed)?;
        self.file.set_len(content.len() as u64).and_then(|()| self.file.sync_all()).map_err(failed)?;
        self.is_kept = true;
        File::open(folder(&self.path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Keeps what was written in pieces, for good.
    pub fn keep(mut self) -> Result<(), Failure> {
        let path = self.path.display().to_string();
        let failed = |error| Failure::general(format!("cannot write {path}")).because(&error);
        let length = self.file.stream_position().map_err(failed)?;
        self.file.set_len(length).and_then(|()| self.file.sync_all()).map_err(failed)?;
        self.is_kept = true;
        File::open(folder(&self.path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn replace(&mut self, content: &[u8]) -> std::io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(content)?;
        self.file.sync_all()
    }
}

/// In pieces, from the beginning on. [`Promised::keep`] ends it.
impl std::io::Write for Promised {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.file.write(piece)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        if !self.is_kept {
            drop(std::fs::remove_file(&self.path)); // it holds nothing, so nothing is lost if it stays
        }
    }
}

/// Whether a file could be promised, before somebody is asked for something that takes time.
pub fn check_free(path: &Path) -> Result<(), Failure> {
    if path.exists() { Err(occupied(path)) } else { Ok(()) }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn occupied(path: &Path) -> Failure {
    Failure::usage(format!("{} exists already", path.display()))
        .hint("choose another name; nothing is ever overwritten")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_promise_is_kept_or_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new/folder/a.envelope");
        drop(Promised::new(&path).unwrap());
        assert!(!path.exists());
        let promised = Promised::new(&path).unwrap();
        Promised::new(&path).expect_err("it is promised to somebody");
        promised.fill(b"text").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        Promised::new(&path).expect_err("it is there");
    }
}
