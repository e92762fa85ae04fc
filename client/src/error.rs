//! Why a call gave no answer, and what to do next.

use std::fmt;
use std::path::PathBuf;

use crate::token::TokenError;

/// Messages kept of one refusal, and characters kept of each: enough for any of ours, little for a hostile server.
const MESSAGES_MAX: usize = 8;
const MESSAGE_CHARS_MAX: usize = 500;

/// Why a call gave no answer. [`Error::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not a URL of ours.
    #[error("the address is not an http(s) URL with a host")]
    Address,
    /// Plain HTTP beyond this machine would carry tokens readably.
    #[error("plain HTTP is refused beyond this machine")]
    PlainHttp,
    /// The CA file cannot be read.
    #[error("cannot read the CA file {path}")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The CA file holds no certificate.
    #[error("the CA file {path} holds no PEM certificate")]
    CaEmpty {
        /// Which file.
        path: PathBuf,
    },
    /// The TLS library could not be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// A token that cannot be sent.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A file with a token or proof cannot be read.
    #[error("cannot read the token file {path}")]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A path that no broker accepts.
    #[error("a path has no empty, `.` or `..` segments, no control characters, and at most 1024 bytes")]
    Path,
    /// Nobody listens there, or the connection broke.
    #[error("the broker cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The server's certificate was not accepted.
    #[error("the certificate of the server is not trusted")]
    Untrusted(#[source] rustls::Error),
    /// No answer in time.
    #[error("the broker did not answer in time")]
    Timeout,
    /// An answer larger than the bound.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The answer is not what the interface says.
    #[error("the answer is not what a broker sends: {expected} was expected")]
    Protocol {
        /// What should have been there.
        expected: &'static str,
    },
    /// 403: no token, a bad one, or no permission.
    #[error("permission denied")]
    Denied(Refusal),
    /// 404: truly absent, or no such route.
    #[error("not found")]
    NotFound(Refusal),
    /// 503 because custodians have not unsealed it.
    #[error("the broker is sealed")]
    Sealed,
    /// 503 for another reason, typically that the fragment service is missing; or 429, 502, 504.
    #[error("the broker cannot serve this now{0}")]
    Unavailable(Refusal),
    /// 400 because a check-and-set did not match.
    #[error("somebody else wrote this secret first{0}")]
    Conflict(Refusal),
    /// 400 and other 4xx.
    #[error("the broker refused the request{0}")]
    Invalid(Refusal),
    /// 5xx.
    #[error("the broker failed{0}")]
    Failed(Refusal),
}

/// Status and messages of a refusal, bounded and free of control characters so that they can be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    messages: Vec<String>,
}

impl Refusal {
    pub(crate) fn new(status: u16, messages: &[String]) -> Self {
        let clean = |text: &String| -> String {
            let one_line = text.replace(['\n', '\t'], " ");
            let shown = one_line.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX);
            shown.collect::<String>().trim().to_owned()
        };
        Self { status, messages: messages.iter().take(MESSAGES_MAX).map(clean).collect() }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the server said.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    fn says(&self, text: &str) -> bool {
        self.messages.iter().any(|message| message.contains(text))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.messages.is_empty() {
            return write!(out, " (status {})", self.status);
        }
        write!(out, ": {}", self.messages.join("; "))
    }
}

impl Error {
    /// Sorts a refusal by what the caller must do about it.
    pub(crate) fn from_refusal(refusal: Refusal) -> Self {
        match refusal.status {
            401 | 403 => Self::Denied(refusal),
            404 => Self::NotFound(refusal),
            503 if refusal.says("is sealed") => Self::Sealed,
            429 | 502 | 503 | 504 => Self::Unavailable(refusal),
            409 | 412 => Self::Conflict(refusal),
            400 if refusal.says("check-and-set parameter did not match") => Self::Conflict(refusal),
            400..=499 => Self::Invalid(refusal),
            _ => Self::Failed(refusal),
        }
    }

    /// Sorts a transport error. URLs are dropped from it: a path may name a secret.
    pub(crate) fn from_transport(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match tls_problem(&error) {
            Some(problem) => Self::Untrusted(problem),
            None => Self::Unreachable(error.without_url()),
        }
    }

    /// What to do next, in one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address => "give it as https://host:port, with --address or SYMBOLON_ADDR",
            Self::PlainHttp => "use https:// and give the CA with --ca-cert or SYMBOLON_CACERT",
            Self::CaFile { .. } | Self::CaEmpty { .. } => {
                "--ca-cert and SYMBOLON_CACERT name a PEM file with the certificate that signed the broker's"
            }
            Self::Setup(_) => "check that the CA file holds certificates, and report this if it does",
            Self::Token(_) => "log in again with `symbolon login`, or check SYMBOLON_TOKEN",
            Self::TokenFile { .. } => "check that the file exists and that this user may read it",
            Self::Path => "write the path as team/service/name, without slashes at the start",
            Self::Unreachable(_) => {
                "check that the broker runs and that SYMBOLON_ADDR names its host and port"
            }
            Self::Untrusted(_) => {
                "if this is your broker, give its CA with --ca-cert or SYMBOLON_CACERT; \
                 if it was trusted before, do not send it anything"
            }
            Self::Timeout => {
                "check the network between here and the broker, or give more time with --timeout"
            }
            Self::TooLarge { .. } => "ask for less at once",
            Self::Protocol { .. } => {
                "check that SYMBOLON_ADDR names a Symbolon broker and not a proxy's error page"
            }
            Self::Denied(_) => {
                "log in with `symbolon login`, or ask for a policy that allows this (`symbolon token lookup`)"
            }
            Self::NotFound(_) => "check the spelling of mount and path (`symbolon kv list`)",
            Self::Sealed => "custodians must give their shares with `symbolon operator unseal`",
            Self::Unavailable(_) => {
                "see `symbolon operator status`; if the remote is suspended, its operator must resume it"
            }
            Self::Conflict(_) => {
                "read the current version with `symbolon kv get` and write again with its number as --cas"
            }
            Self::Invalid(_) => "see the message above; `symbolon <command> --help` shows what is expected",
            Self::Failed(_) => {
                "see the broker's log; a full disk or a damaged store stops it before anything is lost"
            }
        }
    }
}

/// Finds the TLS library's own error in the chain of an HTTP error.
fn tls_problem(error: &(dyn std::error::Error + 'static)) -> Option<rustls::Error> {
    if let Some(problem) = error.downcast_ref::<rustls::Error>() {
        return Some(problem.clone());
    }
    // An io::Error's source() skips the error that it wraps, and here one wraps another.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let inside = wrapped.and_then(|inner| tls_problem(inner));
    inside.or_else(|| error.source().and_then(tls_problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(status: u16, text: &str) -> Error {
        Error::from_refusal(Refusal::new(status, &[text.to_owned()]))
    }

    #[test]
    fn sealed_is_told_from_unavailable() {
        assert!(matches!(refuse(503, "Vault is sealed"), Error::Sealed));
        assert!(matches!(refuse(503, "a key fragment is unavailable"), Error::Unavailable(_)));
    }

    #[test]
    fn a_lost_race_is_told_from_bad_input() {
        let text = "check-and-set parameter did not match the current version";
        assert!(matches!(refuse(400, text), Error::Conflict(_)));
        assert!(matches!(refuse(400, "no data provided"), Error::Invalid(_)));
    }

    #[test]
    fn a_hostile_server_cannot_steer_the_terminal() {
        let error = refuse(400, "\u{1b}]0;owned\u{7}\u{1b}[2J1 error occurred:\n\t* no");
        let text = error.to_string();
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(refuse(400, &"x".repeat(10_000)).to_string().len() < 600);
    }
}
