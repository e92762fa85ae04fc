//! Why lines do not arrive.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::fetch::FetchError;

/// Why lines do not arrive. What a peer says is not in any text: it may repeat what it was sent.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file of a credential, an authority, or the one that lines go to.
    #[error("the file {path} cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in a file is not what it should be.
    #[error("the file {path} holds no {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// No connection.
    #[error("there is no connection: {0}")]
    Unreachable(String),
    /// The peer is somebody else than was expected.
    #[error("the certificate is not accepted: {0}")]
    Certificate(String),
    /// The peer is silent.
    #[error("it did not {what} within {} ms", after.as_millis())]
    Silent {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The connection ended with lines on their way.
    #[error("the connection ended before the lines were taken: {0}")]
    Broken(String),
    /// The peer answers, and does not take the lines.
    #[error("it answered {status} where {expected} was expected{}", code.map(|code| format!(", with code {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// What was expected.
        expected: &'static str,
        /// The protocol's own number for why.
        code: Option<i64>,
    },
}

/// What failed, in words that anyone may read: the status shows them without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A file on this machine.
    File,
    /// No connection.
    Unreachable,
    /// Somebody else answers.
    Certificate,
    /// Nobody answers.
    Silent,
    /// It ended too early.
    Broken,
    /// They are not taken.
    Refused,
    /// The broker itself.
    Broker,
}

impl Fault {
    /// What failed, and who must act.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::File => "a file of it cannot be read or written; the broker's log names it",
            Self::Unreachable => "there is no connection to it",
            Self::Certificate => {
                "its certificate is not accepted: give the authority that signed it in ca_file, and the name that it is made for"
            }
            Self::Silent => "it does not answer in time",
            Self::Broken => "its connections end before lines are taken",
            Self::Refused => "it answers, and does not take lines; the broker's log says with which number",
            Self::Broker => "the broker could not read its log, or write its store",
        }
    }
}

impl SinkError {
    /// What of it anyone may know.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::File { .. } | Self::Content { .. } => Fault::File,
            Self::Unreachable(_) => Fault::Unreachable,
            Self::Certificate(_) => Fault::Certificate,
            Self::Silent { .. } => Fault::Silent,
            Self::Broken(_) => Fault::Broken,
            Self::Refused { .. } => Fault::Refused,
        }
    }

    /// Of a connection that could not be made.
    #[must_use]
    pub fn of_connect(error: &std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls @ rustls::Error::InvalidCertificate(_)) => Self::Certificate(tls.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }

    /// Of an HTTP client.
    #[must_use]
    pub fn of_request(error: reqwest::Error, patience: Duration) -> Self {
        if error.is_timeout() {
            return Self::Silent { what: "answer", after: patience };
        }
        match FetchError::from(error) {
            FetchError::Unreachable { why: crate::fetch::Obstacle::Certificate, source } => {
                Self::Certificate(last_cause(&source))
            }
            FetchError::Unreachable { source, .. } => Self::Unreachable(last_cause(&source)),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// What began it. Texts before it have the address, with what an operator may have written into it.
fn last_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = None;
    let mut next = error.source();
    while let Some(cause) = next {
        (last, next) = (Some(cause), cause.source());
    }
    last.map_or_else(|| "no cause is known".to_owned(), ToString::to_string)
}
