//! `symbolon custody`: sources, which give shares without a person.

use clap::{Args, Subcommand};
use symbolon_cli::{Custody, Source};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::printable;

/// `symbolon custody`
#[derive(Subcommand)]
pub enum CustodyCommand {
    /// Show who can open the broker without a person, from where, and what came of asking them
    Status,
    /// Make keys for a source of the broker's configuration, bound to its device; a reshare deals it a share
    Enrol(Name),
    /// See that a source would give its share, without giving it to anybody
    Test(Name),
    /// Forget a source that holds no share
    Remove(Name),
}

/// Which source.
#[derive(Args)]
pub struct Name {
    /// Name of the source in [[custody.sources]] of the broker
    name: String,
}

impl CustodyCommand {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Status => status(globals).await,
            Self::Enrol(Name { name }) => enrol(globals, &name).await,
            Self::Test(Name { name }) => {
                globals.client()?.test_source(&name).await?;
                globals.out().done("it opens its share")
            }
            Self::Remove(Name { name }) => {
                globals.client()?.remove_source(&name).await?;
                globals.out().done("forgotten")
            }
        }
    }
}

async fn enrol(globals: &Globals, name: &str) -> Result<(), Failure> {
    let client = globals.client()?;
    client.enrol_source(name).await?;
    let custody = client.custody().await?;
    let fingerprint = custody.sources.iter().find(|source| source.name == name);
    let fingerprint = fingerprint.map(|source| source.fingerprint.as_str()).unwrap_or_default();
    globals.out().done(&format!(
        "enrolled, card {}\nIt holds no share yet: symbolon ceremony begin reshare --threshold T --card … --source {}",
        printable(fingerprint),
        printable(name)
    ))
}

async fn status(globals: &Globals) -> Result<(), Failure> {
    let custody = globals.anonymous()?.custody().await?;
    match globals.out().is_json() {
        true => globals.out().json(&custody),
        false => globals.out().text(&view(&custody)),
    }
}

fn view(custody: &Custody) -> String {
    let mut lines = Vec::new();
    if custody.threshold > 0 {
        lines.push(format!("Shares needed  {}", custody.threshold));
        lines.push(format!("People         {}", custody.people.join(", ")));
    }
    if custody.people.len() < usize::from(custody.threshold) {
        lines.push(
            "Root token     cannot be made from shares: it takes people, and fewer of them hold one; keep a login that works"
                .to_owned(),
        );
    }
    if custody.people_min > 0 {
        lines.push(format!("At least       {} people in an unseal", custody.people_min));
    }
    if custody.sources.is_empty() {
        lines.push("Sources        none: every start waits for people".to_owned());
    }
    for place in &custody.weak_places {
        lines.push(format!(
            "Weak           whoever takes everything at {place} opens the broker; accept_places allows it"
        ));
    }
    if custody.held {
        lines.push(
            "Held           an operator sealed the broker: no source is asked before people open it"
                .to_owned(),
        );
    }
    if !custody.refused.is_empty() {
        lines.push(format!("Refused        no source is asked: {}", custody.refused));
    }
    lines.extend(custody.sources.iter().map(line));
    lines.iter().map(|line| format!("{}\n", printable(line))).collect()
}

fn line(source: &Source) -> String {
    let what = match (source.kind.is_empty(), source.fingerprint.is_empty(), source.holds) {
        (true, ..) => "not in the configuration",
        (_, true, _) => "not enrolled",
        (_, _, false) => "enrolled, holds no share",
        (_, _, true) => "holds a share",
    };
    let Source { name, kind, place, state, failures, .. } = source;
    let failures = if *failures > 0 { format!(" ({failures} times)") } else { String::new() };
    format!("{name}  {kind} at {place}  {what}  {state}{failures}")
}
