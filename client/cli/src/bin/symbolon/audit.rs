//! `symbolon audit`: the log, read and verified.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use symbolon_cli::audit::{Archive, LogError, LogSource, Report};
use symbolon_proto::log::{Checkpoint, VerifierKey};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::moment::utc;
use crate::output::printable;

use self::search::{About, CHANGES, READS, SearchFor, Tail};

mod events;
mod listing;
mod proof;
mod report;
mod retention;
mod search;
mod since;

pub use retention::Prune;

/// `symbolon audit`
#[derive(Subcommand)]
pub enum Audit {
    /// Verify the whole log offline: recompute its tree from the entries and check who signed it
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Print the newest entries, and with --follow those that come
    Tail(Tail),
    /// Print entries that fit, newest first
    Search(SearchFor),
    /// Print who has read a secret, or tried to, newest first
    WhoRead(About),
    /// Print who has changed a secret, or tried to, newest first
    WhoChanged(About),
    /// Count what a time comes to: who, what, refused logins, changes, new callers
    #[command(after_help = REPORT_HELP)]
    Report(report::Report),
    /// Prove that one entry is in the log, as a file that holds without the broker
    #[command(after_help = PROOF_HELP)]
    Proof(proof::Proof),
    /// Show how the log is kept: segments, where they were exported to, what was pruned by whose order
    Segments,
    /// Prune the oldest entries, in whole segments
    Prune(Prune),
    /// Copy the public log into a directory, for an auditor
    Copy(CopyTo),
}

const VERIFY_HELP: &str = "\
The log's key is printed by `symbolon operator init`. Keep it where the broker cannot change it. Verification asks the
broker for nothing but the log's own files (tlog-tiles), so a copy in a directory does as well. Exit code 6 if an entry
was changed, cut or added, if the checkpoint is not signed by the key, or if the log does not continue --since.";

const REPORT_HELP: &str = "\
Covers entries up to the newest checkpoint, whose size and root it prints: the same time counted again up to there comes to
the same as long as nothing of it is pruned; what was is said under \"covers\". Needs `read` and `sudo` on sys/symbolon/audit and sys/symbolon/audit/report.";

const PROOF_HELP: &str = "\
Needs no token: the log is public but for its sealed details. Check it with `symbolon audit verify --key KEY --proof FILE`, or
with anything that knows c2sp.org/tlog-proof@v1. It proves that the entry, with its time, type, outcome and sealed detail, is
the one that was signed; what the detail says is the broker's word, and only an open broker opens it.";

/// `symbolon audit verify`
#[derive(Args)]
pub struct Verify {
    /// The log's public key as `operator init` printed it, or a file with it
    #[arg(long)]
    key: String,
    /// Directory with a copy of the log, instead of the broker
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Directory with exported segments, as files or unpacked: verify everything from the first entry on,
    /// also what was pruned
    #[arg(long, value_name = "DIR")]
    segments: Option<PathBuf>,
    /// Checkpoint of an earlier verification: this log must continue that one
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Keep the verified checkpoint here, for the next --since
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Only this proof of `audit proof`, or all proofs in a directory, offline
    #[arg(long, value_name = "PATH", conflicts_with_all = ["dir", "segments", "since", "save"])]
    proof: Option<PathBuf>,
    /// Events as `audit search -o json --proofs` exported them: each must be of a proven entry
    #[arg(long, value_name = "FILE", requires = "proof")]
    events: Option<PathBuf>,
}

/// `symbolon audit copy`
#[derive(Args)]
pub struct CopyTo {
    /// Where to; made if it is not there
    directory: PathBuf,
}

impl Audit {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Verify(command) => command.run(globals).await,
            Self::Tail(command) => command.run(globals).await,
            Self::Search(command) => command.run(globals).await,
            Self::WhoRead(command) => command.run(globals, READS).await,
            Self::WhoChanged(command) => command.run(globals, CHANGES).await,
            Self::Report(command) => command.run(globals).await,
            Self::Proof(command) => command.run(globals).await,
            Self::Segments => retention::segments(globals).await,
            Self::Prune(command) => command.run(globals).await,
            Self::Copy(command) => {
                let source = LogSource::Broker(globals.anonymous()?);
                let copied = symbolon_cli::audit::copy(&source, &command.directory, &mut |_, _| {}).await;
                let entries = copied.map_err(failure)?;
                let place = command.directory.display();
                globals.out().done(&format!("{entries} entries copied to {place}; verify with --dir {place}"))
            }
        }
    }
}

impl Verify {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let key = verifier_key(&self.key)?;
        if let Some(path) = &self.proof {
            return proof::verify(globals, &key, path, self.events.as_deref());
        }
        let earlier = self.since.as_deref().map(|path| earlier(path, &key)).transpose()?;
        let source = match self.dir {
            Some(directory) => LogSource::Directory(directory),
            None => LogSource::Broker(globals.anonymous()?),
        };
        let source = match &self.segments {
            Some(segments) => {
                let archive = Archive::open(segments, &key).map_err(failure)?;
                LogSource::Exported(archive, Box::new(source))
            }
            None => source,
        };
        let verified = symbolon_cli::audit::verify(&source, &key, earlier.as_ref(), &mut |_, _| {}).await;
        let report = verified.map_err(failure)?;
        if let Some(path) = &self.save {
            save(&source, path, &report, &key).await?;
        }
        print_report(globals, &report)
    }
}

/// The key of a log, or a file with it.
pub fn verifier_key(given: &str) -> Result<VerifierKey, Failure> {
    let hint =
        "it is the line that `symbolon operator init` printed: name+hash+key, or a file with that line";
    let text = match given.contains('+') {
        true => given.to_owned(),
        false => input::file(Path::new(given)).map_err(|failure| failure.hint(hint))?.to_string(),
    };
    text.trim().parse().map_err(|error: symbolon_proto::log::VerifierKeyError| {
        Failure::usage("the log key is not one").because(&error).hint(hint)
    })
}

fn earlier(path: &Path, key: &VerifierKey) -> Result<Checkpoint, Failure> {
    let text = input::file(path)?;
    Checkpoint::open(&text, key).map_err(|error| {
        Failure::integrity(format!("{} is no checkpoint of this log", path.display())).because(&error)
    })
}

/// Keeps the checkpoint only if it is still the one that was verified; the log grows while we look.
async fn save(source: &LogSource, path: &Path, report: &Report, key: &VerifierKey) -> Result<(), Failure> {
    let note = source.checkpoint().await.map_err(failure)?;
    let now = Checkpoint::open(&note, key).map_err(|error| failure(error.into()))?;
    if now.size != report.verified.size {
        return Err(Failure::general("the log grew while it was verified, so its checkpoint was not kept")
            .hint("copy it first with `symbolon audit copy`, and verify the copy with --dir and --save"));
    }
    Ok(std::fs::write(path, note)?)
}

fn print_report(globals: &Globals, report: &Report) -> Result<(), Failure> {
    let root = report.verified.root.to_string();
    let value = serde_json::json!({
        "verified": true,
        "origin": report.origin,
        "size": report.verified.size,
        "root": root,
        "first": utc(report.first_ms),
        "last": utc(report.last_ms),
        "begin": report.begin,
        "pruned": retention::cut_facts(&report.pruned),
    });
    let entries = match report.begin {
        0 => format!("{}, each one as it was signed", report.verified.size),
        begin => format!("{} from entry {begin} on, each one as it was signed", report.verified.size - begin),
    };
    let mut facts = vec![("log", printable(&report.origin)), ("entries", entries), ("root", root)];
    facts.extend(retention::cut_lines(&report.pruned).into_iter().map(|line| ("pruned", line)));
    if report.verified.size > 0 {
        facts.push(("first", utc(report.first_ms)));
        facts.push(("last", utc(report.last_ms)));
    }
    globals.out().facts(&value, &facts)
}

fn failure(error: LogError) -> Failure {
    match error {
        LogError::Broker { path, source } => {
            Failure::from(*source).prefixed(&format!("the broker does not give {path}"))
        }
        LogError::File { .. } | LogError::Write { .. } => {
            Failure::general("the log could not be copied or read").because(&error)
        }
        LogError::Beyond { .. } | LogError::Cut { .. } => {
            Failure::usage("there is no such entry").because(&error)
        }
        LogError::Before { .. } => Failure::usage("the earlier log cannot be compared").because(&error),
        LogError::Missing { .. }
        | LogError::Segment { .. }
        | LogError::Pruned { .. }
        | LogError::Checkpoint(_)
        | LogError::Finding(_)
        | LogError::Bundle { .. }
        | LogError::NotGrown { .. } => Failure::integrity("the log does not verify")
            .because(&error)
            .hint("keep this copy, restore the store from a backup, and find out who could write to it"),
    }
}
