//! Workload tokens: what the token endpoint accepts, what it gives, and which key signs it.
//!
//! ```text
//! form pairs ─ request::parse ─▶ TokenRequest ─ evidence verified by `identity` ─▶ VerifiedIdentity
//!      └─ WorkloadRule::grant ─▶ Granted ─ UnsignedToken::prepare ─▶ signing_input()
//!      └─ with_signature(..) ─▶ answer
//! ```
//!
//! Two shapes of request are accepted, token exchange (RFC 8693) and the jwt-bearer grant (RFC 7523), each
//! with one credential and one audience. The result is an `at+jwt` (RFC 9068) signed with ES256 that lives
//! for five minutes at most and never longer than its evidence. There are no refresh tokens, and nothing here
//! is delegation.

mod documents;
mod request;
mod schedule;
mod token;

use serde_json::{Value, json};

pub use documents::{JWKS_CACHE_CONTROL, discovery, jwks};
pub use request::{Shape, TokenRequest, evidence_is_for, parse};
pub use schedule::{KeyPolicy, SigningKey, published, signer, wants_new_key};
pub use token::{AccessToken, BadSignature, Granted, UnsignedToken};

pub use crate::workload::{RuleError, WorkloadRule};

/// Longest life of a workload token in seconds.
pub const TOKEN_SECS_MAX: u64 = 300;

/// Why the token endpoint refused, with the codes of RFC 6749 section 5.2 and RFC 8693 section 2.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// Malformed: a parameter is missing, repeated, contradictory or not understood.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The evidence is no good, or nobody admits it. One text for all reasons; the log knows which.
    #[error("the subject token or assertion is not accepted")]
    InvalidGrant,
    /// Neither of the two shapes.
    #[error("expected grant_type token-exchange or jwt-bearer")]
    UnsupportedGrantType,
    /// A scope that this workload may not have.
    #[error("a requested scope is malformed or not allowed")]
    InvalidScope,
    /// An audience that this workload may not address.
    #[error("the requested audience is malformed or not allowed")]
    InvalidTarget,
    /// Too many requests, or sealed.
    #[error("the issuer cannot sign at the moment; retry later")]
    TemporarilyUnavailable,
    /// A bug, or a damaged key.
    #[error("the issuer failed")]
    ServerError,
}

impl OAuthError {
    /// The `error` member of the answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TemporarilyUnavailable => 503,
            Self::ServerError => 500,
            _ => 400,
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({"error": self.code(), "error_description": self.to_string()})
    }
}

#[cfg(test)]
mod tests;
