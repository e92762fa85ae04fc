//! Where entries of the log are sent: one folder for each kind of sink, and what all of them have in common.
//!
//! ```text
//! file/ stdout/ syslog/ otlp/ hec/ http/   the kinds; a line each in `SINKS`
//! client.rs    what kinds have in common that speak HTTP
//! files.rs     credentials and authorities, read when a connection is made
//! lines.rs     an entry as a line: names keyed or plain, the event's own form or Vault's
//! cursor.rs    how far a sink has come: a row of its own
//! threads.rs   work on files, which may hang
//! journal.rs   what is known of all sinks, sealed or not
//! error.rs     why lines do not arrive
//! ```
//!
//! A kind knows nothing of the log: it gets lines in order, at most [`BATCH_BYTES`] at once, and says when
//! its peer has them. `upkeep::sinks` reads the log, counts, waits and tries again.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::config::{AuditConfig, Raw, SinkConfig};
use crate::rows::Table;

mod client;
pub mod cursor;
pub mod error;
mod file;
mod files;
mod hec;
mod http;
pub mod journal;
pub mod lines;
mod otlp;
mod stdout;
mod syslog;
mod threads;

pub use error::SinkError;
pub use lines::Line;

/// Every kind of sink there is.
pub static SINKS: &[&Kind] =
    &[&file::KIND, &stdout::KIND, &syslog::KIND, &otlp::KIND, &hec::KIND, &http::KIND];

/// Tables of this room.
pub const TABLES: &[Table] = &[cursor::CURSORS];

/// Most bytes of lines that are sent together; one line may be as long as all of it.
pub const BATCH_BYTES: usize = 256 << 10;
/// Most lines that are sent together.
pub const BATCH_LINES: usize = 256;

/// A sink as its settings say it, or what is wrong with them.
pub type Parsed = Result<Box<dyn Sink>, String>;

/// A kind of sink.
pub struct Kind {
    /// What it is called in a configuration.
    pub name: &'static str,
    /// Reads its settings.
    pub parse: fn(&Raw, Patience) -> Parsed,
}

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// To take what is written, or to answer.
    pub answer: Duration,
    /// To index lines that it has answered for, where it acknowledges that.
    pub index: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            index: Duration::from_secs(300),
        }
    }
}

/// A connection that is being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Peer>, SinkError>> + Send + 'a>>;
/// Lines on their way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Sent, SinkError>> + Send + 'a>>;
/// The end of a connection.
pub type Settling = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;

/// A sink as it is configured.
pub trait Sink: Send + Sync {
    /// Whoever takes lines. Files of credentials are read now.
    fn connect(&self) -> Connecting<'_>;
}

/// A connection, a file, or what else takes lines in order.
pub trait Peer: Send {
    /// Gives it lines. After an error, or if the future is dropped, it is not used again.
    fn send<'a>(&'a mut self, lines: &'a [Line]) -> Sending<'a>;

    /// Waits until the peer has everything that was [`Sent::underway`]. The connection is over then.
    fn settle(self: Box<Self>) -> Settling {
        Box::pin(async { Ok(()) })
    }
}

/// What became of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// They have left, and only [`Peer::settle`] tells whether they arrived.
    pub underway: bool,
    /// How many the peer has taken note of and will not keep.
    pub rejected: u64,
}

/// The sink of a configuration.
pub fn parse(config: &SinkConfig, patience: Patience) -> Parsed {
    let kind = SINKS.iter().find(|kind| kind.name == config.kind);
    let kind = kind.ok_or_else(|| {
        let names: Vec<&str> = SINKS.iter().map(|kind| kind.name).collect();
        format!("there is no such kind; there are {}", names.join(", "))
    })?;
    (kind.parse)(&config.rest, patience)
}

/// A sink in the configuration that there cannot be.
#[derive(Debug, thiserror::Error)]
#[error("the sink {name} of kind {kind} in [[audit.sinks]] is not valid: {why}")]
pub struct Unsound {
    name: String,
    kind: String,
    why: String,
}

/// That every sink of a configuration is one. Nothing is connected to.
pub fn check(config: &AuditConfig) -> Result<(), Unsound> {
    config.sinks.iter().try_for_each(|sink| {
        let unsound = |why| Unsound { name: sink.name.clone(), kind: sink.kind.clone(), why };
        parse(sink, Patience::default()).map_err(unsound)?;
        let others = config.sinks.iter().filter(|other| other.name != sink.name);
        match file::shared(sink, others) {
            true => {
                Err(unsound("another sink writes to its path, or to one of its rotated files".to_owned()))
            }
            false => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Config, SMALL};

    fn checked(sinks: &str) -> Result<usize, String> {
        let config = Config::parse(&format!("{SMALL}\n{sinks}")).map_err(|error| error.to_string())?;
        let audit = &config.lives.now().audit;
        check(audit).map(|()| audit.sinks.len()).map_err(|error| error.to_string())
    }

    /// Every example, and the sample of a configuration.
    #[test]
    fn what_the_documents_show_of_sinks_is_taken() {
        let page = include_str!("../../../../docs/audit-sinks.md");
        let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        assert_eq!(examples.clone().map(|example| checked(example).unwrap()).sum::<usize>(), SINKS.len() + 1);
        for example in examples {
            let commented = example.replace("\n# ", "\n");
            checked(&commented).unwrap_or_else(|why| panic!("{why}: {commented}"));
        }
        for kind in SINKS {
            assert!(page.contains(&format!("kind = \"{}\"", kind.name)), "{}", kind.name);
        }
        let sample = include_str!("../../../../deploy/broker.toml");
        let (_, sample) = sample.split_once("# [[audit.sinks]]").unwrap();
        let sample = sample.split("\n\n").next().unwrap().replace("\n# ", "\n");
        assert_eq!(checked(&format!("[[audit.sinks]]{sample}")), Ok(1));
    }

    #[test]
    fn a_sink_that_cannot_be_says_what_is_wrong_and_never_more() {
        for (settings, wanted) in [
            ("kind = \"kafka\"", "there are file, stdout, syslog, otlp, hec, http"),
            ("kind = \"file\"", "path"),
            ("kind = \"file\"\npath = \"x\"", "absolute"),
            ("kind = \"file\"\npath = \"/x\"\nrotate_mib = 0", "rotate_mib"),
            (
                "kind = \"file\"\npath = \"/x/a\"\n[[audit.sinks]]\nname = \"b\"\nkind = \"file\"\npath = \"/x//a\"",
                "another sink",
            ),
            (
                "kind = \"file\"\npath = \"/x/a.12\"\n[[audit.sinks]]\nname = \"b\"\nkind = \"file\"\npath = \"/x/a\"",
                "another sink",
            ),
            ("kind = \"stdout\"\npath = \"/x\"", "path"),
            ("kind = \"otlp\"\nurl = \"http://logs.example\"", "https://"),
            ("kind = \"http\"\nurl = \"logs.example\"", "not an address"),
            ("kind = \"http\"\nurl = \"https://ana:hvs@x.example\"", "belongs into a file"),
            ("kind = \"http\"\nurl = \"https://x.example\"\ntoken = \"hvs\"", "unknown field `token`"),
            ("kind = \"http\"\nurl = \"https://x.example\"\ncert_file = \"/x\"", "belong together"),
            ("kind = \"hec\"\nurl = \"https://x.example\"", "token_file"),
        ] {
            let why = checked(&format!("[[audit.sinks]]\nname = \"a\"\n{settings}")).unwrap_err();
            assert!(why.contains(wanted) && !why.contains("hvs"), "{settings}: {why}");
        }
    }
}
