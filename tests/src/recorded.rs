//! Calls that were recorded from OpenBao 2.6, made again: what imitates another system is held against that
//! system.
//!
//! Compared are statuses, and of answers what the recording kept: data, lease, renewable. Texts of errors are
//! theirs.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::site::Site;

/// A recorded call.
#[derive(Deserialize)]
struct Call {
    method: String,
    path: String,
    status: u16,
    body: Option<Value>,
    #[serde(default)]
    answer: Map<String, Value>,
}

/// Where we differ on purpose: method, path, our status, and members of the answer that are not compared.
pub type Differences<'a> = &'a [(&'a str, &'a str, u16, &'a [&'a str])];

/// Makes the calls in their order as root.
pub async fn replay(site: &Site, recording: &str, differs: Differences<'_>) {
    let calls: Vec<Call> = serde_json::from_str(recording).unwrap();
    for call in calls {
        let name = format!("{} {}", call.method, call.path);
        let differs = differs.iter().find(|(method, path, ..)| call.method == *method && call.path == *path);
        let (status, skip) = differs.map_or((call.status, &[][..]), |(_, _, status, skip)| (*status, *skip));
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let got = site.ask(&call.method, &call.path, &site.root, &body).await;
        assert_eq!(got.status, status, "{name}: {}", got.text);
        let wanted: Map<String, Value> =
            call.answer.into_iter().filter(|(member, _)| !skip.contains(&member.as_str())).collect();
        if !wanted.is_empty() {
            compare(&name, "", &Value::Object(wanted), &got.json());
        }
    }
}

/// Every member that was recorded is there, and the same unless it is a moment. Objects may have more, lists
/// may not.
fn compare(call: &str, at: &str, wanted: &Value, got: &Value) {
    match wanted {
        Value::Object(members) => {
            for (name, wanted) in members {
                compare(call, &format!("{at}/{name}"), wanted, &got[name]);
            }
        }
        _ if at.ends_with("_time") => assert_eq!(got.is_string(), wanted.is_string(), "{call}: {at}"),
        wanted => assert_eq!(got, wanted, "{call}: {at}"),
    }
}
