//! `sys/symbolon/audit/sinks` and `sys/symbolon/audit/hash`: where entries are sent, and what stands for a
//! name there.

use serde_json::{Value, json};

use crate::audit::sinks::error::Fault;
use crate::audit::sinks::journal::State;
use crate::dialect::vault::call::object;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::ops::sinks;

/// Routes below `sys/symbolon/audit` that are about sinks.
pub(super) async fn route(call: Call<'_>, what: &str) -> Answer {
    let read = call.fields.reader();
    match (what, call.verb) {
        ("sinks", Verb::Read) => {
            let states = sinks::state(&call.who()).await?;
            let all: Vec<Value> = states.iter().map(detail).collect();
            Ok(call.request.envelope("system", json!({ "sinks": all }), &read).into_reply())
        }
        ("hash", Verb::Write) => {
            let missing = FaceError::Invalid("\"input\" must be the name to hash");
            let input = read.string("input")?.filter(|text| !text.is_empty()).ok_or(missing)?;
            let hash = sinks::hash(&call.who(), &input).await?;
            Ok(call.request.envelope("system", json!({ "hash": hash }), &read).into_reply())
        }
        _ => unsupported(),
    }
}

fn detail(state: &State) -> Value {
    let mut all = object(facts(state));
    all.insert("name".to_owned(), state.name.as_str().into());
    all.insert("next".to_owned(), state.next.into());
    all.insert("names".to_owned(), if state.is_plain { "plain" } else { "keyed" }.into());
    all.insert("failed".to_owned(), state.detail.as_str().into());
    Value::Object(all)
}

/// What anybody is told.
pub(super) fn facts(state: &State) -> Value {
    json!({
        "kind": state.kind,
        "lag": state.lag,
        "lag_secs": state.lag_secs,
        "pruned": state.pruned,
        "rejected": state.rejected,
        "failed": state.failed.map(Fault::text).unwrap_or_default(),
    })
}
