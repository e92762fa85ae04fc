//! `sys/symbolon/backup`: what is known of backups, and one now.

use serde_json::{Value, json};

use crate::backup::journal::{Fault, Journal};
use crate::dialect::time::rfc3339;
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::ops::backup;

/// Routes `sys/symbolon/backup`. What streams one has a face of its own.
pub(super) async fn route(call: Call<'_>) -> Answer {
    let read = call.fields.reader();
    match call.verb {
        Verb::Read => {
            let (journal, is_under_way) = backup::state(&call.who()).await?;
            let facts =
                json!({ "last": last(&journal), "failed": journal.detail, "under_way": is_under_way });
            Ok(call.request.envelope("system", facts, &read).into_reply())
        }
        Verb::Write => {
            backup::now(&call.who()).await?;
            Ok(call.request.done("system", &read))
        }
        _ => unsupported(),
    }
}

/// What is told of the newest one.
pub(super) fn facts(journal: &Journal) -> Value {
    json!({ "last": last(journal), "failed": journal.failed.map(Fault::text).unwrap_or_default() })
}

fn last(journal: &Journal) -> Option<Value> {
    journal.last.as_ref().map(|made| {
        json!({
            "name": made.name,
            "time": rfc3339(made.at.saturating_mul(1000)),
            "bytes": made.bytes,
            "rows": made.rows,
            "entries": made.entries,
        })
    })
}
