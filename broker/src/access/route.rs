//! The path that a request stands for, derived from what will be done.
//!
//! An operation is handed what it will do: a mount and a name below it, a policy, a token. It derives the path that policies
//! judge from the same values, and no operation takes a path beside them. So what is judged and what is done can never be two
//! things, whichever dialect asks: a face cannot pass one path on and another target. Its own path is compared with the
//! derived one ([`super::Request::begin`]), and a request in which they differ does nothing.
//!
//! A path that somebody asked for becomes a route by itself only where it is the whole request: for what is mounted nowhere,
//! and for what is malformed. Only this room can do that.

use std::fmt::Display;

use symbolon_core::path::ApiPath;

use super::mounts::{Mount, Side};
use crate::error::OpError;

/// A derived path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(String);

impl Route {
    /// Something of the system: a path below `sys/`.
    #[must_use]
    pub fn system(rest: impl Display) -> Self {
        Self(format!("sys/{rest}"))
    }

    /// Something below a mount.
    #[must_use]
    pub fn below(side: Side, mount: &Mount, rest: impl Display) -> Self {
        match side {
            Side::Secrets => Self(format!("{}/{rest}", mount.path)),
            Side::Logins => Self(format!("auth/{}/{rest}", mount.path)),
        }
    }

    /// Something of the tokens, whose mount every deployment has at the same place.
    #[must_use]
    pub fn tokens(rest: impl Display) -> Self {
        Self(format!("auth/token/{rest}"))
    }

    /// A path that is the whole request.
    pub(super) fn whole(path: &ApiPath) -> Self {
        Self(path.as_str().to_owned())
    }

    /// As policies see it.
    pub(super) fn path(&self) -> Result<ApiPath, OpError> {
        ApiPath::from_decoded(&self.0).map_err(|_| OpError::invalid("the path is too long or malformed"))
    }
}
