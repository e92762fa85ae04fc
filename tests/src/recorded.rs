//! Calls that were recorded from OpenBao 2.6.2, made again in their order: what imitates another system is
//! held against that system.
//!
//! Compared are statuses, and of answers the names, the types and every value that does not depend on chance.
//! Texts of errors and warnings are each system's own. What we answer otherwise stands in
//! `docs/openbao-differences.md` with its reason, and nothing stands there that is not so.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::site::{CALM, Got, Site};

const RECORDING: &str = include_str!("../data/openbao.json");
const DIFFERENCES: &str = include_str!("../../docs/openbao-differences.md");

/// A recorded call.
#[derive(Deserialize)]
struct Call {
    area: String,
    method: String,
    path: String,
    status: u16,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A kept token; without the member it is the root token, with `null` none.
    #[serde(default = "root")]
    token: Option<String>,
    #[serde(default)]
    answer: Option<Value>,
    /// What later calls need of the answer, and where it is.
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

fn root() -> Option<String> {
    Some("root".to_owned())
}

/// A row of the page: some calls, some differences.
struct Row {
    calls: Vec<&'static str>,
    differences: Vec<&'static str>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_call_is_answered_alike_or_the_difference_is_documented() {
    let found = replay(&Site::open(CALM).await).await;
    let rows: Vec<Row> = DIFFERENCES.lines().filter_map(row).collect();
    let covers = |row: &Row, (call, difference): &(String, String)| {
        let is_one_of = |patterns: &[&str], text| patterns.iter().any(|pattern| fits(pattern, text));
        is_one_of(&row.calls, call) && is_one_of(&row.differences, difference)
    };
    let unexplained: Vec<String> = found
        .iter()
        .filter(|found| !rows.iter().any(|row| covers(row, found)))
        .map(|(call, difference)| format!("{call}: {difference}"))
        .collect();
    assert!(unexplained.is_empty(), "{} without a reason:\n{}", unexplained.len(), unexplained.join("\n"));
    let mut stale = Vec::new();
    for row in &rows {
        for pattern in &row.differences {
            let one = Row { calls: row.calls.clone(), differences: vec![pattern] };
            if !found.iter().any(|found| covers(&one, found)) {
                stale.push(format!("{:?} {pattern}", row.calls));
            }
        }
    }
    assert!(stale.is_empty(), "no longer so:\n{}", stale.join("\n"));
}

/// `| calls | differences | reason |`, each call and difference in backticks.
fn row(line: &'static str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect();
    let first = line.split(" | ").next()?;
    Some(Row { calls: quoted(first), differences: quoted(cells.get(1)?) })
}

/// Whether a text is as a pattern says; `*` is anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Makes all calls. What was answered otherwise: the call and the difference.
async fn replay(site: &Site) -> Vec<(String, String)> {
    let calls: Vec<Call> = serde_json::from_str(RECORDING).unwrap();
    let mut kept = BTreeMap::from([("root".to_owned(), site.root.clone())]);
    let mut found = Vec::new();
    for call in calls {
        let got = ask(site, &call, &kept).await;
        let ours = if got.text.is_empty() { Value::Null } else { got.json() };
        for (name, at) in &call.keep {
            let value = ours.pointer(&format!("/{}", at.replace('.', "/")));
            kept.insert(name.clone(), value.and_then(Value::as_str).unwrap_or_default().to_owned());
        }
        let mut differences = Vec::new();
        if got.status != call.status {
            differences.push(format!("status {} for {}", got.status, call.status));
        } else if let Some(theirs) = call.answer.as_ref().filter(|answer| answer.get("_raw").is_none()) {
            compare("", theirs, &ours, &mut differences);
        }
        let name = format!("{} {} {}", call.area, call.method, call.path);
        found.extend(differences.into_iter().map(|difference| (name.clone(), difference)));
    }
    found
}

async fn ask(site: &Site, call: &Call, kept: &BTreeMap<String, String>) -> Got {
    let filled = |text: String| {
        kept.iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    };
    let mut request = site.request(&call.method, &format!("v1/{}", filled(call.path.clone())));
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    // A name that was not kept is a bad token on purpose.
    if let Some(token) = &call.token {
        request = request.header("X-Vault-Token", kept.get(token).unwrap_or(token));
    }
    if call.path.contains("/../") {
        return site.send_raw(&call.method, &format!("/v1/{}", call.path), &site.root).await;
    }
    let body = call.body.as_ref().map(|body| filled(body.to_string())).unwrap_or_default();
    site.send(request.body(body)).await
}

fn compare(at: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => compare_members(at, theirs, ours, found),
        (Value::Array(theirs), Value::Array(ours)) => compare_items(at, theirs, ours, found),
        _ if kind(theirs) != kind(ours) => found.push(format!("{at}: {} for {}", kind(ours), kind(theirs))),
        _ if is_chance(at, theirs) => {
            let is_empty = |value: &Value| value.as_str().is_some_and(str::is_empty);
            if is_empty(ours) != is_empty(theirs) {
                found.push(format!("{at}: {}", if is_empty(ours) { "empty" } else { "not empty" }));
            }
        }
        _ if theirs != ours => found.push(format!("{at}: {ours} for {theirs}")),
        _ => {}
    }
}

fn compare_members(
    at: &str,
    theirs: &Map<String, Value>,
    ours: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for (name, theirs) in theirs {
        match ours.get(name) {
            Some(ours) => compare(&below(name), theirs, ours, found),
            None => found.push(format!("{}: absent", below(name))),
        }
    }
    let added = ours.keys().filter(|name| !theirs.contains_key(*name));
    found.extend(added.map(|name| format!("{}: added", below(name))));
}

fn compare_items(at: &str, theirs: &[Value], ours: &[Value], found: &mut Vec<String>) {
    let is_text = matches!(at, "errors" | "warnings");
    let chance = theirs.iter().all(|item| is_chance(at, item)) && !theirs.is_empty();
    match () {
        () if is_text && theirs.is_empty() == ours.is_empty() => {}
        () if chance && theirs.len() == ours.len() => {}
        () if theirs == ours => {}
        () => found.push(format!("{at}: {} for {}", Value::from(ours), Value::from(theirs))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Whether every run has another value: identifiers, tokens, moments and what remains until one.
fn is_chance(at: &str, value: &Value) -> bool {
    const NAMES: [&str; 14] = [
        "request_id",
        "accessor",
        "uuid",
        "client_token",
        "token",
        "id",
        "entity_id",
        "secret_id",
        "role_id",
        "secret_id_accessor",
        "ttl",
        "modified",
        "creation_time",
        "lease_id",
    ];
    let name = at.rsplit('.').next().unwrap_or_default();
    let text = value.as_str().unwrap_or_default();
    let is_moment = text.len() >= 20 && text.as_bytes()[4] == b'-' && text.contains('T');
    let is_identifier = text.len() >= 24 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    NAMES.contains(&name) || is_moment || is_identifier
}

#[test]
fn patterns_fit_what_they_say() {
    assert!(fits("a", "a") && !fits("a", "ab") && !fits("a", ""));
    assert!(fits("a*c", "abbc") && fits("*", "") && fits("*x*", "axb") && !fits("a*c", "abcd"));
}
