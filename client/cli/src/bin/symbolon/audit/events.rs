//! Events as they are printed: rows for people and spreadsheets, one object a line for programs. All of it
//! is derived from the one canonical event.

use symbolon_core::event::Event;

use crate::failure::Failure;
use crate::output::{Output, printable};

/// What the columns are called.
pub const HEADINGS: [&str; 12] = [
    "index", "time", "outcome", "type", "path", "version", "subject", "method", "role", "client", "object",
    "reason",
];

/// Prints events, under headings where there are columns.
pub fn print(out: Output, events: &[Event]) -> Result<(), Failure> {
    if out.is_json() {
        return events.iter().try_for_each(|event| out.json_line(&event.line()));
    }
    out.rows(&(), &HEADINGS, events.iter().map(cells).collect())
}

/// Prints the headings of events that come later.
pub fn print_headings(out: Output) -> Result<(), Failure> {
    let headings: Vec<String> = HEADINGS.iter().map(|heading| (*heading).to_owned()).collect();
    match (out.is_json(), out.is_csv()) {
        (true, _) => Ok(()),
        (false, true) => out.more_rows(vec![headings]),
        (false, false) => out.line(padded(&headings[..7]).join("  ").trim_end()),
    }
}

/// Prints events as they come, without knowing how wide the next will be.
pub fn print_more(out: Output, events: &[Event]) -> Result<(), Failure> {
    if out.is_json() || out.is_csv() {
        return match out.is_json() {
            true => print(out, events),
            false => out.more_rows(events.iter().map(cells).collect()),
        };
    }
    events.iter().try_for_each(|event| out.line(&line(event)))
}

/// The cells of one row.
fn cells(event: &Event) -> Vec<String> {
    let Event { index, time, outcome, action, actor, target, client, .. } = event;
    let version = if target.version == 0 { String::new() } else { target.version.to_string() };
    let texts =
        [time, outcome, action, &target.path, &version, &actor.subject, &actor.method, &actor.role, client];
    let mut cells = vec![index.to_string()];
    cells.extend(texts.map(|text| printable(text)));
    cells.extend([printable(&target.object), printable(&reason(event))]);
    cells
}

/// Why, and what else somebody should know.
fn reason(event: &Event) -> String {
    let mut told = event.reason.clone();
    if let Some(counts) = &event.counts {
        let (requests, first, last) = (counts.requests, &counts.first, &counts.last);
        told = format!("{told} [{requests} requests from {first} to {last}: -o json tells which]");
    }
    if event.unreadable {
        told.push_str("[the detail does not open: run `symbolon audit verify`]");
    }
    told
}

fn line(event: &Event) -> String {
    let cells = cells(event);
    let (aligned, more) = cells.split_at(7);
    let told = more.iter().filter(|cell| !cell.is_empty()).cloned();
    let all: Vec<String> = padded(aligned).into_iter().chain(told).collect();
    all.join("  ").trim_end().to_owned()
}

/// Index, time, outcome, type, path, version and subject in columns that most fit into.
fn padded(cells: &[String]) -> Vec<String> {
    let widths = [8, 24, 7, 15, 40, 7, 24];
    cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect()
}
