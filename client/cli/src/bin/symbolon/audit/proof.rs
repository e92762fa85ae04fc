//! `symbolon audit proof`, and what checks it: single entries, proven against a signed checkpoint.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use symbolon_cli::audit::{Archive, LogSource, Prover};
use symbolon_core::event::Event;
use symbolon_proto::log::proof::PROOF_BYTES_MAX;
use symbolon_proto::log::{Entry, EntryProof, ProvenEntry, VerifierKey};
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
    let told = events.map(|path| compare(path, &proven)).transpose()?;
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

/// How many events a file has, each of which must be proven: one JSON object a line, as
/// `audit search -o json` prints them.
fn compare(path: &Path, proven: &[ProvenEntry]) -> Result<usize, Failure> {
    let known: BTreeSet<(u64, String)> =
        proven.iter().map(|proven| (proven.entry.index, proven.hash.to_string())).collect();
    let text = std::fs::read_to_string(path)?;
    let mut told = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let event: Event = serde_json::from_str(line).map_err(|error| {
            Failure::usage(format!("{} has a line that is no event", path.display()))
                .because(&error)
                .hint("expected what `symbolon audit search -o json` printed")
        })?;
        if !known.contains(&(event.index, event.hash.clone())) {
            return Err(Failure::integrity(format!("no proof is of event {} with its hash", event.index)));
        }
        agrees(&event, proven)?;
        told += 1;
    }
    Ok(told)
}

/// What everybody reads in an entry must be what the event says.
fn agrees(event: &Event, proven: &[ProvenEntry]) -> Result<(), Failure> {
    let entry = proven.iter().map(|proven| &proven.entry).find(|entry| entry.index == event.index);
    let head = if event.head.is_empty() { &event.action } else { &event.head };
    let same = entry.is_some_and(|entry| {
        utc_millis(entry.time_ms) == event.time
            && entry.outcome.as_str() == event.outcome
            && entry.action.as_str() == *head
            && entry.broker.to_string() == event.node
    });
    match same {
        true => Ok(()),
        false => Err(Failure::integrity(format!(
            "event {} does not say what its entry says openly: time, type, outcome or node",
            event.index
        ))),
    }
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
