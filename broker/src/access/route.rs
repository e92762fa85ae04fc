//! The path that a request stands for, derived from what will be done.
//!
//! An operation is handed what it will do: a mount and a name below it, a policy, a token. It derives the
//! path that policies judge from the same values, and no operation takes a path beside them. So what is
//! judged and what is done can never be two things, whichever dialect asks: a face cannot pass one path on
//! and another target. Its own path is compared with the derived one ([`super::Request::begin`]), and a
//! request in which they differ does nothing.
//!
//! A path that somebody asked for becomes a route by itself only where it is the whole request: for what is
//! mounted nowhere, and for what is malformed. Only this room can do that.

use std::fmt::Display;

use symbolon_core::path::ApiPath;

use super::Asker;
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

    /// The path, as policies see it, for somebody who must have asked for the same one. A face that routes to
    /// another operation than its path says is a mistake of ours: nothing is done then.
    pub(crate) fn path_for(&self, who: &Asker<'_>) -> Result<ApiPath, OpError> {
        let path = ApiPath::from_decoded(&self.0)
            .map_err(|_| OpError::invalid("the path is too long or malformed"))?;
        match who.asked {
            Some(asked) if asked.as_str() != path.as_str() => {
                debug_assert!(false, "asked for {asked}, derived {path}");
                Err(OpError::INTEGRITY)
            }
            _ => Ok(path),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::access::mounts::builtin;

    #[test]
    fn what_is_below_a_mount_lies_below_its_path() {
        let mount = builtin("team/x", "any");
        for (route, path) in [
            (Route::below(Side::Secrets, &mount, "data/a"), "team/x/data/a"),
            (Route::below(Side::Logins, &mount, "role/a"), "auth/team/x/role/a"),
            (Route::system("mounts/a"), "sys/mounts/a"),
            (Route::tokens("create"), "auth/token/create"),
            (Route::whole(&ApiPath::parse("a/b/").unwrap()), "a/b"),
        ] {
            assert_eq!(route.0, path);
        }
    }
}
