//! Lines as one JSON array in each request: what Cribl's HTTP source and OpenObserve's `_json` take, and what
//! is simple to receive.
//!
//! Any answer of 200 to 204 says that all were taken. OpenObserve says so in its body as well, stream by
//! stream, and what it counts as failed there is told.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::client::{Caller, Endpoint};
use super::{Connecting, Kind, Line, Peer, Sending, Sent, Sink};

/// The descriptor.
pub static KIND: Kind = Kind {
    name: "http",
    parse: |raw, patience| {
        let (endpoint, settings) = Endpoint::read::<Settings>(raw, patience)?;
        Ok(Box::new(HttpSink { endpoint, settings: Arc::new(settings) }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The first line of this file is the whole header `Authorization`, such as `Basic …` or a bare token.
    authorization_file: Option<PathBuf>,
    /// A member that is added to each object with its time.
    #[serde(default)]
    stamp: Stamp,
}

/// Where a receiver looks for the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Stamp {
    /// In the event's own `time`.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Cribl: seconds since the Unix epoch, with milliseconds.
    #[serde(rename = "_time")]
    Seconds,
    /// OpenObserve: microseconds since the Unix epoch.
    #[serde(rename = "_timestamp")]
    Micros,
}

struct HttpSink {
    endpoint: Endpoint,
    settings: Arc<Settings>,
}

impl Sink for HttpSink {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let caller = self.endpoint.client("", self.settings.authorization_file.as_ref()).await?;
            Ok(Box::new(HttpPeer { caller, stamp: self.settings.stamp }) as Box<dyn Peer>)
        })
    }
}

struct HttpPeer {
    caller: Caller,
    stamp: Stamp,
}

impl Peer for HttpPeer {
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        let body = body(lines, self.stamp).into_bytes();
        Box::pin(async move {
            let answer = self.caller.post("application/json", body).await?;
            match answer.status {
                200..=204 => Ok(Sent { rejected: answer.json().map_or(0, failed), ..Sent::default() }),
                _ => Err(answer.refused("200 to 204", None)),
            }
        })
    }
}

/// One array. Lines are objects, so a member is put in front of the first one.
fn body(lines: &[Line], stamp: Stamp) -> String {
    let object = |line: &Line| {
        let (seconds, millis) = (line.time_ms / 1000, line.time_ms % 1000);
        let member = match stamp {
            Stamp::None => return line.text.clone(),
            Stamp::Seconds => format!("{{\"_time\":{seconds}.{millis:03},"),
            Stamp::Micros => format!("{{\"_timestamp\":{},", line.time_ms.saturating_mul(1000)),
        };
        line.text.replacen('{', &member, 1)
    };
    format!("[{}]", lines.iter().map(object).collect::<Vec<_>>().join(","))
}

/// OpenObserve: `{"code":200,"status":[{"name":"audit","successful":2,"failed":0}]}`.
#[derive(Deserialize)]
struct Taken {
    #[serde(default)]
    status: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    failed: u64,
}

fn failed(taken: Taken) -> u64 {
    taken.status.iter().fold(0, |sum, stream| sum.saturating_add(stream.failed))
}
