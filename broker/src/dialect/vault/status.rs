//! Statuses of answers.
//!
//! Of these, 404 alone makes clients act: the External Secrets Operator deletes what it holds of a secret
//! that is answered so. It can therefore be had only with the proof that something is absent.

use hyper::StatusCode;

use crate::error::Absent;

/// The status of an answer: 404 only of what is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(StatusCode);

impl Status {
    /// 200.
    pub const OK: Self = Self(StatusCode::OK);
    /// 202.
    pub const ACCEPTED: Self = Self(StatusCode::ACCEPTED);
    /// 204.
    pub const NO_CONTENT: Self = Self(StatusCode::NO_CONTENT);
    /// 400.
    pub const BAD_REQUEST: Self = Self(StatusCode::BAD_REQUEST);
    /// 403.
    pub const FORBIDDEN: Self = Self(StatusCode::FORBIDDEN);
    /// 405.
    pub const METHOD_NOT_ALLOWED: Self = Self(StatusCode::METHOD_NOT_ALLOWED);
    /// 408.
    pub const REQUEST_TIMEOUT: Self = Self(StatusCode::REQUEST_TIMEOUT);
    /// 413.
    pub const PAYLOAD_TOO_LARGE: Self = Self(StatusCode::PAYLOAD_TOO_LARGE);
    /// 415.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    /// 429.
    pub const TOO_MANY_REQUESTS: Self = Self(StatusCode::TOO_MANY_REQUESTS);
    /// 500.
    pub const INTERNAL_SERVER_ERROR: Self = Self(StatusCode::INTERNAL_SERVER_ERROR);
    /// 503.
    pub const SERVICE_UNAVAILABLE: Self = Self(StatusCode::SERVICE_UNAVAILABLE);

    /// 404.
    #[must_use]
    pub const fn of_absent(_: Absent) -> Self {
        Self(StatusCode::NOT_FOUND)
    }

    /// The one that a caller of `sys/health` wants to see, for a probe that looks at nothing else; `None` if
    /// it is none that an answer can have.
    #[must_use]
    pub fn chosen_for_health(code: u64) -> Option<Self> {
        let code = u16::try_from(code).ok().filter(|code| (200..=599).contains(code))?;
        StatusCode::from_u16(code).ok().map(Self)
    }

    /// As HTTP has it.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        self.0
    }

    /// Its number.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        self.0.as_u16()
    }

    /// Whether it says that all went well.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.0.is_success()
    }
}
