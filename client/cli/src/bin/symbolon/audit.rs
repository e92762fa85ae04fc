//! `symbolon audit`: the log, read and verified.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use symbolon_cli::Operator;
use symbolon_cli::audit::{Counts, LogError, LogSource, Report, Search, ShownEntry};
use symbolon_proto::log::{Action, Checkpoint, VerifierKey};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::moment::utc;
use crate::output::{Output, printable};

/// `symbolon audit`
#[derive(Subcommand)]
pub enum Audit {
    /// Verify the whole log offline: recompute its tree from the entries and check who signed it
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Print the newest entries, and with --follow those that come
    Tail(Tail),
    /// Print entries that fit, oldest first
    Search(SearchFor),
    /// Copy the public log into a directory, for an auditor
    Copy(CopyTo),
}

/// Time between two looks of `tail --follow`. Each look is an entry of its own.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// Entries of one answer.
const PAGE_MAX: usize = 1000;

const VERIFY_HELP: &str = "\
The log's key is printed by `symbolon operator init`. Keep it where the broker cannot change it. Verification asks the
broker for nothing but the log's own files (tlog-tiles), so a copy in a directory does as well. Exit code 6 if an entry
was changed, cut or added, if the checkpoint is not signed by the key, or if the log does not continue --since.";

/// `symbolon audit verify`
#[derive(Args)]
pub struct Verify {
    /// The log's public key as `operator init` printed it, or a file with it
    #[arg(long)]
    key: String,
    /// Directory with a copy of the log, instead of the broker
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Checkpoint of an earlier verification: this log must continue that one
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Keep the verified checkpoint here, for the next --since
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// `symbolon audit copy`
#[derive(Args)]
pub struct CopyTo {
    /// Where to; made if it is not there
    directory: PathBuf,
}

/// `symbolon audit tail`
#[derive(Args)]
pub struct Tail {
    /// How many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    lines: u64,
    /// Go on as entries come, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    filter: Filter,
}

/// `symbolon audit search`
#[derive(Args)]
pub struct SearchFor {
    #[command(flatten)]
    filter: Filter,
    /// Not before this moment, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this moment
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Most entries to print
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

/// Which entries.
#[derive(Args)]
pub struct Filter {
    /// Only this action, such as secret-read
    #[arg(long)]
    action: Option<String>,
    /// Only this outcome
    #[arg(long, value_parser = ["allowed", "denied", "failed"])]
    outcome: Option<String>,
    /// Only this caller
    #[arg(long)]
    caller: Option<String>,
    /// Only the token with this accessor
    #[arg(long)]
    accessor: Option<String>,
    /// Only paths that begin with this
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Filter {
    fn search(self) -> Search {
        let Self { action, outcome, caller, accessor, path, request_id } = self;
        Search { action, outcome, caller, accessor, path, request_id, ..Search::default() }
    }
}

impl Audit {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Verify(command) => command.run(globals).await,
            Self::Tail(command) => command.run(globals).await,
            Self::Search(command) => command.run(globals).await,
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
        let earlier = self.since.as_deref().map(|path| earlier(path, &key)).transpose()?;
        let source = match self.dir {
            Some(directory) => LogSource::Directory(directory),
            None => LogSource::Broker(globals.anonymous()?),
        };
        let verified = symbolon_cli::audit::verify(&source, &key, earlier.as_ref(), &mut |_, _| {}).await;
        let report = verified.map_err(failure)?;
        if let Some(path) = &self.save {
            save(&source, path, &report, &key).await?;
        }
        print_report(globals, &report)
    }
}

impl Tail {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.client()?;
        let mut printer = Printer::new(globals.out(), self.follow);
        let newest = Search { limit: Some(self.lines), ..self.filter.search() };
        let mut page = client.search_audit(&newest).await?;
        page.entries.reverse();
        let next = page.entries.last().map_or(0, |entry| entry.index + 1);
        printer.print(&page.entries)?;
        if self.follow {
            follow(&client, &mut printer, newest, next).await?;
        }
        printer.finish()
    }
}

/// Prints entries as they come. Our own looks are entries too; they are left out unless somebody asks for
/// them.
async fn follow(
    client: &Operator,
    printer: &mut Printer,
    filter: Search,
    mut next: u64,
) -> Result<std::convert::Infallible, Failure> {
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let search = Search { from: Some(next), limit: None, oldest_first: true, ..filter.clone() };
        let mut page = client.search_audit(&search).await?;
        let last = page.entries.last().map(|last| last.index + 1);
        next = page.next.map(|span| span.from).or(last).unwrap_or(next);
        page.entries.retain(|entry| filter.action.is_some() || entry.action != Action::AuditRead.as_str());
        printer.print(&page.entries)?;
    }
}

impl SearchFor {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.client()?;
        let mut printer = Printer::new(globals.out(), false);
        let mut search =
            Search { since: self.since, before: self.before, oldest_first: true, ..self.filter.search() };
        let mut left = self.limit;
        while left > 0 {
            search.limit = Some(left.min(PAGE_MAX) as u64);
            let page = client.search_audit(&search).await?;
            left -= page.entries.len().min(left);
            printer.print(&page.entries)?;
            let Some(span) = page.next else { break };
            (search.from, search.until) = (Some(span.from), Some(span.until));
        }
        printer.finish()
    }
}

/// Prints entries as they come: lines for people; for programs one JSON list, or one object a line when
/// following.
struct Printer {
    out: Output,
    lines: bool,
    kept: Vec<ShownEntry>,
}

impl Printer {
    fn new(out: Output, follows: bool) -> Self {
        Self { out, lines: follows, kept: Vec::new() }
    }

    fn print(&mut self, entries: &[ShownEntry]) -> Result<(), Failure> {
        if self.out.is_json() && !self.lines {
            self.kept.extend_from_slice(entries);
            return Ok(());
        }
        for entry in entries {
            if self.out.is_json() {
                let line = serde_json::to_string(entry).expect("entries are maps with text keys");
                self.out.line(&line)?;
            } else {
                self.out.line(&printable(&entry_line(entry)))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        if self.out.is_json() && !self.lines { self.out.json(&self.kept) } else { Ok(()) }
    }
}

/// Index, time, how it ended, what it was, on what, by whom, from where; then why not.
fn entry_line(entry: &ShownEntry) -> String {
    let ShownEntry { index, time, action, outcome, path, caller, remote, reason, .. } = entry;
    let about = if entry.object.is_empty() { String::new() } else { format!("  {}", entry.object) };
    let version = if entry.version > 0 { format!(" v{}", entry.version) } else { String::new() };
    let by = if caller.is_empty() { "-" } else { caller };
    let mut line = format!(
        "{index:>8}  {time:<20.20}  {outcome:<7}  {action:<15}  {path}{version}  {by}  {remote}{about}"
    );
    if !reason.is_empty() {
        line = format!("{line}  ({reason})");
    }
    if let Some(counts) = &entry.counts {
        let Counts { requests, first, last, .. } = counts;
        line.push_str(&format!("  [{requests} requests from {first:.20} to {last:.20}: --json tells which]"));
    }
    if !entry.readable {
        line.push_str("  [the detail does not open: run `symbolon audit verify`]");
    }
    line
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
    });
    let mut facts = vec![
        ("log", printable(&report.origin)),
        ("entries", format!("{}, each one as it was signed", report.verified.size)),
        ("root", root),
    ];
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
        LogError::Missing { .. }
        | LogError::Checkpoint(_)
        | LogError::Finding(_)
        | LogError::Bundle { .. }
        | LogError::NotGrown { .. } => Failure::integrity("the log does not verify")
            .because(&error)
            .hint("keep this copy, restore the store from a backup, and find out who could write to it"),
    }
}
