//! Why a call gave no answer, sorted by what the caller should do next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::refusal::Refusal;
use crate::token::TokenError;

/// A cause that another library gave. Shared, so that callers who waited for one login get one error.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a call gave no answer. Each variant says what to do next.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing there, and the broker itself says so: it is open, it knows the caller, and it
    /// answered 404 in its own form. A proxy's 404 is [`Error::Foreign`], a sealed broker's silence is
    /// [`Error::Unavailable`]; so this one may be acted upon.
    #[error("not found")]
    Absent(Refusal),
    /// Ask the broker's operator for a policy, or use other credentials.
    #[error("permission denied")]
    Denied(Refusal),
    /// Try again later; nothing is known about what was asked for.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Somebody else wrote first: read again, and decide again.
    #[error("somebody else wrote this secret first{0}")]
    Conflict(Refusal),
    /// Correct the request.
    #[error("the broker refused the request{0}")]
    Invalid(Refusal),
    /// Tell the broker's operator: it has a problem of its own.
    #[error("the broker failed{0}")]
    Failed(Refusal),
    /// Do not send it anything: the server's certificate was not accepted.
    #[error("the certificate of the server is not trusted")]
    Untrusted(#[source] Cause),
    /// Check the address, and what stands between here and the broker: no broker answers like this.
    #[error("the answer is not what a broker sends: {expected} was expected")]
    Foreign {
        /// What should have been there.
        expected: &'static str,
    },
    /// Ask for less at once.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Correct the type, or what was written there: the secret exists, and is not of this form.
    #[error("the secret and the type {wanted} do not have the same form")]
    Shape {
        /// The type that was asked for or given.
        wanted: &'static str,
    },
    /// Correct the path.
    #[error("a path has no empty, `.` or `..` segments, no control characters, and at most 1024 bytes")]
    Path,
    /// Correct the settings of this client.
    #[error(transparent)]
    Configuration(#[from] Configuration),
    /// Refuse whoever presented this token.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Why the broker cannot be asked now.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// Its custodians have not opened it.
    #[error("the broker is sealed")]
    Sealed(Refusal),
    /// It serves, but not this: typically its fragment service is missing, or there were too many attempts.
    #[error("the broker cannot serve this now{0}")]
    Refused(Refusal),
    /// Nobody listens there, or the connection broke.
    #[error("the broker cannot be reached")]
    Unreachable(#[source] Cause),
    /// No answer in time.
    #[error("the broker did not answer in time")]
    Timeout,
}

/// What is wrong with the settings of a client.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Configuration {
    /// The address is not a URL of ours.
    #[error("the address is not an http(s) URL with a host")]
    Address,
    /// Plain HTTP beyond this machine would carry tokens readably.
    #[error("plain HTTP is refused beyond this machine")]
    PlainHttp,
    /// An https address, a library built without `tls`, and no HTTP client of the caller's.
    #[error("this library is built without its feature `tls`, and was given no HTTP client that has TLS")]
    NoTls,
    /// The CA file cannot be read.
    #[error("cannot read the CA file {path}")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The CA file holds no certificate.
    #[error(
        "the CA file {path} holds no PEM certificate; if it is DER, `openssl x509 -inform der` turns it into PEM"
    )]
    CaEmpty {
        /// Which file.
        path: PathBuf,
    },
    /// The HTTP client could not be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] Cause),
    /// A token that cannot be sent.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A file with a token or with evidence for one cannot be read.
    #[error("cannot read the token file {path}")]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
}

/// Why a workload token that another presented does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It is not a signed access token at all.
    #[error("this is not a workload token")]
    Malformed,
    /// The broker publishes no such key.
    #[error("the token names a key that the broker does not publish")]
    UnknownKey,
    /// Somebody else signed it, or changed it.
    #[error("the signature of the token does not hold")]
    Signature,
    /// Its time is over, or has not come.
    #[error("the token is not valid at this time")]
    Expired,
    /// It is for another service.
    #[error("the token was made for another audience")]
    Audience,
    /// It comes from another issuer.
    #[error("the token was made by another issuer")]
    Issuer,
}

impl Error {
    /// Whether the same call may succeed later without anybody changing it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// How long the broker asked to wait, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable(Unavailable::Sealed(refusal) | Unavailable::Refused(refusal)) => {
                refusal.retry_after()
            }
            _ => None,
        }
    }

    /// Sorts a refusal by what the caller must do about it.
    pub(crate) fn from_refusal(refusal: Refusal) -> Self {
        match refusal.status() {
            401 | 403 => Self::Denied(refusal),
            404 if !refusal.is_ours() => Self::Foreign { expected: "a 404 in the form of the API" },
            404 => Self::Absent(refusal),
            503 if refusal.says("is sealed") => Unavailable::Sealed(refusal).into(),
            429 | 502 | 503 | 504 => Unavailable::Refused(refusal).into(),
            409 | 412 => Self::Conflict(refusal),
            400 if refusal.says("check-and-set parameter did not match") => Self::Conflict(refusal),
            400..=499 => Self::Invalid(refusal),
            500..=599 => Self::Failed(refusal),
            // Redirects are not followed: a token would go with them.
            _ => Self::Foreign { expected: "success or a refusal" },
        }
    }

    /// Sorts a transport error. URLs are dropped from it: a path may name a secret.
    pub(crate) fn from_transport(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Unavailable::Timeout.into();
        }
        #[cfg(feature = "tls")]
        if let Some(problem) = tls_problem(&error) {
            return Self::Untrusted(Arc::new(crate::untrusted::Why(problem)));
        }
        Unavailable::Unreachable(Arc::new(error.without_url())).into()
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        Configuration::Token(error).into()
    }
}

/// Finds the TLS library's own error in the chain of an HTTP error.
#[cfg(feature = "tls")]
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

    fn refuse(status: u16, body: &str) -> Error {
        Error::from_refusal(Refusal::read(status, None, body.as_bytes()))
    }

    fn said(status: u16, text: &str) -> Error {
        refuse(status, &serde_json::json!({ "errors": [text] }).to_string())
    }

    #[test]
    fn sealed_is_told_from_unavailable() {
        assert!(matches!(said(503, "Vault is sealed"), Error::Unavailable(Unavailable::Sealed(_))));
        let missing = said(503, "a key fragment is unavailable");
        assert!(matches!(missing, Error::Unavailable(Unavailable::Refused(_))));
    }

    #[test]
    fn a_lost_race_is_told_from_bad_input() {
        let text = "check-and-set parameter did not match the current version";
        assert!(matches!(said(400, text), Error::Conflict(_)));
        assert!(matches!(said(400, "no data provided"), Error::Invalid(_)));
    }

    #[test]
    fn absence_is_only_what_the_broker_itself_says() {
        assert!(matches!(refuse(404, r#"{"errors":[]}"#), Error::Absent(_)));
        let spring =
            r#"{"timestamp":"2026-01-01T00:00:00Z","status":404,"error":"Not Found","path":"/v1/x"}"#;
        let page = "<html><h1>404 Not Found</h1></html>";
        for proxy in [page, "", "404 page not found\n", "{}", r#"{"message":"x"}"#, spring] {
            assert!(matches!(refuse(404, proxy), Error::Foreign { .. }), "{proxy}");
        }
    }

    #[test]
    fn a_redirect_is_not_an_answer() {
        assert!(matches!(refuse(307, ""), Error::Foreign { .. }));
    }

    #[test]
    fn a_hostile_server_cannot_steer_the_terminal() {
        let text = said(400, "\u{1b}]0;owned\u{7}\u{1b}[2J1 error occurred:\n\t* no").to_string();
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(said(400, &"x".repeat(10_000)).to_string().len() < 600);
    }
}
