//! `symbolon audit segments` and `symbolon audit prune`: how the log is kept, and what was pruned.

use clap::Args;
use serde_json::{Value, json};
use symbolon_cli::LogState;
use symbolon_proto::log::Pruned;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::moment::utc;
use crate::output::printable;

/// `symbolon audit prune`
#[derive(Args)]
pub struct Prune {
    /// Prune entries before this one; as many whole segments of 4096 entries as there are
    #[arg(long, value_name = "INDEX")]
    before: u64,
    /// Also what was not exported: it is gone for good
    #[arg(long)]
    unexported: bool,
}

impl Prune {
    /// Prunes, with the caller's name in the log.
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let minimum = globals.client()?.prune_audit(self.before, self.unexported).await?;
        globals
            .out()
            .done(&format!("the log begins at entry {minimum} now; its rows are removed in the background"))
    }
}

/// Shows how the log is kept.
pub(super) async fn segments(globals: &Globals) -> Result<(), Failure> {
    let state = globals.client()?.audit_segments().await?;
    let value = serde_json::to_value(&state).unwrap_or_default();
    globals.out().facts(&value, &lines(&state))
}

fn lines(state: &LogState) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("first entry", state.minimum.to_string()),
        ("exported", format!("entries before {}", state.exported_until)),
        ("bytes", size(state)),
    ];
    if !state.failed.is_empty() {
        facts.push(("failed", printable(&state.failed)));
    }
    for cut in &state.cuts {
        let place = if cut.place.is_empty() { "nowhere" } else { &cut.place };
        let line = format!(
            "entries {} to {} at {} by order of {}; exported to {place}",
            cut.first,
            cut.end.saturating_sub(1),
            cut.time,
            cut.by
        );
        facts.push(("pruned", printable(&line)));
    }
    for segment in &state.segments {
        let exported = if segment.exported { "exported" } else { "here only" };
        let line = format!(
            "{} to {}, {} bytes, until {:.20}, {exported}",
            segment.first,
            segment.end.saturating_sub(1),
            segment.bytes,
            segment.last_time
        );
        facts.push(("segment", printable(&line)));
    }
    facts
}

fn size(state: &LogState) -> String {
    let days = state.days_left.map_or(String::new(), |days| format!(", used up in {days} days"));
    match state.budget_bytes {
        Some(budget) => format!("{} of {budget}{days}", state.bytes),
        None => state.bytes.to_string(),
    }
}

/// What everybody is told of cuts, for programs.
pub(super) fn cut_facts(pruned: &Pruned) -> Value {
    let cuts = pruned.cuts.iter().map(|cut| {
        json!({
            "first": cut.first,
            "end": cut.end,
            "time": utc(cut.time_ms),
            "order": cut.order.as_str(),
            "exported": cut.exported,
        })
    });
    json!({ "minimum": pruned.minimum, "root": pruned.root.to_string(), "cuts": cuts.collect::<Vec<_>>() })
}

/// The same for people.
pub(super) fn cut_lines(pruned: &Pruned) -> Vec<String> {
    let line = |cut: &symbolon_proto::log::pruned::Cut| {
        let before = if cut.exported { "after they were exported" } else { "without an export" };
        let (last, time, order) = (cut.end - 1, utc(cut.time_ms), cut.order.as_str());
        format!("entries {} to {last} at {time} by order of the {order}, {before}", cut.first)
    };
    pruned.cuts.iter().map(line).collect()
}
