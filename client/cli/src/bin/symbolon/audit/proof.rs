//! `symbolon audit proof`, and what checks it: single entries, proven against a signed checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use symbolon_cli::audit::{Archive, LogSource, Prover};
use symbolon_core::event::Event;
use symbolon_proto::log::proof::PROOF_BYTES_MAX;
use symbolon_proto::log::{Action, Entry, EntryProof, ProvenEntry, VerifierKey};
use symbolon_proto::moment::utc_millis;

use super::{failure, verifier_key};
use crate::failure::Failure;
use crate::globals::Globals;

/// How proofs are called in a directory.
const EXTENSION: &str = "tlog-proof";

/// `symbolon audit proof`
#[derive(Args)]
pub struct Proof {
    /// The entry: its `index` as `audit search` prints it
    index: u64,
    /// Where to; without it to standard output
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Directory with a copy of the log, instead of the broker
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Directory with exported segments, for an entry that was pruned; needs --key
    #[arg(long, value_name = "DIR", requires = "key")]
    segments: Option<PathBuf>,
    /// The log's public key, or a file with it: then the proof is verified before it is written
    #[arg(long)]
    key: Option<String>,
}

impl Proof {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let key = self.key.as_deref().map(verifier_key).transpose()?;
        let source = match self.dir {
            Some(directory) => LogSource::Directory(directory),
            None => LogSource::Broker(globals.anonymous()?),
        };
        let source = match (&self.segments, &key) {
            (Some(segments), Some(key)) => {
                LogSource::Exported(Archive::open(segments, key).map_err(failure)?, Box::new(source))
            }
            _ => source,
        };
        let mut prover = Prover::begin(&source).await.map_err(failure)?;
        let proof = prover.prove(self.index).await.map_err(failure)?;
        if let Some(key) = &key {
            proof.verify(key).map_err(|error| not_proven("the proof", &error))?;
        }
        match self.file {
            Some(path) => {
                std::fs::write(&path, proof.text())?;
                let path = path.display();
                globals.out().done(&format!("proof of entry {} written to {path}", self.index))
            }
            None => globals.out().text(&proof.text()),
        }
    }
}

/// Writes a proof of each event into a directory, all against one checkpoint.
pub async fn write_all(globals: &Globals, directory: &Path, events: &[Event]) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)?;
    let source = LogSource::Broker(globals.anonymous()?);
    let mut prover = Prover::begin(&source).await.map_err(failure)?;
    for event in events {
        let proof = prover.prove(event.index).await.map_err(failure)?;
        let hash = Entry::leaf_hash(&proof.entry).to_string();
        if !event.hash.is_empty() && event.hash != hash {
            return Err(Failure::integrity(format!(
                "entry {} of the log is another than the one that was found; run `symbolon audit verify`",
                event.index
            )));
        }
        std::fs::write(directory.join(format!("{}.{EXTENSION}", event.index)), proof.text())?;
    }
    eprintln!("{} proofs written to {}", events.len(), directory.display());
    Ok(())
}

/// Verifies proofs, from one file or all of a directory, and that all exported events are among them.
pub fn verify(
    globals: &Globals,
    key: &VerifierKey,
    path: &Path,
    events: Option<&Path>,
) -> Result<(), Failure> {
    let mut proven = Vec::new();
    for path in files(path)? {
        proven.push(verify_one(&path, key)?);
    }
    if proven.is_empty() {
        return Err(Failure::usage(format!("there is no proof in {}", path.display()))
            .hint(format!("proofs are files that end in .{EXTENSION}")));
    }
    let by_index = by_index(&proven)?;
    let told = events.map(|path| compare(path, &by_index)).transpose()?;
    print(globals, &proven, told)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for file in std::fs::read_dir(path)? {
        let path = file?.path();
        found.extend(path.extension().is_some_and(|end| end == EXTENSION).then_some(path));
    }
    found.sort();
    Ok(found)
}

fn verify_one(path: &Path, key: &VerifierKey) -> Result<ProvenEntry, Failure> {
    let shown = path.display().to_string();
    let length = std::fs::metadata(path)?.len();
    if length > PROOF_BYTES_MAX as u64 {
        return Err(Failure::integrity(format!("{shown} is too long for a proof: {length} bytes")));
    }
    let text = std::fs::read_to_string(path)?;
    let proof = EntryProof::parse(&text).map_err(|error| not_proven(&shown, &error))?;
    proof.verify(key).map_err(|error| not_proven(&shown, &error))
}

fn not_proven(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::integrity(format!("{what} does not hold")).because(error)
}

/// Proven entries by their place. Two at one place are of two logs that the same key has signed.
fn by_index(proven: &[ProvenEntry]) -> Result<BTreeMap<u64, &ProvenEntry>, Failure> {
    let mut all: BTreeMap<u64, &ProvenEntry> = BTreeMap::new();
    for one in proven {
        let index = one.entry.index;
        if all.insert(index, one).is_some_and(|other| other.hash != one.hash) {
            return Err(Failure::integrity(format!(
                "two proofs are of different entries {index}: the key has signed two logs"
            ))
            .hint(
                "a store that was restored goes on with other entries; if none was, somebody forked the log",
            ));
        }
    }
    Ok(all)
}

/// How many events a file has, each of which must be proven: one JSON object a line, as
/// `audit search -o json` prints them.
fn compare(path: &Path, proven: &BTreeMap<u64, &ProvenEntry>) -> Result<usize, Failure> {
    let mut told = BTreeSet::new();
    let text = std::fs::read_to_string(path)?;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let event: Event = serde_json::from_str(line).map_err(|error| {
            Failure::usage(format!("{} has a line that is no event", path.display()))
                .because(&error)
                .hint("expected what `symbolon audit search -o json` printed")
        })?;
        let of_hash = proven.get(&event.index).filter(|proven| proven.hash.to_string() == event.hash);
        let Some(proven) = of_hash else {
            return Err(Failure::integrity(format!("no proof is of event {} with its hash", event.index)));
        };
        agrees(&event, &proven.entry)?;
        if !told.insert(event.index) {
            return Err(Failure::integrity(format!("event {} is there more than once", event.index)));
        }
    }
    Ok(told.len())
}

/// What everybody reads in an entry must be what the event says.
fn agrees(event: &Event, entry: &Entry) -> Result<(), Failure> {
    let same = utc_millis(entry.time_ms) == event.time
        && entry.outcome.as_str() == event.outcome
        && entry.action.as_str() == open_type(event)
        && entry.broker.to_string() == event.node;
    match same {
        true => Ok(()),
        false => Err(Failure::integrity(format!(
            "event {} does not say what its entry says openly: time, type, outcome or node",
            event.index
        ))),
    }
}

/// What an event says that its entry openly is. Only of what was refused a broker tells another type.
fn open_type(event: &Event) -> &str {
    let refused = Action::Refused.as_str();
    if event.head == refused && event.action != refused { refused } else { &event.action }
}

fn print(globals: &Globals, proven: &[ProvenEntry], told: Option<usize>) -> Result<(), Failure> {
    let value = json!({
        "verified": true,
        "events": told,
        "entries": proven.iter().map(|proven| json!({
            "index": proven.entry.index,
            "hash": proven.hash.to_string(),
            "time": utc_millis(proven.entry.time_ms),
            "type": proven.entry.action.as_str(),
            "outcome": proven.entry.outcome.as_str(),
            "node": proven.entry.broker.to_string(),
            "origin": proven.checkpoint.origin,
            "size": proven.checkpoint.size,
            "root": proven.checkpoint.root.to_string(),
        })).collect::<Vec<_>>(),
    });
    let mut facts: Vec<(&str, String)> = proven
        .iter()
        .map(|proven| {
            let entry = &proven.entry;
            let (time, action) = (utc_millis(entry.time_ms), entry.action.as_str());
            let line = format!(
                "{} at {time}: {action}, {}; in the log of {} entries of {}",
                entry.index,
                entry.outcome.as_str(),
                proven.checkpoint.size,
                proven.checkpoint.origin
            );
            ("entry", line)
        })
        .collect();
    if let Some(told) = told {
        facts.push(("events", format!("{told}, each of a proven entry")));
    }
    globals.out().facts(&value, &facts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_proto::id::BrokerId;
    use symbolon_proto::log::{Checkpoint, Hash, Outcome};

    use super::*;

    fn entry(action: Action, detail: u8) -> ProvenEntry {
        let broker = BrokerId::from_bytes([1; 16]);
        let outcome = Outcome::Denied;
        let entry = Entry { index: 7, time_ms: 1000, action, outcome, broker, detail: vec![detail] };
        let hash = Entry::leaf_hash(&entry.encode().unwrap());
        let checkpoint =
            Checkpoint { origin: "log".to_owned(), size: 8, root: Hash::EMPTY_ROOT, extensions: Vec::new() };
        ProvenEntry { entry, hash, checkpoint }
    }

    /// An event of an entry that says of itself that it is of this type.
    fn event(proven: &ProvenEntry, action: &str, head: &str) -> Event {
        let event = json!({
            "time": utc_millis(proven.entry.time_ms), "type": action, "head": head, "index": 7,
            "outcome": "denied", "node": proven.entry.broker.to_string(), "hash": proven.hash.to_string(),
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn an_event_with_another_type_is_not_of_its_entry_whatever_head_it_names() {
        let read = entry(Action::SecretRead, 1);
        let agrees = |of: &ProvenEntry, action, head| agrees(&event(of, action, head), &of.entry).is_ok();
        assert!(agrees(&read, "secret-read", ""));
        for (action, head) in [("login", "secret-read"), ("login", ""), ("secret-read", "refused")] {
            assert!(!agrees(&read, action, head), "{action} {head}");
        }
        let refused = entry(Action::Refused, 1);
        assert!(agrees(&refused, "secret-read", "refused") && agrees(&refused, "refused", ""));
        assert!(!agrees(&refused, "secret-read", ""));
    }

    #[test]
    fn two_signed_entries_at_one_place_are_told() {
        let (one, other) = (entry(Action::Login, 1), entry(Action::Login, 2));
        let same = entry(Action::Login, 1);
        assert!(by_index(&[one, same]).is_ok());
        assert!(by_index(&[entry(Action::Login, 1), other]).is_err());
    }

    #[test]
    fn an_event_counts_once() {
        let one = entry(Action::Login, 1);
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = serde_json::to_string(&event(&one, "login", "")).unwrap();
        let all = [one];
        let proven = by_index(&all).unwrap_or_default();
        std::fs::write(file.path(), &line).unwrap();
        assert_eq!(compare(file.path(), &proven).ok(), Some(1));
        std::fs::write(file.path(), format!("{line}\n{line}\n")).unwrap();
        assert!(compare(file.path(), &proven).is_err());
    }
}
