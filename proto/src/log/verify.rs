//! Verifying a log without trusting who keeps it: replay all entries and compare with a signed checkpoint.
//!
//! The checkpoint commits to every byte of every entry, so one comparison of roots decides. If the roots
//! differ, the stored leaf hashes (level-0 tiles) help to say where: if *they* lead to the signed root, the
//! first entry whose hash is not the stored one is the first that was changed. If somebody changed them too,
//! the place cannot be told from them, and the answer says so.
//!
//! ```text
//! let mut replay = Replay::new(checkpoint);
//! for (bytes, stored) in entries { replay.push(bytes, stored); }
//! replay.finish()?
//! ```

use super::checkpoint::Checkpoint;
use super::entry::{Entry, EntryError};
use super::tree::{Frontier, Hash};

/// Entries read so far and what they hash to.
#[derive(Clone, Debug)]
pub struct Replay {
    checkpoint: Checkpoint,
    entries: Frontier,
    stored: Stored,
    /// The first entry that is not what it should be by itself.
    first_bad: Option<(u64, Finding)>,
}

/// The stored leaf hashes, as long as there is one for each entry.
#[derive(Clone, Debug)]
enum Stored {
    Complete { hashes: Frontier, first_difference: Option<u64> },
    Missing,
}

/// What a log that passed holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries, all of them exactly those that were signed.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Entries were cut off.
    #[error("the log has {found} entries, but {signed} were signed: entries are missing")]
    Missing {
        /// Entries read.
        found: u64,
        /// Entries signed for.
        signed: u64,
    },
    /// Entries that nobody signed for. Ends a replay at once.
    #[error("the log has more entries than the {signed} that were signed")]
    Unsigned {
        /// Entries signed for.
        signed: u64,
    },
    /// This entry is not the one that was signed; those before it are.
    #[error("entry {index} was changed; the entries before it are as signed")]
    Changed {
        /// Its place in the log.
        index: u64,
    },
    /// Some entry is not the one that was signed.
    #[error("the log was changed, and so were its stored hashes: the entries do not give the signed root")]
    ChangedSomewhere,
    /// The signed entry says that it stands elsewhere: the writer made a mistake.
    #[error("entry {index} is signed but says that it is entry {says}")]
    Index {
        /// Its place in the log.
        index: u64,
        /// Place that it claims.
        says: u64,
    },
    /// The signed entry cannot be read.
    #[error("entry {index} is signed but cannot be read: {error}")]
    Unreadable {
        /// Its place in the log.
        index: u64,
        /// What is wrong with it.
        error: EntryError,
    },
}

impl Replay {
    /// Starts at the first entry. The checkpoint is authentic ([`Checkpoint::open`]).
    #[must_use]
    pub const fn new(checkpoint: Checkpoint) -> Self {
        let stored = Stored::Complete { hashes: Frontier::new(), first_difference: None };
        Self { checkpoint, entries: Frontier::new(), stored, first_bad: None }
    }

    /// Starts at the first entry that a pruned log keeps. `before` is the tree over those before it; nobody
    /// has to be believed about it, for only the right one leads to the signed root.
    #[must_use]
    pub fn after(checkpoint: Checkpoint, before: Frontier) -> Self {
        let stored = Stored::Complete { hashes: before.clone(), first_difference: None };
        Self { checkpoint, entries: before, stored, first_bad: None }
    }

    /// Takes the next entry, and its leaf hash from the level-0 tile if there is one. Returns what could be
    /// read of it.
    pub fn push(&mut self, entry: &[u8], stored: Option<Hash>) -> Result<Option<Entry>, Finding> {
        let index = self.entries.size();
        if index == self.checkpoint.size {
            return Err(Finding::Unsigned { signed: self.checkpoint.size });
        }
        let leaf = Entry::leaf_hash(entry);
        self.entries.append(leaf);
        self.stored.push(index, leaf, stored);
        let (entry, problem) = match Entry::decode(entry) {
            Ok(entry) if entry.index == index => (Some(entry), None),
            Ok(entry) => (None, Some(Finding::Index { index, says: entry.index })),
            Err(error) => (None, Some(Finding::Unreadable { index, error })),
        };
        if self.first_bad.is_none() {
            self.first_bad = problem.map(|problem| (index, problem));
        }
        Ok(entry)
    }

    /// The verdict over all entries.
    pub fn finish(self) -> Result<Verified, Finding> {
        let (found, signed) = (self.entries.size(), self.checkpoint.size);
        let root = self.entries.root();
        if found < signed {
            // A change before the cut would be news too, but without the signed root there is nothing to
            // prove it by.
            return Err(Finding::Missing { found, signed });
        }
        if root == self.checkpoint.root {
            return self.first_bad.map_or(Ok(Verified { size: found, root }), |(_, finding)| Err(finding));
        }
        Err(match self.stored {
            Stored::Complete { hashes, first_difference: Some(index) }
                if hashes.root() == self.checkpoint.root =>
            {
                Finding::Changed { index }
            }
            _ => Finding::ChangedSomewhere,
        })
    }
}

impl Stored {
    fn push(&mut self, index: u64, computed: Hash, stored: Option<Hash>) {
        match (self, stored) {
            (Self::Complete { hashes, first_difference }, Some(stored)) => {
                hashes.append(stored);
                if stored != computed && first_difference.is_none() {
                    *first_difference = Some(index);
                }
            }
            (this, None) => *this = Self::Missing,
            (Self::Missing, Some(_)) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::id::BrokerId;
    use crate::log::{Action, Outcome};

    fn log(size: u64) -> (Vec<Vec<u8>>, Vec<Hash>, Checkpoint) {
        let entry = |index| Entry {
            index,
            time_ms: 1_000 + index,
            action: Action::SecretRead,
            outcome: Outcome::Allowed,
            broker: BrokerId::from_bytes([1; 16]),
            detail: vec![5; 20],
        };
        let entries: Vec<_> = (0..size).map(|index| entry(index).encode().unwrap()).collect();
        let hashes: Vec<_> = entries.iter().map(|entry| Entry::leaf_hash(entry)).collect();
        let checkpoint = signed(&entries);
        (entries, hashes, checkpoint)
    }

    fn signed(entries: &[Vec<u8>]) -> Checkpoint {
        let mut frontier = Frontier::new();
        entries.iter().for_each(|entry| frontier.append(Entry::leaf_hash(entry)));
        let (size, root) = (frontier.size(), frontier.root());
        Checkpoint { origin: "log".to_owned(), size, root, extensions: vec![] }
    }

    #[test]
    fn a_replay_from_the_middle_needs_the_right_beginning() {
        let (entries, hashes, checkpoint) = log(20);
        let mut before = Frontier::new();
        hashes[..8].iter().for_each(|hash| before.append(*hash));
        let verdict = |before: Frontier| {
            let mut replay = Replay::after(checkpoint.clone(), before);
            for (entry, hash) in entries.iter().zip(&hashes).skip(8) {
                replay.push(entry, Some(*hash)).unwrap();
            }
            replay.finish()
        };
        assert_eq!(verdict(before).map(|verified| verified.size), Ok(20));
        let mut other = Frontier::new();
        (0..8).for_each(|_| other.append(hashes[0]));
        assert_eq!(verdict(other), Err(Finding::ChangedSomewhere));
    }

    fn replay(entries: &[Vec<u8>], stored: &[Hash], checkpoint: &Checkpoint) -> Result<Verified, Finding> {
        let mut replay = Replay::new(checkpoint.clone());
        for (index, entry) in entries.iter().enumerate() {
            replay.push(entry, stored.get(index).copied())?;
        }
        replay.finish()
    }

    #[test]
    fn an_honest_log_passes_with_and_without_tiles() {
        for size in [0, 1, 2, 100, 300] {
            let (entries, hashes, checkpoint) = log(size);
            let verified = Ok(Verified { size, root: checkpoint.root });
            assert_eq!(replay(&entries, &hashes, &checkpoint), verified);
            assert_eq!(replay(&entries, &[], &checkpoint), verified);
        }
    }

    #[test]
    fn every_changed_bit_is_found_and_located() {
        let (entries, hashes, checkpoint) = log(20);
        for index in 0..entries.len() {
            for bit in 0..entries[index].len() * 8 {
                let mut changed = entries.clone();
                changed[index][bit / 8] ^= 1 << (bit % 8);
                let at = u64::try_from(index).unwrap();
                assert_eq!(replay(&changed, &hashes, &checkpoint), Err(Finding::Changed { index: at }));
                assert_eq!(replay(&changed, &[], &checkpoint), Err(Finding::ChangedSomewhere));
                let mut stored = hashes.clone();
                stored[index] = Entry::leaf_hash(&changed[index]);
                assert_eq!(replay(&changed, &stored, &checkpoint), Err(Finding::ChangedSomewhere));
            }
        }
    }

    #[test]
    fn the_first_of_several_changes_is_named() {
        let (entries, hashes, checkpoint) = log(20);
        let mut changed = entries.clone();
        changed.swap(4, 11);
        assert_eq!(replay(&changed, &hashes, &checkpoint), Err(Finding::Changed { index: 4 }));
    }

    #[test]
    fn cut_and_added_entries_are_found() {
        let (entries, hashes, checkpoint) = log(20);
        let missing = Finding::Missing { found: 19, signed: 20 };
        assert_eq!(replay(&entries[..19], &hashes, &checkpoint), Err(missing));
        let more = [&entries[..], &entries[..1]].concat();
        assert_eq!(replay(&more, &hashes, &checkpoint), Err(Finding::Unsigned { signed: 20 }));
        let mut removed = more.clone();
        removed.remove(3);
        assert_eq!(replay(&removed, &hashes, &checkpoint), Err(Finding::Changed { index: 3 }));
    }

    #[test]
    fn mistakes_of_the_writer_are_told_from_changes() {
        let (mut entries, _, _) = log(5);
        entries[3] = entries[2].clone();
        assert_eq!(replay(&entries, &[], &signed(&entries)), Err(Finding::Index { index: 3, says: 2 }));
        entries[1] = b"not an entry".to_vec();
        let finding = replay(&entries, &[], &signed(&entries));
        assert!(matches!(finding, Err(Finding::Unreadable { index: 1, .. })));
    }
}
