//! `sys/symbolon/audit/segments` and `sys/symbolon/audit/prune`: how the log is kept, and pruning by hand.

use serde_json::{Value, json};

use crate::audit::retention::journal::{Fault, Journal};
use crate::dialect::time::rfc3339;
use crate::dialect::vault::call::object;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::ops::retention::{self, State, Wanted};

/// Routes below `sys/symbolon/audit` that are about retention.
pub(super) async fn route(call: Call<'_>, what: &str) -> Answer {
    let read = call.fields.reader();
    match (what, call.verb) {
        ("segments", Verb::Read) => {
            let state = retention::state(&call.who()).await?;
            Ok(call.request.envelope("system", state_facts(&state), &read).into_reply())
        }
        ("prune", Verb::Write) => {
            let missing = FaceError::Invalid("\"before\" must be the index of an entry");
            let before = read.count("before")?.ok_or(missing)?;
            let unexported = read.bool("unexported")?.unwrap_or(false);
            let minimum = retention::prune(&call.who(), Wanted { before, unexported }).await?;
            Ok(call.request.envelope("system", json!({ "minimum": minimum }), &read).into_reply())
        }
        _ => unsupported(),
    }
}

fn state_facts(state: &State) -> Value {
    let segment = |(segment, known, is_exported): &(symbolon_proto::log::Segment, _, bool)| {
        let known: &crate::audit::retention::segments::Known = known;
        let digest = known.exported.map(|exported| data_encoding::HEXLOWER.encode(&exported.sha256));
        json!({
            "first": segment.first(),
            "end": segment.end(),
            "bytes": known.bytes,
            "last_time": rfc3339(known.last_ms),
            "exported": is_exported,
            "sha256": digest,
        })
    };
    let cut = |cut: &crate::upkeep::retention::ledger::Ordered| {
        json!({
            "first": cut.first,
            "end": cut.end,
            "root": cut.root,
            "time": rfc3339(cut.time_ms),
            "by": cut.by,
            "place": cut.place,
        })
    };
    let mut all = object(facts(&state.journal));
    all.insert("failed".to_owned(), state.journal.detail.as_str().into());
    all.insert("segments".to_owned(), state.segments.iter().map(segment).collect());
    all.insert("cuts".to_owned(), state.cuts.iter().map(cut).collect());
    Value::Object(all)
}

/// What anybody is told.
pub(super) fn facts(journal: &Journal) -> Value {
    json!({
        "minimum": journal.minimum,
        "counted_until": journal.counted_until,
        "exported_until": journal.exported_until,
        "bytes": journal.bytes,
        "budget_bytes": journal.budget_bytes,
        "days_left": journal.days_left,
        "full": journal.is_full,
        "clock_doubted": journal.is_clock_doubted,
        "failed": journal.failed.map(Fault::text).unwrap_or_default(),
    })
}
