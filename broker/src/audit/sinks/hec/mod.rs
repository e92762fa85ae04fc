//! Splunk's HTTP Event Collector: objects one after the other, a token, and an answer with a code.
//!
//! Where the token asks for indexer acknowledgement, an answer has an `ackId`, and lines count as taken when
//! the collector says so of it. The channel that this needs is made once and sent with every request;
//! collectors without acknowledgement ignore it.
//!
//! ```text
//! pending.rs   what has left, and is not said to be indexed
//! ```

mod pending;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand_core::Rng as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::pending::Pending;
use super::client::{Answer, Caller, Endpoint};
use super::{Connecting, Kind, Line, Peer, Sending, Sent, Settling, Sink, SinkError};
use crate::random::os_rng;

const EVENTS: &str = "/services/collector/event";
const COLLECTOR: &str = "/services/collector";
const JSON: &str = "application/json";
/// Between two questions whether lines are indexed, as Splunk's documents advise at most.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The descriptor.
pub static KIND: Kind = Kind {
    name: "hec",
    parse: |raw, patience| {
        let (endpoint, settings) = Endpoint::read::<Settings>(raw, patience)?;
        let (endpoint, settings) = (endpoint.or_path(EVENTS), Arc::new(settings));
        Ok(Box::new(HecSink { endpoint, settings, channel: channel(), pending: Arc::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The first line of this file is the token.
    token_file: PathBuf,
    /// Index of Splunk; the token's own if it is not given.
    index: Option<String>,
    #[serde(default = "source")]
    source: String,
    #[serde(default = "sourcetype")]
    sourcetype: String,
    /// Shown as the host.
    host: Option<String>,
}

fn source() -> String {
    "symbolon".to_owned()
}

fn sourcetype() -> String {
    "symbolon:audit".to_owned()
}

struct HecSink {
    endpoint: Endpoint,
    settings: Arc<Settings>,
    channel: String,
    pending: Arc<Pending>,
}

impl Sink for HecSink {
    fn connect(&self) -> Connecting<'_> {
        let (settings, pending) = (Arc::clone(&self.settings), Arc::clone(&self.pending));
        Box::pin(async move {
            let caller = self.endpoint.client("Splunk ", Some(&settings.token_file)).await?;
            let caller = caller.with("x-splunk-request-channel", &self.channel);
            Ok(Box::new(HecPeer { caller, settings, pending }) as Box<dyn Peer>)
        })
    }
}

/// A GUID by chance.
fn channel() -> String {
    let mut bytes = [0; 16];
    os_rng().fill_bytes(&mut bytes);
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

struct HecPeer {
    caller: Caller,
    settings: Arc<Settings>,
    pending: Arc<Pending>,
}

impl Peer for HecPeer {
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        Box::pin(async move {
            // what was sent before a failure is asked for first, and not sent again
            if let [lines @ .., last] = self.pending.unsent(lines) {
                self.post(lines, last).await?;
            }
            Ok(Sent { underway: !self.pending.is_empty(), ..Sent::default() })
        })
    }

    fn settle(self: Box<Self>) -> Settling {
        Box::pin(async move {
            let settled = self.wait().await;
            let is_late = self.pending.age() >= self.caller.patience().index;
            // so it says that it does not know the channel, after it was begun anew
            let is_unknown = matches!(settled, Err(SinkError::Refused { status: 400, .. }));
            if settled.is_ok() || is_late || is_unknown {
                self.pending.clear();
            }
            settled
        })
    }
}

impl HecPeer {
    /// All of them in one request.
    async fn post(&self, lines: &[Line], last: &Line) -> Result<(), SinkError> {
        let answer = self.caller.post(JSON, body(lines, last, &self.settings).into_bytes()).await?;
        let told: Option<Told> = answer.json();
        let code = told.as_ref().and_then(|told| told.code);
        if answer.status != 200 || code != Some(0) {
            return Err(answer.refused("200 with code 0", code));
        }
        if let Some(id) = told.and_then(|told| told.ack_id) {
            self.pending.add(id, &last.hash);
        }
        Ok(())
    }

    /// Until everything that has left is indexed.
    async fn wait(&self) -> Result<(), SinkError> {
        let after = self.caller.patience().index;
        loop {
            let ids = self.pending.ids();
            if ids.is_empty() {
                return Ok(());
            }
            let asked = json!({ "acks": ids }).to_string().into_bytes();
            let answer = self.caller.post_at(&acks(self.caller.path()), JSON, asked).await?;
            if answer.status != 200 {
                return Err(answer.refused("200", code(&answer)));
            }
            let told: Option<Value> = answer.json();
            let acks = told.as_ref().and_then(|told| told.get("acks"));
            self.pending
                .indexed(|id| acks.and_then(|acks| acks.get(id.to_string())?.as_bool()) == Some(true));
            if self.pending.ids().is_empty() {
                return Ok(());
            }
            if self.pending.age() >= after {
                return Err(SinkError::Silent { what: "acknowledge that lines are indexed", after });
            }
            sleep(ASK_EVERY.min(after / 4)).await;
        }
    }
}

/// Where a collector is asked whose events go to `path`: beside them, whatever stands before.
fn acks(path: &str) -> String {
    match path.rsplit_once(COLLECTOR) {
        Some((before, _)) => format!("{before}{COLLECTOR}/ack"),
        None => format!("{}/ack", path.rsplit_once('/').map_or("", |(before, _)| before)),
    }
}

/// `{"text":"Success","code":0}`, and `"ackId":1` where lines are acknowledged.
#[derive(Deserialize)]
struct Told {
    code: Option<i64>,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
}

fn code(answer: &Answer) -> Option<i64> {
    answer.json::<Told>().and_then(|told| told.code)
}

fn body(lines: &[Line], last: &Line, settings: &Settings) -> String {
    lines.iter().chain([last]).map(|line| event(line, settings)).collect::<Vec<_>>().join("\n")
}

/// One object with its metadata. Fields can be searched for without reading the event.
fn event(line: &Line, settings: &Settings) -> String {
    let mut about = json!({
        "source": settings.source,
        "sourcetype": settings.sourcetype,
        "fields": { "symbolon_index": line.index.to_string(), "symbolon_hash": line.hash },
    });
    for (name, value) in [("index", &settings.index), ("host", &settings.host)] {
        if let (Some(value), Some(about)) = (value, about.as_object_mut()) {
            about.insert(name.to_owned(), value.as_str().into());
        }
    }
    let time = format!("{}.{:03}", line.time_ms / 1000, line.time_ms % 1000);
    let begin = format!("{{\"time\":{time},\"event\":{},", line.text);
    about.to_string().replacen('{', &begin, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_asked_for_beside_the_events() {
        for (events, asked) in [
            (EVENTS, "/services/collector/ack"),
            ("/services/collector", "/services/collector/ack"),
            ("/splunk/services/collector/event/1.0", "/splunk/services/collector/ack"),
            ("/hec/event", "/hec/ack"),
        ] {
            assert_eq!(acks(events), asked);
        }
    }
}
