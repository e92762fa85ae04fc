//! One line as a message of RFC 5424.
//!
//! ```text
//! <PRI>1 2026-01-31T12:00:00.000Z HOSTNAME APP-NAME - MSGID [meta sequenceId="8"] {"time":…}
//! ```
//!
//! MSGID is the type of the event. `meta sequenceId` is registered with IANA (RFC 5424, 7.3.1) and counts
//! entries of the log from 1, so that a receiver sees gaps. The text is ASCII, so it needs no mark of Unicode
//! that readers of JSON would stumble over.

use symbolon_core::audit::Outcome;
use symbolon_proto::moment::utc_millis;

use crate::audit::sinks::Line;

/// The highest `sequenceId`; it begins at 1 again after it.
const SEQUENCE_MAX: u64 = 2_147_483_647;
/// Longest MSGID.
const MSGID_MAX: usize = 32;

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) facility: u8,
    pub(super) hostname: String,
    pub(super) app_name: String,
}

impl Origin {
    /// The message of a line.
    pub(super) fn message(&self, line: &Line) -> String {
        let severity = match line.outcome {
            Outcome::Allowed => 6, // informational
            Outcome::Denied => 4,  // warning
            Outcome::Failed => 5,  // notice
        };
        let priority = u32::from(self.facility) * 8 + severity;
        let sequence = line.index % SEQUENCE_MAX + 1;
        format!(
            "<{priority}>1 {} {} {} - {} [meta sequenceId=\"{sequence}\"] {}",
            utc_millis(line.time_ms),
            self.hostname,
            self.app_name,
            line.action.get(..MSGID_MAX).unwrap_or(&line.action),
            line.text,
        )
    }

    /// The same with its length before it (RFC 6587, 3.4.1).
    pub(super) fn frame(&self, line: &Line) -> String {
        let message = self.message(line);
        format!("{} {message}", message.len())
    }
}
