//! `sys/symbolon/audit`: searching the audit log. Ours, not Vault's.
//!
//! Without parameters it gives the newest entries. `next` in the answer holds the `from` and `until` with
//! which to go on; it is null when the whole range has been looked at, also if that found nothing.

use serde_json::{Value, json};
use symbolon_core::audit::{Action, Asked, Counts, Kind, Outcome};

use crate::audit::log::{Filter, Found, Page, Range};
use crate::dialect::time::rfc3339;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call};
use crate::ops::audit;

/// Entries in one answer if nobody asks for another number.
const LIMIT_DEFAULT: usize = 100;

/// Searches.
pub(super) async fn search(call: Call<'_>) -> Answer {
    let read = call.fields.reader();
    let (filter, range) = (parse_filter(&read)?, parse_range(&read)?);
    let page = audit::search(&call.who(), &filter, range).await?;
    Ok(call.request.envelope("system", page_facts(&page), &read).into_reply())
}

fn parse_filter(read: &Reader<'_>) -> Result<Filter, FaceError> {
    let action = read.string("action")?.map(|name| {
        Action::from_name(&name)
            .ok_or(FaceError::Invalid("\"action\" is not the name of an action, such as secret-read"))
    });
    let outcome = read.string("outcome")?.map(|name| {
        Outcome::from_name(&name).ok_or(FaceError::Invalid("\"outcome\" must be allowed, denied or failed"))
    });
    Ok(Filter {
        action: action.transpose()?,
        outcome: outcome.transpose()?,
        since_ms: read.time_ms("since")?,
        until_ms: read.time_ms("before")?,
        caller: read.string("caller")?,
        accessor: read.string("accessor")?,
        path_prefix: read.string("path")?,
        request_id: read.string("request_id")?,
    })
}

fn parse_range(read: &Reader<'_>) -> Result<Range, FaceError> {
    Ok(Range {
        from: read.count("from")?.unwrap_or(0),
        until: read.count("until")?.unwrap_or(u64::MAX),
        newest_first: read.bool("newest_first")?.unwrap_or(true),
        limit: read.limit("limit")?.unwrap_or(LIMIT_DEFAULT),
    })
}

fn page_facts(page: &Page) -> Value {
    let next = page.rest.map(|rest| json!({ "from": rest.from, "until": rest.until }));
    json!({ "entries": page.found.iter().map(entry_facts).collect::<Vec<_>>(), "next": next })
}

/// One entry. Its `action` is what was asked for, also where everybody reads only that it was refused
/// (`head`); `counts` is there if it stands for many requests. `readable` is false if its detail does not
/// open, which somebody should look into.
fn entry_facts(found: &Found) -> Value {
    let detail = found.detail.clone().unwrap_or_default();
    json!({
        "index": found.entry.index,
        "time": rfc3339(found.entry.time_ms),
        "action": detail.action(found.entry.action).as_str(),
        "head": found.entry.action.as_str(),
        "outcome": found.entry.outcome.as_str(),
        "broker": found.entry.broker.to_string(),
        "readable": found.detail.is_some(),
        "request_id": detail.request_id,
        "caller": detail.caller,
        "accessor": detail.accessor,
        "path": detail.path,
        "version": detail.version,
        "object": detail.object,
        "role": detail.role,
        "remote": detail.remote,
        "reason": detail.reason,
        "counts": detail.counts.as_deref().map(count_facts),
    })
}

fn count_facts(counts: &Counts) -> Value {
    let kind = |kind: &Kind| {
        json!({
            "action": kind.action.map(Action::as_str),
            "outcome": kind.outcome.map(Outcome::as_str),
            "reason": kind.reason,
            "requests": kind.requests,
        })
    };
    let asked = |asked: &Asked| {
        json!({
            "time": rfc3339(asked.time_ms),
            "action": asked.action.map(Action::as_str),
            "path": asked.path,
            "role": asked.role,
            "remote": asked.remote,
            "request_id": asked.request_id,
        })
    };
    json!({
        "requests": counts.requests,
        "first": rfc3339(counts.first_ms),
        "last": rfc3339(counts.last_ms),
        "kinds": counts.kinds.iter().map(kind).collect::<Vec<_>>(),
        "unlisted": counts.unlisted,
        "asked": counts.asked.iter().map(asked).collect::<Vec<_>>(),
        "merged": counts.merged,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::audit::Detail;
    use symbolon_proto::id::BrokerId;
    use symbolon_proto::log::Entry;

    use super::*;
    use crate::dialect::vault::call::object;
    use crate::dialect::vault::fields::Fields;

    fn fields(body: Value) -> Fields {
        Fields::new(object(body))
    }

    #[test]
    fn a_query_becomes_a_filter_and_a_range() {
        let query = fields(json!({
            "action": Action::SecretRead.as_str(), "outcome": Outcome::Denied.as_str(), "path": "secret/data/",
            "since": "2024-02-29T12:34:56Z", "limit": "5", "newest_first": "false", "from": "7",
        }));
        let filter = parse_filter(&query.reader()).unwrap();
        assert_eq!((filter.action, filter.outcome), (Some(Action::SecretRead), Some(Outcome::Denied)));
        assert_eq!(
            (filter.since_ms, filter.path_prefix.as_deref()),
            (Some(1_709_210_096_000), Some("secret/data/"))
        );
        let range = parse_range(&query.reader()).unwrap();
        assert_eq!(range, Range { from: 7, until: u64::MAX, newest_first: false, limit: 5 });
        let newest = parse_range(&fields(json!({})).reader()).unwrap();
        assert_eq!((newest.newest_first, newest.limit), (true, 100));
        for wrong in [json!({"action": "Fly"}), json!({"outcome": "x"}), json!({"since": "yesterday"})] {
            assert!(parse_filter(&fields(wrong).reader()).is_err());
        }
    }

    #[test]
    fn entries_show_their_detail_or_that_it_does_not_open() {
        let entry = Entry {
            index: 3,
            time_ms: 1_709_210_096_000,
            action: Action::SecretRead,
            outcome: Outcome::Allowed,
            broker: BrokerId::from_bytes([1; 16]),
            detail: vec![1],
        };
        let detail =
            Detail { caller: "ci".into(), path: "secret/data/x".into(), version: 2, ..Detail::default() };
        let rest = Range { from: 0, until: 3, newest_first: true, limit: 1 };
        let page =
            Page { found: vec![Found { entry: entry.clone(), detail: Some(detail) }], rest: Some(rest) };
        let facts = page_facts(&page);
        assert_eq!(facts["next"], json!({"from": 0, "until": 3}));
        assert_eq!(
            (&facts["entries"][0]["caller"], &facts["entries"][0]["readable"]),
            (&json!("ci"), &json!(true))
        );
        let closed = page_facts(&Page { found: vec![Found { entry, detail: None }], rest: None });
        assert_eq!((&closed["entries"][0]["readable"], &closed["next"]), (&json!(false), &Value::Null));
    }
}
