//! What can go wrong in the Vault dialect, and the one place where it becomes a status and a text.
//!
//! Texts that clients match are in `docs/vault-dialect.md` and in the tests below. No text repeats anything
//! that the caller sent: the External Secrets Operator copies error bodies into Kubernetes events.

use std::borrow::Cow;

use symbolon_core::json::JsonError;
use symbolon_core::path::{NameError, PathError};
use symbolon_core::token::ParamsError;

use super::fields::FieldError;
use super::reply::Reply;
use super::status::Status;
use crate::error::{Busy, Closed, Denied, OpError};

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than allowed.
    TooLarge,
    /// It ended early.
    Cut,
    /// It took too long.
    TooSlow,
}

/// A refusal that the dialect itself makes, before or instead of any operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaceError {
    /// The path is not one.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A name in the path or body is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The body is not JSON within bounds.
    #[error("failed to parse JSON input: {0}")]
    Json(#[from] JsonError),
    /// The query or form does not decode, or has too many members.
    #[error("the query or form is malformed or has too many parameters")]
    Form,
    /// A field cannot be converted.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The `token_*` parameters contradict each other.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A required field is missing or wrong in a way that one of our texts explains.
    #[error("{0}")]
    Invalid(&'static str),
    /// A header was given twice, or is not text.
    #[error("the header {0} must be given once, as plain text")]
    Header(&'static str),
    /// A namespace other than the root.
    #[error("this server has only the root namespace; remove the X-Vault-Namespace header")]
    Namespace,
    /// Wrapping was asked for where the answer stands outside the envelope; answering unwrapped would break
    /// the caller's intent.
    #[error("the answers of this route cannot be wrapped; remove the X-Vault-Wrap-TTL header")]
    Wrapping,
    /// Wrapping in another format than ours.
    #[error("answers are wrapped behind tokens only; remove the X-Vault-Wrap-Format header")]
    WrapFormat,
    /// The wrap TTL does not parse.
    #[error("error parsing X-Vault-Wrap-TTL header: expected seconds or a duration such as 5m")]
    WrapTtl,
    /// The wrap TTL is negative.
    #[error("error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative")]
    WrapTtlNegative,
    /// The wrap TTL is longer than any lease.
    #[error("error parsing X-Vault-Wrap-TTL header: requested wrap ttl can be 32 days at most")]
    WrapTtlTooLong,
    /// `list` in the query is no boolean.
    #[error("the query parameter \"list\" must be a boolean")]
    ListFlag,
    /// The media type of a PATCH does not parse.
    #[error("the Content-Type of a PATCH must be application/merge-patch+json")]
    PatchTypeMissing,
    /// The media type of a PATCH is another one.
    #[error("the Content-Type of a PATCH must be application/merge-patch+json")]
    PatchType,
    /// The token cannot be one; the answer is that of an unknown token.
    #[error("permission denied")]
    TokenMalformed,
    /// The body did not arrive as a whole.
    #[error(
        "the request body must arrive within 30 seconds and have at most {} bytes",
        super::limits::BODY_BYTES_MAX
    )]
    Body(BodyError),
    /// The body is larger than what is read for somebody unknown.
    #[error(
        "a body of more than {} bytes needs a living token; where none is needed, {} bytes are the most",
        super::limits::UNKNOWN_BODY_BYTES_MAX,
        super::limits::OPEN_BODY_BYTES_MAX
    )]
    BodyOfUnknown,
    /// What the body says is more than is kept of anybody.
    #[error(
        "what a request says may have at most {} bytes, counted without escapes and white space",
        super::limits::SAID_BYTES_MAX
    )]
    SaysTooMuch,
    /// There was no memory for the body.
    #[error("other requests from this address, or from many, hold the memory for bodies; try again")]
    NoMemory,
    /// The route exists, but not for this method.
    #[error("1 error occurred:\n\t* unsupported operation\n\n")]
    Unsupported,
    /// `init` on a broker that has its deployment.
    #[error("Vault is already initialized")]
    Initialised,
    /// No secrets engine at the path of a `sys/mounts` call.
    #[error("No secret engine mount at the requested path")]
    NoMountEntry,
}

impl FaceError {
    /// Status of this refusal.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Path(_)
            | Self::Name(_)
            | Self::Json(_)
            | Self::Form
            | Self::Field(_)
            | Self::Invalid(_)
            | Self::Params(_)
            | Self::Header(_)
            | Self::Namespace
            | Self::Wrapping
            | Self::WrapFormat
            | Self::WrapTtl
            | Self::WrapTtlNegative
            | Self::WrapTtlTooLong
            | Self::ListFlag
            | Self::PatchTypeMissing
            | Self::Body(BodyError::Cut)
            | Self::Initialised
            | Self::NoMountEntry => Status::BAD_REQUEST,
            Self::TokenMalformed => Status::FORBIDDEN,
            Self::Unsupported => Status::METHOD_NOT_ALLOWED,
            Self::Body(BodyError::TooSlow) => Status::REQUEST_TIMEOUT,
            Self::Body(BodyError::TooLarge) | Self::BodyOfUnknown | Self::SaysTooMuch => {
                Status::PAYLOAD_TOO_LARGE
            }
            Self::NoMemory => Status::SERVICE_UNAVAILABLE,
            Self::PatchType => Status::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl From<BodyError> for FaceError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

/// Everything that a handler can answer instead of data.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Refused by the dialect.
    #[error(transparent)]
    Face(#[from] FaceError),
    /// Refused by the operation.
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<FieldError> for VaultError {
    fn from(error: FieldError) -> Self {
        Self::Face(error.into())
    }
}

impl From<PathError> for VaultError {
    fn from(error: PathError) -> Self {
        Self::Face(error.into())
    }
}

impl From<NameError> for VaultError {
    fn from(error: NameError) -> Self {
        Self::Face(error.into())
    }
}

impl VaultError {
    /// Status and texts; no text means `{"errors":[]}`, which clients read as "absent".
    #[must_use]
    pub fn parts(&self) -> (Status, Option<Cow<'static, str>>) {
        match self {
            Self::Face(error) => (error.status(), Some(error.to_string().into())),
            Self::Op(error) => op_parts(error),
        }
    }

    /// The answer to send.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let (status, text) = self.parts();
        let retry_secs = match &self {
            Self::Op(error) => error.retry_secs(),
            Self::Face(_) => None,
        };
        Reply { retry_secs, ..Reply::errors(status, text.as_deref()) }
    }
}

/// The one match from operations to Vault statuses and texts. Exhaustive on purpose: a new kind must be
/// placed.
fn op_parts(error: &OpError) -> (Status, Option<Cow<'static, str>>) {
    let own = || Some(Cow::Owned(error.to_string()));
    match error {
        OpError::Sealed(closed) => (Status::SERVICE_UNAVAILABLE, Some(closed_text(closed))),
        OpError::Unavailable(_) => (Status::SERVICE_UNAVAILABLE, own()),
        OpError::Unauthenticated(_) | OpError::Denied(Denied::Invisible) => (Status::FORBIDDEN, own()),
        OpError::Denied(Denied::ByPolicy) => {
            (Status::FORBIDDEN, Some("1 error occurred:\n\t* permission denied\n\n".into()))
        }
        OpError::Absent(absent) => (Status::of_absent(*absent), None),
        OpError::Busy(Busy::Broker | Busy::Until { all: true, .. }) => (Status::SERVICE_UNAVAILABLE, own()),
        OpError::Busy(Busy::Source(_) | Busy::Until { all: false, .. }) => (Status::TOO_MANY_REQUESTS, own()),
        OpError::Conflict(_) | OpError::Invalid(_) | OpError::Refused(_) => (Status::BAD_REQUEST, own()),
        OpError::Damaged(_) | OpError::Unlogged(_) => (Status::INTERNAL_SERVER_ERROR, own()),
    }
}

fn closed_text(closed: &Closed) -> Cow<'static, str> {
    match closed {
        Closed::Sealed => "Vault is sealed".into(),
        Closed::Uninitialised => "Vault is not initialized".into(),
        Closed::ByItself(text) => text.as_str().to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Absent;
    use crate::remote::FragmentProblem;

    fn check(error: OpError, status: u16, text: Option<&str>) {
        let (got_status, got_text) = VaultError::Op(error).parts();
        assert_eq!((got_status.as_u16(), got_text.as_deref()), (status, text));
    }

    #[test]
    fn texts_that_clients_match() {
        check(OpError::SEALED, 503, Some("Vault is sealed"));
        #[expect(clippy::disallowed_methods, reason = "its text is looked at, and nothing is told")]
        check(Absent::witnessed().into(), 404, None);
        check(OpError::BAD_TOKEN, 403, Some("permission denied"));
        assert_eq!(FaceError::Initialised.to_string(), "Vault is already initialized");
        assert_eq!(FaceError::Unsupported.to_string(), "1 error occurred:\n\t* unsupported operation\n\n");
        let (status, text) = VaultError::Op(OpError::NO_ROUTE).parts();
        assert_eq!(status, Status::BAD_REQUEST);
        assert!(text.is_some_and(|text| text.starts_with("no handler for route")));
        check(OpError::invalid("no data provided"), 400, Some("no data provided"));
    }

    /// Neither damage nor a lie of the other side, and the operator reads what to raise.
    #[test]
    fn no_memory_for_another_key_is_an_answer_to_retry() {
        use crate::keys::KeyError;
        let (status, text) = VaultError::Op(KeyError::Memory.into()).parts();
        assert_eq!(status, Status::SERVICE_UNAVAILABLE);
        assert!(text.is_some_and(|text| text.contains("RLIMIT_MEMLOCK")));
    }

    #[test]
    fn a_missing_fragment_is_never_absence() {
        for problem in [
            FragmentProblem::Silent,
            FragmentProblem::Suspended,
            FragmentProblem::Lied,
            FragmentProblem::Refused,
            FragmentProblem::Quota,
            FragmentProblem::NoCanary,
            FragmentProblem::LeaseEnded,
        ] {
            let (status, text) = VaultError::Op(problem.into()).parts();
            assert_eq!(status, Status::SERVICE_UNAVAILABLE);
            assert!(text.is_some());
        }
    }
}
