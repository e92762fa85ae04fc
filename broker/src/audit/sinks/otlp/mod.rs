//! OTLP logs over HTTP, in its JSON encoding: OpenTelemetry collectors, OpenObserve, Loki, Splunk by way of a
//! collector.
//!
//! The encoding is written here and not by the crates of OpenTelemetry. The one message that is needed has a
//! dozen members and takes forty lines, its JSON form is stable by specification (OTLP 1.0, "JSON Protobuf
//! Encoding"), and the official Python package reads it in a test. `opentelemetry-proto` 0.33 with serde is
//! 40 crates, 10 of them new here (`opentelemetry-otlp`: 49 and 12), with an SDK whose processors keep a
//! queue of their own: what a cursor needs to know of a batch stays in there.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_core::audit::Outcome;

use super::client::{Answer, Caller, Endpoint};
use super::{Connecting, Kind, Line, Peer, Sending, Sent, Sink};

const PATH: &str = "/v1/logs";

/// The descriptor.
pub static KIND: Kind = Kind {
    name: "otlp",
    parse: |raw, patience| {
        let (endpoint, settings) = Endpoint::read::<Settings>(raw, patience)?;
        Ok(Box::new(OtlpSink { endpoint: endpoint.or_path(PATH), settings: Arc::new(settings) }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The first line of this file is the whole header `Authorization`.
    authorization_file: Option<PathBuf>,
    /// The attribute `service.name`.
    #[serde(default = "service")]
    service: String,
}

fn service() -> String {
    "symbolon".to_owned()
}

struct OtlpSink {
    endpoint: Endpoint,
    settings: Arc<Settings>,
}

impl Sink for OtlpSink {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let caller = self.endpoint.client("", self.settings.authorization_file.as_ref()).await?;
            Ok(Box::new(OtlpPeer { caller, settings: Arc::clone(&self.settings) }) as Box<dyn Peer>)
        })
    }
}

struct OtlpPeer {
    caller: Caller,
    settings: Arc<Settings>,
}

impl Peer for OtlpPeer {
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        let body = body(lines, &self.settings.service).to_string().into_bytes();
        Box::pin(async move {
            let answer = self.caller.post("application/json", body).await?;
            match answer.status {
                // 200 by the protocol; Loki answers 204
                200..=204 => Ok(Sent { rejected: rejected(&answer), ..Sent::default() }),
                _ => Err(answer.refused("200 to 204", None)),
            }
        })
    }
}

/// What a receiver has read and will not keep. It must not be sent again, says the protocol.
fn rejected(answer: &Answer) -> u64 {
    let told: Option<Value> = answer.json();
    let count = told.and_then(|told| told.get("partialSuccess")?.get("rejectedLogRecords").cloned());
    // A number of 64 bits is a text in this encoding, and not everybody writes it so.
    let count = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    count.unwrap_or(0)
}

/// One `ExportLogsServiceRequest`.
fn body(lines: &[Line], service: &str) -> Value {
    let records: Vec<Value> = lines.iter().map(record).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [text("service.name", service)] },
        "scopeLogs": [{
            "scope": { "name": "symbolon.audit", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }] })
}

fn record(line: &Line) -> Value {
    let nanos = line.time_ms.saturating_mul(1_000_000).to_string();
    let (number, severity) = match line.outcome {
        Outcome::Allowed => (9, "INFO"),
        Outcome::Denied => (13, "WARN"),
        Outcome::Failed => (10, "INFO2"),
    };
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": severity,
        "eventName": format!("symbolon.{}", line.action),
        "body": { "stringValue": line.text },
        "attributes": [
            text("log.record.uid", &line.hash),
            json!({ "key": "symbolon.index", "value": { "intValue": line.index.to_string() } }),
            text("symbolon.outcome", line.outcome.as_str()),
        ],
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}
