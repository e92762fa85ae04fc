//! The envelopes of `operator init`, which are worth something only once the broker has confirmed.
//!
//! ```text
//! x.envelope.promised, room ▶ the broker answers ▶ x.envelope.unconfirmed ▶ it confirms ▶ x.envelope
//! ```
//!
//! The process may end at every arrow. What is called `.promised` is worth nothing. What is called
//! `.unconfirmed` is worth something if the broker has heard the confirmation, which nobody can tell from the
//! file; so it is replaced when the broker has answered anew, which makes it void, and not before.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::promised::{Promised, check_free};

/// The most that one init makes.
const ENVELOPES_MAX: usize = 16;

/// The envelopes of one init, in order of the cards.
pub struct Envelopes {
    folder: PathBuf,
    rooms: std::vec::IntoIter<Promised>,
    /// Final names of those that are written.
    written: Vec<PathBuf>,
    /// Locked: whoever else writes envelopes here would replace ours. Free again when the process ends.
    _turn: File,
}

impl Envelopes {
    /// Makes room for so many, in a folder that is made if there is none. Says which files an earlier init
    /// has left.
    pub fn promise(folder: &Path, count: usize) -> Result<Self, Failure> {
        let turn = turn(folder)?;
        let rooms = (1..=count).map(|x| room(&named(folder, x))).collect::<Result<Vec<_>, _>>()?;
        let left = left_behind(folder);
        if !left.is_empty() {
            let text = format!(
                "These envelopes are of an init that was not confirmed. Give them to nobody yet; they are replaced when the broker answers:{}\n",
                listed(&left)
            );
            let _ = writeln!(std::io::stderr().lock(), "{text}"); // nobody to tell if it is closed
        }
        Ok(Self { folder: folder.to_owned(), rooms: rooms.into_iter(), written: Vec::new(), _turn: turn })
    }

    /// Writes the next one, safe from a power cut. Gives the name that it will have when it is confirmed.
    pub fn write(&mut self, text: &str) -> Result<PathBuf, Failure> {
        let Some(room) = self.rooms.next() else {
            return Err(Failure::integrity("the broker sent other envelopes than it was asked for"));
        };
        let promised = room.path().to_owned();
        let path = promised.with_extension("");
        room.fill(text.as_bytes())?;
        std::fs::rename(&promised, unconfirmed(&path)).map_err(|error| failed(&path, &error))?;
        self.written.push(path.clone());
        self.sync()?;
        Ok(path)
    }

    /// The broker has confirmed: they get their names, and what an earlier init has left goes.
    pub fn confirmed(self) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for path in &self.written {
            let named = name(&unconfirmed(path), path).map_err(|error| {
                let kept = unconfirmed(path).display().to_string();
                failed(path, &error).hint(format!("the envelope is good, under another name: {kept}"))
            });
            outcome = outcome.and(named);
        }
        outcome.and_then(|()| self.remove()).and_then(|()| self.sync())
    }

    /// What is written and has not its name yet.
    pub fn unconfirmed(&self) -> Vec<PathBuf> {
        self.written.iter().map(|path| unconfirmed(path)).collect()
    }

    /// They are certainly worth nothing.
    pub fn remove(&self) -> Result<(), Failure> {
        left_behind(&self.folder)
            .iter()
            .try_for_each(|path| std::fs::remove_file(path).map_err(|error| failed(path, &error)))
    }

    fn sync(&self) -> Result<(), Failure> {
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&self.folder, &error))
    }
}

/// Envelopes of which nobody here knows whether they were confirmed.
pub fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let all = (1..=ENVELOPES_MAX).map(|x| unconfirmed(&named(folder, x)));
    all.filter(|path| path.exists()).collect()
}

/// One name a line.
pub fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("\n  {}", path.display())).collect()
}

fn named(folder: &Path, x: usize) -> PathBuf {
    folder.join(format!("custodian-{x}.envelope"))
}

fn unconfirmed(path: &Path) -> PathBuf {
    path.with_extension("envelope.unconfirmed")
}

/// The folder, and the right to write envelopes there.
fn turn(folder: &Path) -> Result<File, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let turn = made.and_then(|()| File::open(folder)).map_err(|error| failed(folder, &error))?;
    match turn.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let message = format!("another `operator init` writes its envelopes to {}", folder.display());
            Err(Failure::usage(message).hint("wait for its end, or choose another folder"))
        }
        // A filesystem that locks no folders keeps nobody from anything else.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(turn),
    }
}

/// Room for an envelope. That of a process that was killed goes: nothing in it was ever confirmed.
fn room(path: &Path) -> Result<Promised, Failure> {
    check_free(path)?;
    let promised = path.with_extension("envelope.promised");
    match std::fs::remove_file(&promised) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Promised::new(&promised),
    }
}

/// Gives a file its name, and never another's.
fn name(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) if !to.exists() => std::fs::rename(from, to), // a filesystem without links
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::general(format!("cannot write {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_envelope_has_its_name_when_it_is_confirmed_and_replaces_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("new/folder");
        let mut first = Envelopes::promise(&folder, 2).unwrap();
        assert!(Envelopes::promise(&folder, 2).is_err(), "somebody is at it");
        let path = first.write("one").unwrap();
        first.write("two").unwrap();
        first.write("three").unwrap_err();
        drop(first); // as if it were killed
        std::fs::write(folder.join("custodian-1.envelope.promised"), "half").unwrap();
        assert_eq!(left_behind(&folder).len(), 2);

        drop(Envelopes::promise(&folder, 1).unwrap());
        assert_eq!(left_behind(&folder).len(), 2, "they may count until the broker has answered");
        let mut second = Envelopes::promise(&folder, 1).unwrap();
        assert_eq!(second.write("other").unwrap(), path);
        assert!(!path.exists());
        second.confirmed().unwrap();
        assert_eq!(names(&folder), ["custodian-1.envelope"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
        assert!(Envelopes::promise(&folder, 1).is_err(), "it is there");

        let mut third = Envelopes::promise(&home.path().join("third"), 1).unwrap();
        let path = third.write("good").unwrap();
        std::fs::write(&path, "somebody's").unwrap();
        assert!(third.confirmed().is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
        assert_eq!(left_behind(&home.path().join("third")).len(), 1);
    }
}
