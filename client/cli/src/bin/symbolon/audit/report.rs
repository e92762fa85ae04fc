//! `symbolon audit report`: what a time comes to, for an auditor or whoever leads a team.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use symbolon_cli::Operator;
use symbolon_cli::audit::{LogSource, Often, Search, Span, Tally};
use symbolon_core::event::Event;
use symbolon_proto::log::checkpoint::CheckpointError;
use symbolon_proto::log::{Action, Checkpoint, SignedNote, VerifierKey};

use super::listing::Listing;
use super::search::{end_progress, progress};
use super::since::moment;
use super::{failure, verifier_key};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::moment::now_ms;
use crate::output::printable;

/// What changes who may do what, and what keys there are.
const CHANGES: &[Action] = &[
    Action::Init,
    Action::Unseal,
    Action::Seal,
    Action::PolicyWrite,
    Action::PolicyDelete,
    Action::MountWrite,
    Action::MountDelete,
    Action::AuthWrite,
    Action::AuthDelete,
    Action::KeyRotate,
    Action::Remote,
    Action::Ceremony,
    Action::Backup,
];

/// `symbolon audit report`
#[derive(Args)]
pub struct Report {
    /// Not before: a date, a time such as 2026-01-31T12:00:00Z, or how long ago, such as 7d
    #[arg(long, value_name = "TIME", default_value = "30d")]
    since: String,
    /// Before: a date, a time, or how long ago; without it until now
    #[arg(long, value_name = "TIME", alias = "before")]
    until: Option<String>,
    /// A caller is new if it was not seen from here on until --since: a date, a time, or how long ago
    #[arg(long, value_name = "TIME", default_value = "90d")]
    known_since: String,
    /// Most callers, paths and refused logins to print, those with most requests
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    top: u16,
    /// The log's public key, or a file with it: then the checkpoint is verified
    #[arg(long)]
    key: Option<String>,
}

/// What was counted, and of what.
struct Found {
    since: String,
    until: Option<String>,
    known_since: String,
    checkpoint: Checkpoint,
    verified: bool,
    tally: Tally,
    new_callers: NewCallers,
    /// Each list with its name, and its member in JSON.
    lists: Vec<(&'static str, &'static str, Listing)>,
    top: usize,
}

impl Report {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let key = self.key.as_deref().map(verifier_key).transpose()?;
        let now = now_ms();
        let parsed =
            |text: &str| moment(text, now).map_err(|why| Failure::usage("that is no moment").hint(&why));
        let (since, known_since) = (parsed(&self.since)?, parsed(&self.known_since)?);
        let until = self.until.as_deref().map(parsed).transpose()?;
        let checkpoint = checkpoint(globals, key.as_ref()).await?;
        let client = globals.client()?;
        let time = (Some(since.as_str()), until.as_deref());
        let tally = count(&client, time, checkpoint.size).await?;
        let new_callers = match known_since < since {
            true => {
                let before = count(&client, (Some(&known_since), Some(&since)), checkpoint.size).await?;
                NewCallers::find(&tally, &before)
            }
            false => NewCallers::Unknown("--known-since is not before --since"),
        };
        let lists = lists(&client, time, checkpoint.size).await?;
        require_unpruned(&client, &tally, checkpoint.size).await?;
        let (verified, top) = (key.is_some(), usize::from(self.top));
        let found = Found { since, until, known_since, checkpoint, verified, tally, new_callers, lists, top };
        found.print(globals)
    }
}

/// What changed, what was tried to, and what became of the log. What others can do in any number has a list
/// of its own, so that it pushes nothing out.
async fn lists(
    client: &Operator,
    (since, until): (Option<&str>, Option<&str>),
    size: u64,
) -> Result<Vec<(&'static str, &'static str, Listing)>, Failure> {
    let search = |actions: &[Action], outcome: Option<&str>| Search {
        action: Some(actions.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(",")),
        outcome: outcome.map(str::to_owned),
        since: since.map(str::to_owned),
        before: until.map(str::to_owned),
        until: Some(size),
        ..Search::default()
    };
    let mut lists = Vec::new();
    for (name, member, outcome) in [
        ("changes", "changes", "allowed"),
        ("failed changes", "failed_changes", "failed"),
        ("refused changes", "refused_changes", "denied"),
    ] {
        let found = Listing::gather(client, search(CHANGES, Some(outcome)), None).await?;
        lists.push((name, member, found));
    }
    let kept = search(&[Action::Retention], None);
    let kept = Listing::gather(client, kept, Some(is_export_or_prune)).await?;
    lists.push(("exports and prunes", "exports_and_prunes", kept));
    Ok(lists)
}

fn is_export_or_prune(event: &Event) -> bool {
    ["exported", "pruned"].iter().any(|word| event.target.object.contains(word))
}

/// That nothing was pruned of what is counted, while it was.
async fn require_unpruned(client: &Operator, tally: &Tally, size: u64) -> Result<(), Failure> {
    let now = client.count_audit(None, None, Span { from: size, until: size }).await?.minimum;
    let first = tally.span.map_or(0, |(first, _)| first);
    if now > tally.minimum && now > first { Err(pruned_meanwhile(now)) } else { Ok(()) }
}

fn pruned_meanwhile(minimum: u64) -> Failure {
    Failure::unavailable(format!("entries before {minimum} were pruned while they were counted"))
        .hint("run it again; it covers what is kept")
}

/// The newest checkpoint of the log; what comes after it is not counted.
async fn checkpoint(globals: &Globals, key: Option<&VerifierKey>) -> Result<Checkpoint, Failure> {
    let note = LogSource::Broker(globals.anonymous()?).checkpoint().await.map_err(failure)?;
    let opened = match key {
        Some(key) => Checkpoint::open(&note, key),
        None => SignedNote::parse(&note)
            .map_err(CheckpointError::from)
            .and_then(|note| Checkpoint::parse_text(note.unverified_text())),
    };
    opened.map_err(|error| failure(error.into()))
}

async fn count(
    client: &Operator,
    (since, until): (Option<&str>, Option<&str>),
    size: u64,
) -> Result<Tally, Failure> {
    let (mut tally, mut next) = (Tally::default(), Some(Span { from: 0, until: size }));
    while let Some(span) = next {
        let page = client.count_audit(since, until, span).await?;
        if span.from > 0 && span.from < page.minimum {
            return Err(pruned_meanwhile(page.minimum));
        }
        tally.add(&page);
        next = page.next;
        if let Some(rest) = next {
            progress(rest.from, rest.until);
        }
    }
    end_progress();
    Ok(tally)
}

/// Callers that were not seen before.
enum NewCallers {
    /// These, compared with entries from the given one on if those before it were pruned.
    Found(Vec<String>, Option<u64>),
    /// It cannot be told, and why.
    Unknown(&'static str),
}

impl NewCallers {
    fn find(now: &Tally, before: &Tally) -> Self {
        let Some((first, _)) = before.span else {
            return Self::Unknown("no entries from --known-since until --since are kept");
        };
        if now.folds_callers() || before.folds_callers() {
            return Self::Unknown("there are too many callers to tell them apart");
        }
        let new = now.callers.keys().filter(|name| !before.callers.contains_key(*name));
        Self::Found(new.cloned().collect(), before.is_cut().then_some(first))
    }

    /// Name and what is known of each.
    fn rows(&self, known_since: &str) -> Vec<(String, String)> {
        match self {
            Self::Unknown(why) => vec![("cannot be told".to_owned(), (*why).to_owned())],
            Self::Found(names, first) => {
                let since = match first {
                    Some(first) => format!("not seen since entry {first}; what was before it is pruned"),
                    None => format!("not seen since {known_since}"),
                };
                names.iter().map(|name| (name.clone(), since.clone())).collect()
            }
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Unknown(_) => Value::Null,
            Self::Found(names, _) => json!(names),
        }
    }

    /// Where the comparison begins, if entries before that were pruned.
    fn first(&self) -> Option<u64> {
        match self {
            Self::Found(_, first) => *first,
            Self::Unknown(_) => None,
        }
    }
}

/// Those with most requests.
fn top(all: &BTreeMap<String, Often>, most: usize) -> Vec<(&String, Often)> {
    let mut sorted: Vec<_> = all.iter().map(|(name, often)| (name, *often)).collect();
    sorted.sort_by(|(one, a), (other, b)| b.requests.cmp(&a.requests).then(one.cmp(other)));
    sorted.truncate(most);
    sorted
}

impl Found {
    fn print(&self, globals: &Globals) -> Result<(), Failure> {
        let out = globals.out();
        if out.is_json() {
            return out.json(&self.value());
        }
        let rows = self.rows();
        if out.is_csv() {
            return out.rows(&(), &["part", "what", "more", "requests", "refused"], rows);
        }
        let mut part = String::new();
        for row in self.sections(rows) {
            if row.0 != part {
                part.clone_from(&row.0);
                out.line(&format!("{}{part}", if part == "report" { "" } else { "\n" }))?;
            }
            out.text(&row.1)?;
        }
        Ok(())
    }

    /// The rows of each part, aligned.
    fn sections(&self, rows: Vec<Vec<String>>) -> Vec<(String, String)> {
        let mut sections: Vec<(String, Vec<Vec<String>>)> = Vec::new();
        for mut row in rows {
            let part = row.remove(0);
            let cells = std::iter::once("  ".to_owned() + &row[0]).chain(row.drain(1..)).collect();
            match sections.last_mut().filter(|(last, _)| *last == part) {
                Some((_, rows)) => rows.push(cells),
                None => sections.push((part, vec![cells])),
            }
        }
        sections.into_iter().map(|(part, rows)| (part, crate::output::columns(&rows))).collect()
    }

    fn range(&self) -> String {
        let covered = match self.tally.span {
            Some((first, last)) => format!("{} entries, {first} to {last}", self.tally.entries),
            None => "no entries".to_owned(),
        };
        match self.tally.is_cut() {
            true => format!("{covered}; entries before {} were pruned and do not count", self.tally.minimum),
            false => covered,
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |part: &str, what: &str, more: &str, requests: String, refused: String| {
            vec![part.to_owned(), printable(what), printable(more), requests, refused]
        };
        let none = String::new;
        let number = |number: u64| number.to_string();
        let until = self.until.as_deref().unwrap_or("now");
        let sealed = if self.verified { "verified with the given key" } else { "not verified: give --key" };
        let size = format!("{} entries, root {}", self.checkpoint.size, self.checkpoint.root);
        let mut rows = vec![
            row("report", "time", &format!("{} to {until}", self.since), none(), none()),
            row("report", "covers", &self.range(), none(), none()),
            row(
                "report",
                "not in who and paths",
                "requests by nobody known that share an entry",
                none(),
                none(),
            ),
            row("report", "checkpoint", &size, none(), none()),
            row("report", "signed by", &format!("{}, {sealed}", self.checkpoint.origin), none(), none()),
        ];
        for ((action, outcome), requests) in &self.tally.kinds {
            rows.push(row("what", action, outcome, number(*requests), none()));
        }
        for (part, names) in [("who", &self.tally.callers), ("paths", &self.tally.paths)] {
            for (name, often) in top(names, self.top) {
                rows.push(row(part, name, "", number(often.requests), number(often.denied)));
            }
            if names.len() > self.top {
                let more = format!("and {} more; --top shows more", names.len() - self.top);
                rows.push(row(part, &more, "", none(), none()));
            }
        }
        for ((path, claimed), requests) in self.logins() {
            rows.push(row("refused logins", path, claimed, number(*requests), number(*requests)));
        }
        if self.tally.logins.len() > self.top {
            let more = format!("and {} more; --top shows more", self.tally.logins.len() - self.top);
            rows.push(row("refused logins", &more, "", none(), none()));
        }
        for (name, since) in self.new_callers.rows(&self.known_since) {
            rows.push(row("new callers", &name, &since, none(), none()));
        }
        for (part, _, list) in &self.lists {
            for event in &list.events {
                let what = format!("{} {} {} {}", event.time, event.action, event.outcome, event.target.path);
                let by =
                    if event.actor.subject.is_empty() { &event.actor.name } else { &event.actor.subject };
                let more = format!("entry {} by {by}: {}", event.index, event.target.object);
                rows.push(row(part, &what, &more, none(), none()));
            }
            if list.more > 0 {
                let more = format!("and {} more, older; a shorter time shows them", list.more);
                rows.push(row(part, &more, "", none(), none()));
            }
        }
        rows
    }

    /// Refused logins, those with most attempts first.
    fn logins(&self) -> Vec<(&(String, String), &u64)> {
        let mut logins: Vec<_> = self.tally.logins.iter().collect();
        logins.sort_by_key(|(_, requests)| std::cmp::Reverse(**requests));
        logins.truncate(self.top);
        logins
    }

    fn value(&self) -> Value {
        let often = |(name, often): (&String, Often)| json!({ "name": name, "requests": often.requests, "refused": often.denied });
        let names = |all| top(all, self.top).into_iter().map(often).collect::<Vec<_>>();
        let kinds = self.tally.kinds.iter().map(|((action, outcome), requests)| {
            json!({ "type": action, "outcome": outcome, "requests": requests })
        });
        let logins = self.logins().into_iter().map(
            |((path, claimed), requests)| json!({ "path": path, "claimed": claimed, "requests": requests }),
        );
        let mut value = json!({
            "since": self.since,
            "until": self.until,
            "entries": self.tally.entries,
            "first": self.tally.span.map(|(first, _)| first),
            "last": self.tally.span.map(|(_, last)| last),
            "checkpoint": {
                "origin": self.checkpoint.origin,
                "size": self.checkpoint.size,
                "root": self.checkpoint.root.to_string(),
                "verified": self.verified,
            },
            "kinds": kinds.collect::<Vec<_>>(),
            "callers": names(&self.tally.callers),
            "callers_in_all": self.tally.callers.len(),
            "paths": names(&self.tally.paths),
            "paths_in_all": self.tally.paths.len(),
            "refused_logins": logins.collect::<Vec<_>>(),
            "refused_logins_in_all": self.tally.logins.len(),
            "known_since": self.known_since,
            "known_from": self.new_callers.first(),
            "new_callers": self.new_callers.value(),
            "pruned_before": self.tally.is_cut().then_some(self.tally.minimum),
        });
        for (_, member, list) in &self.lists {
            let (events, in_all) = list.value();
            value[*member] = events;
            value[format!("{member}_in_all")] = json!(in_all);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(names: &[&str], span: Option<(u64, u64)>, minimum: u64) -> Tally {
        let callers = names.iter().map(|name| ((*name).to_owned(), Often::default())).collect();
        Tally { callers, span, minimum, ..Tally::default() }
    }

    #[test]
    fn new_callers_say_what_they_were_compared_with_or_that_it_cannot_be_told() {
        let now = tally(&["ana", "ci"], Some((200, 300)), 0);
        let rows = |before: &Tally| NewCallers::find(&now, before).rows("2026-01-01");
        let known = tally(&["ana"], Some((0, 199)), 0);
        assert_eq!(rows(&known), [("ci".to_owned(), "not seen since 2026-01-01".to_owned())]);
        let cut = rows(&tally(&["ana"], Some((100, 199)), 100));
        assert!(cut[0].0 == "ci" && cut[0].1.starts_with("not seen since entry 100;"), "{cut:?}");
        let folded = tally(&[symbolon_cli::audit::OTHERS], Some((0, 199)), 0);
        for before in [tally(&[], None, 200), folded] {
            assert_eq!(rows(&before)[0].0, "cannot be told");
            assert_eq!(NewCallers::find(&now, &before).value(), Value::Null);
        }
    }
}
