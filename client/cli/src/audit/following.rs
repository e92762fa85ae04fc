//! The log as its entries come: one request, answered line by line.

use serde::Deserialize;
use symbolon::{Error, Method, Pieces};
use symbolon_core::event::Event;

use super::search::Search;
use crate::operator::Operator;

/// Longest line: an event of an entry of the greatest length.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An entry.
    Event(Box<Event>),
    /// Nothing has come; what to begin with after a break.
    Waiting {
        /// The entry that comes next; `None` while the first one is looked for.
        next: Option<u64>,
    },
    /// Entries that were pruned before they could be told.
    Gone {
        /// The first of them.
        from: u64,
        /// The first that is kept.
        until: u64,
    },
    /// No more comes.
    End {
        /// Why, in the broker's words.
        reason: String,
        /// Whether it may be asked again.
        again: bool,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wire {
    Control(Control),
    Event(Box<Event>),
}

#[derive(Deserialize)]
#[serde(tag = "stream", rename_all = "lowercase")]
enum Control {
    Waiting { next: Option<u64> },
    Gone { from: u64, until: u64 },
    End { reason: String, again: bool },
}

/// Entries on their way.
pub struct Followed {
    pieces: Pieces,
    rest: Vec<u8>,
}

impl Operator {
    /// Entries as they come, beginning at `search.from`, or with the newest `search.limit` that fit. Needs
    /// `read` and `sudo` on `sys/symbolon/audit/tail`.
    pub async fn follow_audit(&self, search: &Search) -> Result<Followed, Error> {
        let mut call = search.asked(self.call(Method::GET, "sys/symbolon/audit/tail"));
        for (name, number) in [("from", search.from), ("lines", search.limit)] {
            if let Some(number) = number {
                call = call.query(name, &number.to_string());
            }
        }
        Ok(Followed { pieces: call.pieces().await?, rest: Vec::new() })
    }
}

impl Followed {
    /// The next line; `None` if the connection ended without a word.
    pub async fn next(&mut self) -> Result<Option<Line>, Error> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return parse(&line).map(Some);
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(Error::Foreign { expected: "a line of the audit log" });
            }
            let Some(piece) = self.pieces.next().await? else { return Ok(None) };
            self.rest.extend_from_slice(&piece);
        }
    }
}

fn parse(line: &[u8]) -> Result<Line, Error> {
    let wire =
        serde_json::from_slice(line).map_err(|_| Error::Foreign { expected: "a line of the audit log" })?;
    Ok(match wire {
        Wire::Event(event) => Line::Event(event),
        Wire::Control(Control::Waiting { next }) => Line::Waiting { next },
        Wire::Control(Control::Gone { from, until }) => Line::Gone { from, until },
        Wire::Control(Control::End { reason, again }) => Line::End { reason, again },
    })
}
