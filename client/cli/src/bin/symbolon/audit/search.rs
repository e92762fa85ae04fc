//! `symbolon audit tail`, `search`, `who-read` and `who-changed`: the log with its details, from an open
//! broker.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use symbolon::Error;
use symbolon_cli::Operator;
use symbolon_cli::audit::{Followed, Line, Page, Search, Span};
use symbolon_core::event::Event;
use symbolon_proto::log::Action;

use super::events::{print, print_headings, print_more};
use super::proof;
use super::since::moment;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::moment::now_ms;

/// Before `tail --follow` connects again.
const RECONNECT: Duration = Duration::from_secs(2);
/// Longest pause before it tries again.
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// Attempts until it gives up, about ten minutes.
const RECONNECTS_MAX: usize = 24;
/// Entries of one answer.
const PAGE_MAX: usize = 1000;
/// What reading a secret is.
pub const READS: &[Action] = &[Action::SecretRead];
/// What changing a secret is.
pub const CHANGES: &[Action] = &[
    Action::SecretWrite,
    Action::SecretDelete,
    Action::SecretUndelete,
    Action::SecretDestroy,
    Action::MetadataWrite,
    Action::MetadataDelete,
];

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
    #[command(flatten)]
    bounds: Bounds,
    /// Write a proof of each printed entry into this directory: with `-o json` they are an export that
    /// `audit verify --proof DIR --events FILE` checks offline
    #[arg(long, value_name = "DIR")]
    proofs: Option<PathBuf>,
}

/// `symbolon audit who-read` and `who-changed`
#[derive(Args)]
pub struct About {
    /// The secret, as `kv` commands spell it (secret/team/app) or as the API does (secret/data/team/app)
    path: String,
    #[command(flatten)]
    bounds: Bounds,
}

/// How far.
#[derive(Args)]
struct Bounds {
    /// Not before: a date, a time such as 2026-01-31T12:00:00Z, or how long ago, such as 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before: a date, a time, or how long ago
    #[arg(long, value_name = "TIME", visible_alias = "until")]
    before: Option<String>,
    /// Most entries to print
    #[arg(long, default_value_t = 1000, value_parser = limit)]
    limit: usize,
}

/// Most entries that a search prints: they are aligned, so all are kept until the last has come.
const LIMIT_MAX: usize = 100_000;

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=LIMIT_MAX).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {LIMIT_MAX}"))
}

/// Which entries.
#[derive(Args)]
pub struct Filter {
    /// Only this action; of what was refused, what was asked for
    #[arg(long, value_parser = actions())]
    action: Option<String>,
    /// Only this outcome
    #[arg(long, value_parser = ["allowed", "denied", "failed"])]
    outcome: Option<String>,
    /// Only this caller: the name that its tokens are shown with
    #[arg(long)]
    caller: Option<String>,
    /// Only the token with this accessor
    #[arg(long)]
    accessor: Option<String>,
    /// Only paths that begin with this, spelt as `kv` commands or as the API spell it
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

fn actions() -> PossibleValuesParser {
    PossibleValuesParser::new(Action::ALL.iter().map(|action| action.as_str()))
}

impl Filter {
    fn search(self) -> Search {
        let Self { action, outcome, caller, accessor, path, request_id } = self;
        Search { action, outcome, caller, accessor, path, request_id, ..Search::default() }
    }
}

impl Bounds {
    fn bound(&self, search: Search) -> Result<Search, Failure> {
        let now = now_ms();
        let parsed = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
        let wrong = |why: String| Failure::usage("that is no moment").hint(&why);
        let since = parsed(&self.since).map_err(wrong)?;
        Ok(Search { since, before: parsed(&self.before).map_err(wrong)?, ..search })
    }
}

impl Tail {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.client()?;
        let newest = Search { limit: Some(self.lines), ..self.filter.search() };
        if self.follow {
            return follow(globals, &client, newest).await;
        }
        let mut page = client.search_audit(&newest).await?;
        page.events.reverse();
        print(globals.out(), &page.events)
    }
}

/// Prints entries as they come: one request, which leaves one entry. If the connection breaks, another one
/// goes on with the entry after the last.
async fn follow(globals: &Globals, client: &Operator, mut search: Search) -> Result<(), Failure> {
    print_headings(globals.out())?;
    let mut lines = client.follow_audit(&search).await?; // what is wrong at the start is told at once
    loop {
        let told = print_lines(globals, &mut lines, &mut search).await?;
        if !told {
            return Err(Failure::unavailable("the broker ended the connection before it told anything"));
        }
        lines = again(client, &search).await?;
    }
}

/// Prints until the connection breaks; whether anything was told.
async fn print_lines(globals: &Globals, lines: &mut Followed, search: &mut Search) -> Result<bool, Failure> {
    let mut told = false;
    loop {
        match lines.next().await {
            Ok(Some(Line::Event(event))) => {
                search.from = Some(event.index + 1);
                print_more(globals.out(), &[*event])?;
            }
            Ok(Some(Line::Waiting { next })) => search.from = next.or(search.from),
            Ok(Some(Line::Gone { from, until })) => {
                search.from = Some(until);
                eprintln!("entries {from} to {} were pruned before they could be shown", until - 1);
            }
            Ok(Some(Line::End { again: true, .. })) => return Ok(true),
            Ok(Some(Line::End { reason, .. })) => return Err(Failure::unavailable(reason)),
            Ok(None) | Err(Error::Unavailable(_)) => return Ok(told),
            Err(error) => return Err(error.into()),
        }
        told = true;
    }
}

/// Connects again; a broker that starts anew may take some minutes.
async fn again(client: &Operator, search: &Search) -> Result<Followed, Failure> {
    let mut pause = RECONNECT;
    for _ in 0..RECONNECTS_MAX {
        tokio::time::sleep(pause).await;
        match client.follow_audit(search).await {
            Err(Error::Unavailable(_)) => pause = (pause * 2).min(RECONNECT_MAX),
            answer => return Ok(answer?),
        }
    }
    Err(Failure::unavailable("the broker cannot be reached any more"))
}

impl SearchFor {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let search = self.bounds.bound(self.filter.search())?;
        let mut newest = Newest::new(globals, search, self.bounds.limit)?;
        newest.proofs = self.proofs;
        newest.print(globals).await
    }
}

impl About {
    pub async fn run(self, globals: &Globals, actions: &[Action]) -> Result<(), Failure> {
        let names: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
        let (action, path_exactly) = (Some(names.join(",")), Some(self.path));
        let search = self.bounds.bound(Search { action, path_exactly, ..Search::default() })?;
        Newest::new(globals, search, self.bounds.limit)?.print(globals).await
    }
}

/// A search from the end of the log backwards.
struct Newest {
    client: Operator,
    search: Search,
    limit: usize,
    found: Vec<Event>,
    /// Where the log ended at the first answer.
    end: Option<u64>,
    /// Where proofs of what is printed go.
    proofs: Option<PathBuf>,
}

impl Newest {
    fn new(globals: &Globals, search: Search, limit: usize) -> Result<Self, Failure> {
        Ok(Self { client: globals.client()?, search, limit, found: Vec::new(), end: None, proofs: None })
    }

    /// Prints what fits, and how much more there is.
    async fn print(mut self, globals: &Globals) -> Result<(), Failure> {
        let mut rest = None;
        while self.found.len() < self.limit {
            self.search.limit = Some((self.limit - self.found.len()).min(PAGE_MAX) as u64);
            let page = self.client.search_audit(&self.search).await?;
            rest = self.goes_on(&page);
            self.found.extend(page.events);
            if rest.is_none() {
                break;
            }
        }
        end_progress();
        print(globals.out(), &self.found)?;
        if let Some(directory) = &self.proofs {
            proof::write_all(globals, directory, &self.found).await?;
        }
        match rest {
            Some(_) => self.tell_the_rest().await,
            None => Ok(()),
        }
    }

    fn goes_on(&mut self, page: &Page) -> Option<Span> {
        let span = page.next?;
        let end = *self.end.get_or_insert(span.until);
        progress(end - span.until.min(end), end);
        (self.search.from, self.search.until) = (Some(span.from), Some(span.until));
        Some(span)
    }

    /// Counts what was not printed, and says so where nobody takes it for an entry.
    async fn tell_the_rest(mut self) -> Result<(), Failure> {
        self.search.counts_only = true;
        let mut more = 0;
        loop {
            let page = self.client.search_audit(&self.search).await?;
            more += page.fitting;
            if self.goes_on(&page).is_none() {
                break;
            }
        }
        end_progress();
        let shown = self.found.len();
        if more > 0 {
            eprintln!("showing {shown} of {}, the newest; --limit shows more", shown as u64 + more);
        }
        Ok(())
    }
}

/// Takes the last progress away.
pub fn end_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}

/// How much of the log was looked at, for somebody who waits.
pub fn progress(looked_at: u64, entries: u64) {
    let terminal = std::io::stderr();
    if terminal.is_terminal() && entries > 0 {
        eprint!("\r{looked_at} of {entries} entries looked at");
    }
}
