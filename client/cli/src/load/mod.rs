//! Load on a broker, as many controllers make it together: the same secrets read again and again over TLS.
//!
//! ```text
//! machine.rs      what this runs on, and what a process costs
//! stage.rs        a fragment service and a broker as processes of their own, in a temporary directory
//! endpoint.rs     one keep-alive connection: TLS and the least HTTP/1.1 that works
//! requests.rs     which secret has which path and value
//! drive.rs        fill, then read
//! times.rs        how long requests took
//! report.rs       what came out, in words
//! ```
//!
//! The generator shares the machine with the broker, so it does as little as possible: prepared requests, one
//! thread, no JSON. It still looks at every answer: status, length, and the beginning of the value that
//! belongs to the path. That every read left a durable entry is checked against the size in the signed
//! checkpoint of the log.

mod drive;
mod endpoint;
pub mod machine;
pub mod report;
mod requests;
pub mod stage;
mod times;

use crate::operator::Operator;
use symbolon::{Error, Method};

pub use self::drive::{Target, run};
pub use self::endpoint::{Endpoint, EndpointError};
pub use self::requests::SECRETS_MAX;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Secrets to write before reading, at most [`SECRETS_MAX`].
    pub secrets: u32,
    /// Bytes of each secret's one value.
    pub value_bytes: usize,
    /// Connections, each with one request under way at any time.
    pub connections: usize,
    /// Seconds of reading that count, in each round; one more before them does not.
    pub seconds: u64,
    /// Rounds of reading. On a machine that others use as well, the quiet ones tell more than the rest.
    pub rounds: u32,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine: directory, process, socket, thread.
    #[error("the machine did not give what the load needs")]
    Machine(#[from] std::io::Error),
    /// Certificates of the stage.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// The broker's address or certificate.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A call that prepares the load.
    #[error("a call before the load failed")]
    Call(#[from] Error),
    /// A process of the stage ended or said no.
    #[error("{what} failed; its last words: {words}")]
    Process {
        /// Which.
        what: &'static str,
        /// End of its output.
        words: String,
    },
    /// Something took too long.
    #[error("{what} did not come about within {} s", stage::PATIENCE.as_secs())]
    Late {
        /// What.
        what: &'static str,
    },
    /// A secret could not be written.
    #[error("writing secret {index} was answered with status {status}")]
    Fill {
        /// Which secret.
        index: u32,
        /// HTTP status.
        status: u16,
    },
    /// Nobody waits for the result any more.
    #[error("the load was interrupted")]
    Interrupted,
    /// The log's checkpoint is not one.
    #[error("the broker's checkpoint has no size")]
    Checkpoint,
}

/// Entries in the log, as its signed checkpoint says. Whether the signature holds is for `symbolon audit
/// verify`.
async fn log_size(client: &Operator) -> Result<u64, LoadError> {
    let note = client.public(Method::GET, "log/checkpoint").limit(4096).send().await?;
    let text = std::str::from_utf8(note.body()).map_err(|_| LoadError::Checkpoint)?;
    text.lines().nth(1).and_then(|size| size.parse().ok()).ok_or(LoadError::Checkpoint)
}
