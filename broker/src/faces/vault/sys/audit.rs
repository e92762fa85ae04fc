//! `sys/symbolon/audit`: searching the audit log. Ours, not Vault's.
//!
//! Without parameters it gives the newest entries, each as the one canonical event
//! (`docs/audit-events.md`). `next` in the answer holds the `from` and `until` with which to go on; it is
//! null when the whole range has been looked at, also if that found nothing. With `count` it gives no events,
//! and `fitting` says how many there would be.

use serde_json::{Value, json};
use symbolon_core::audit::{Action, Outcome};
use symbolon_core::event::Event;

use crate::audit::index::tallying::{Counted, Often};
use crate::audit::log::{Filter, Page, Range};
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

/// What a stretch of the log comes to. `minimum` is the first entry that was not pruned, `next` as in a
/// search.
pub(super) async fn report(call: Call<'_>) -> Answer {
    let read = call.fields.reader();
    let filter =
        Filter { since_ms: read.time_ms("since")?, until_ms: read.time_ms("before")?, ..Filter::default() };
    let range = (read.count("from")?.unwrap_or(0), read.count("until")?.unwrap_or(u64::MAX));
    let counted = audit::report(&call.who(), &filter, range).await?;
    Ok(call.request.envelope("system", counted_facts(&counted), &read).into_reply())
}

fn counted_facts(Counted { tally, rest, minimum }: &Counted) -> Value {
    let kind = |((action, outcome), requests): (&(Action, Outcome), &u64)| json!({ "type": action.as_str(), "outcome": outcome.as_str(), "requests": requests });
    let often = |(name, often): (&String, &Often)| json!({ "name": name, "requests": often.requests, "denied": often.denied });
    let login = |((path, claimed), requests): (&(String, String), &u64)| json!({ "path": path, "claimed": claimed, "requests": requests });
    let list = |values: Vec<Value>| Value::Array(values);
    json!({
        "entries": tally.entries,
        "first": tally.span.map(|(first, _)| first),
        "last": tally.span.map(|(_, last)| last),
        "kinds": list(tally.kinds.iter().map(kind).collect()),
        "callers": list(tally.callers.iter().map(often).collect()),
        "paths": list(tally.paths.iter().map(often).collect()),
        "refused_logins": list(tally.logins.iter().map(login).collect()),
        "minimum": minimum,
        "next": rest.map(|(from, until)| json!({ "from": from, "until": until })),
    })
}

pub(in crate::faces) fn parse_filter(read: &Reader<'_>) -> Result<Filter, FaceError> {
    let actions = read.string("action")?.map(|names| parse_actions(&names));
    let outcome = read.string("outcome")?.map(|name| {
        Outcome::from_name(&name).ok_or(FaceError::Invalid("\"outcome\" must be allowed, denied or failed"))
    });
    Ok(Filter {
        actions: actions.transpose()?.unwrap_or_default(),
        outcome: outcome.transpose()?,
        since_ms: read.time_ms("since")?,
        until_ms: read.time_ms("before")?,
        caller: read.string("caller")?,
        accessor: read.string("accessor")?,
        path_prefix: read.string("path")?,
        path: read.string("path_exactly")?,
        request_id: read.string("request_id")?,
    })
}

fn parse_actions(names: &str) -> Result<Vec<Action>, FaceError> {
    let wrong = FaceError::Invalid(
        "\"action\" is not the name of an action, such as secret-read, or several with commas between them",
    );
    names.split(',').map(|name| Action::from_name(name.trim())).collect::<Option<_>>().ok_or(wrong)
}

fn parse_range(read: &Reader<'_>) -> Result<Range, FaceError> {
    Ok(Range {
        from: read.count("from")?.unwrap_or(0),
        until: read.count("until")?.unwrap_or(u64::MAX),
        newest_first: read.bool("newest_first")?.unwrap_or(true),
        limit: read.limit("limit")?.unwrap_or(LIMIT_DEFAULT),
        counts_only: read.bool("count")?.unwrap_or(false),
    })
}

fn page_facts(page: &Page) -> Value {
    let next = page.rest.map(|rest| json!({ "from": rest.from, "until": rest.until }));
    let events: Vec<_> =
        page.found.iter().map(|found| Event::of(&found.entry, found.detail.as_ref())).collect();
    json!({ "events": events, "fitting": page.fitting, "next": next })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::audit::Detail;
    use symbolon_proto::id::BrokerId;
    use symbolon_proto::log::Entry;

    use super::*;
    use crate::audit::log::Found;
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
        assert_eq!((filter.actions, filter.outcome), (vec![Action::SecretRead], Some(Outcome::Denied)));
        assert_eq!(
            (filter.since_ms, filter.path_prefix.as_deref()),
            (Some(1_709_210_096_000), Some("secret/data/"))
        );
        let range = parse_range(&query.reader()).unwrap();
        assert_eq!(
            range,
            Range { from: 7, until: u64::MAX, newest_first: false, limit: 5, counts_only: false }
        );
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
        let rest = Range { from: 0, until: 3, newest_first: true, limit: 1, counts_only: false };
        let page = Page {
            found: vec![Found { entry: entry.clone(), detail: Some(detail) }],
            fitting: 1,
            rest: Some(rest),
        };
        let facts = page_facts(&page);
        assert_eq!(facts["next"], json!({"from": 0, "until": 3}));
        assert_eq!(
            (&facts["events"][0]["actor"]["name"], &facts["events"][0]["unreadable"]),
            (&json!("ci"), &Value::Null)
        );
        let closed = page_facts(&Page { found: vec![Found { entry, detail: None }], fitting: 1, rest: None });
        assert_eq!((&closed["events"][0]["unreadable"], &closed["next"]), (&json!(true), &Value::Null));
    }
}
