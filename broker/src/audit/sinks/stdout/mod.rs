//! Lines on standard output, for whatever collects what a container prints. The log of the process is on
//! standard error.

use std::io::Write as _;
use std::path::Path;

use serde::Deserialize;

use super::threads::on_thread;
use super::{Connecting, Kind, Line, Patience, Peer, Sending, Sent, Sink, SinkError};

/// The descriptor.
pub static KIND: Kind = Kind {
    name: "stdout",
    parse: |raw, patience| {
        let Settings {} = raw.parse()?;
        Ok(Box::new(StdoutSink(patience)))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct StdoutSink(Patience);

impl Sink for StdoutSink {
    fn connect(&self) -> Connecting<'_> {
        let patience = self.0;
        Box::pin(async move { Ok(Box::new(StdoutPeer(patience)) as Box<dyn Peer>) })
    }
}

struct StdoutPeer(Patience);

impl Peer for StdoutPeer {
    /// A pipe takes bytes and does not say that somebody has them.
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a> {
        let text: String = lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
        let bound = ("read what is printed", self.0.answer);
        Box::pin(async move {
            let write = move || {
                let mut out = std::io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(|error| SinkError::Broken(error.to_string()))
            };
            on_thread(Path::new("/dev/stdout"), bound, write).await.map(|()| Sent::default())
        })
    }
}
