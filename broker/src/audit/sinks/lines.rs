//! An entry as a line: names keyed or plain, in the event's own form or Vault's. ASCII, whatever names are.

use std::fmt::Write as _;

use symbolon_core::audit::Outcome;
use symbolon_core::event::Event;
use symbolon_proto::hierarchy::{AuditKey, SinkKey};
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::Entry;

use crate::audit::log::LogError;
use crate::audit::log::rows::StoredEntry;
use crate::audit::log::search::open_detail;
use crate::config::{Format, Names, SinkConfig};

/// Longest line in bytes, which one datagram of UDP still holds. Longer ones are told without what is in
/// them.
pub const LINE_BYTES_MAX: usize = 48 << 10;

/// What stands before a keyed name.
pub const KEYED: &str = "hmac:";

/// An entry on its way out.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its place in the log.
    pub index: u64,
    /// Its leaf hash, 64 hex digits.
    pub hash: String,
    /// When it was written, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was asked for.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
    /// JSON without a line feed, in ASCII.
    pub text: String,
}

/// Makes lines for one sink. Holds keys: made for a batch, and gone with it.
pub struct Lines<'a> {
    audit: &'a AuditKey,
    deployment: DeploymentId,
    key: SinkKey,
    names: Names,
    format: Format,
}

impl<'a> Lines<'a> {
    /// For a sink.
    #[must_use]
    pub fn new(audit: &'a AuditKey, deployment: DeploymentId, sink: &SinkConfig) -> Self {
        let key = SinkKey::of(audit);
        Self { audit, deployment, key, names: sink.names, format: sink.format }
    }

    /// The line of an entry.
    pub fn line(&self, index: u64, stored: &StoredEntry) -> Result<Line, LogError> {
        let entry = Entry::decode(&stored.bytes).map_err(|_| LogError::Bundle { index })?;
        let detail = open_detail(self.audit, self.deployment, &entry);
        let event = Event::of(&entry, detail.as_ref());
        let event = match self.names {
            Names::Plain => event,
            Names::Keyed => event.with_names(&|name| keyed(&self.key, name)),
        };
        let mut text = self.text(&event);
        if text.len() > LINE_BYTES_MAX {
            text = self.text(&shortened(&event));
        }
        let Event { action, hash, .. } = event;
        Ok(Line { index, hash, time_ms: entry.time_ms, action, outcome: entry.outcome, text })
    }

    fn text(&self, event: &Event) -> String {
        ascii(match self.format {
            Format::Event => event.line(),
            Format::Vault => event.vault_line(),
        })
    }
}

/// What stands for a name in other systems: `hmac:` and 32 hex digits, the same wherever it stands.
#[must_use]
pub fn keyed(key: &SinkKey, name: &str) -> String {
    format!("{KEYED}{}", data_encoding::HEXLOWER.encode(&key.name_hash(name.as_bytes())))
}

/// Without what callers can make long.
fn shortened(event: &Event) -> Event {
    Event {
        reason: "longer than a sink takes; `symbolon audit search` shows it".to_owned(),
        actor: Default::default(),
        client: String::new(),
        target: Default::default(),
        policy: Vec::new(),
        request_id: String::new(),
        counts: None,
        ..event.clone()
    }
}

/// JSON with its other characters escaped: then every receiver agrees on what a byte is.
fn ascii(json: String) -> String {
    if json.is_ascii() {
        return json;
    }
    let mut text = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}"); // a String takes everything
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_ascii_is_escaped_and_reads_the_same() {
        let json = r#"{"a":"zürich 🗝 \"x\""}"#;
        let text = ascii(json.to_owned());
        assert_eq!(text, r#"{"a":"z\u00fcrich \ud83d\udddd \"x\""}"#);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&text), read(json));
    }
}
