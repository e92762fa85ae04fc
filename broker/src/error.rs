//! Why an operation gave no answer: eleven kinds, by who must act.
//!
//! This file knows nobody. Every `From` stands beside its source, and a face maps eleven kinds to its dialect
//! in one match that no engine changes. Texts are ours: what was expected, what was found, who must act.
//! Never a secret, never what a caller sent.

use std::borrow::Cow;
use std::fmt;

/// One of our own texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// A fixed one.
    #[must_use]
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text of a more precise error.
    #[must_use]
    pub fn of(error: &impl fmt::Display) -> Self {
        Self(Cow::Owned(error.to_string()))
    }

    /// The words, if they are fixed. Only these enter the log, where a longer text could carry names.
    #[must_use]
    pub const fn words(&self) -> Option<&'static str> {
        match self.0 {
            Cow::Borrowed(words) => Some(words),
            Cow::Owned(_) => None,
        }
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Why the broker holds no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The store holds no deployment yet.
    #[error("the broker is not initialised; an operator must run `symbolon operator init`")]
    Uninitialised,
    /// Custodians have not given their shares.
    #[error("the broker is sealed; custodians must submit their shares with `symbolon operator unseal`")]
    Sealed,
    /// It may not open, or has just sealed itself.
    #[error("{0}")]
    ByItself(Text),
}

/// What a known caller may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No policy allows it.
    #[error("permission denied")]
    ByPolicy,
    /// No mount there, or none that the caller may see: one answer for both.
    #[error(
        "preflight capability check returned 403, please ensure client's policies grant access to this path"
    )]
    Invisible,
}

/// That something is truly not there: looked for on an open broker whose keys open, for a caller who may
/// know.
///
/// Clients delete what they hold when they are told so, and a face needs one of these to tell it. Only
/// `access/request.rs` makes them, from a request that a policy allows; `clippy.toml` bans
/// [`Absent::witnessed`] elsewhere. A mount, an engine or a route that is missing is no absence: nobody has
/// looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not found")]
pub struct Absent(());

impl Absent {
    /// What was looked for is not there.
    #[must_use]
    pub const fn witnessed() -> Self {
        Self(())
    }
}

/// Who has to wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Everybody: too much waits already.
    #[error("the broker is busy; retry in a second")]
    Broker,
    /// This source only.
    #[error("{0}")]
    Source(Text),
    /// Whoever asks for the same, for a time that is known.
    #[error("{text}")]
    Until {
        /// What is used up, and who can give more.
        text: Text,
        /// Seconds from now.
        secs: u32,
        /// Whether everybody has to wait, whatever they have asked for so far.
        all: bool,
    },
}

/// Why an operation gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The broker holds no keys: its custodians or its operator.
    #[error("{0}")]
    Sealed(Closed),
    /// Something that this broker needs does not answer: the operator of the other side, whom the text names.
    #[error("{0}")]
    Unavailable(Text),
    /// Nobody knows who asks: the caller, with other credentials.
    #[error("{0}")]
    Unauthenticated(Text),
    /// The caller is known and may not: whoever writes its policies.
    #[error("{0}")]
    Denied(Denied),
    /// Unsealed, authorised, and truly absent.
    #[error("{0}")]
    Absent(#[from] Absent),
    /// Somebody else changed the same thing first: the caller reads again and retries.
    #[error("{0}")]
    Conflict(Text),
    /// Too much at once: the caller waits.
    #[error("{0}")]
    Busy(Busy),
    /// The request is wrong: the caller changes it.
    #[error("{0}")]
    Invalid(Text),
    /// The request is right, and cannot be now or for this caller; the text says what must come first.
    #[error("{0}")]
    Refused(Text),
    /// What is stored or was computed is not as it must be: the broker's operator.
    #[error("{0}")]
    Damaged(Text),
    /// The log cannot be written, or nobody knows whether it was: the broker's operator looks after the
    /// store.
    #[error("{0}")]
    Unlogged(Text),
}

impl OpError {
    /// Custodians must act.
    pub const SEALED: Self = Self::Sealed(Closed::Sealed);
    /// An operator must initialise.
    pub const UNINITIALISED: Self = Self::Sealed(Closed::Uninitialised);
    /// No token, or one that is unknown, expired or malformed. Deliberately one answer for all.
    pub const BAD_TOKEN: Self = Self::Unauthenticated(Text::fixed("permission denied"));
    /// A token named in the request, not the caller's own, is not one.
    pub const BAD_TOKEN_NAMED: Self = Self::Unauthenticated(Text::fixed("bad token"));
    /// No policy allows it.
    pub const DENIED: Self = Self::Denied(Denied::ByPolicy);
    /// No mount there, or none that the caller may see.
    pub const INVISIBLE: Self = Self::Denied(Denied::Invisible);
    /// Nothing answers there. No absence: see [`Absent`].
    pub const NO_ROUTE: Self = Self::invalid(
        "no handler for route: no secrets engine or login method is mounted there, or it has no such path; check the spelling, and sys/mounts and sys/auth",
    );
    /// Somebody else was first.
    pub const CONFLICT: Self =
        Self::Conflict(Text::fixed("the item changed meanwhile; read it again and retry"));
    /// Everybody has to wait.
    pub const BUSY: Self = Self::Busy(Busy::Broker);
    /// A stored row does not open or parse although its key is here.
    pub const INTEGRITY: Self = Self::Damaged(Text::fixed(
        "a stored record failed its integrity check; run `symbolon audit verify` and restore from backup",
    ));
    /// The log cannot be written, so nothing may be disclosed.
    pub const UNLOGGED: Self =
        Self::Unlogged(Text::fixed("the audit log cannot be written; the request was refused"));

    /// The caller's input is wrong; the text says what was expected.
    #[must_use]
    pub const fn invalid(text: &'static str) -> Self {
        Self::Invalid(Text::fixed(text))
    }

    /// It cannot be now, or for this caller; the text says what must come first.
    #[must_use]
    pub const fn refused(text: &'static str) -> Self {
        Self::Refused(Text::fixed(text))
    }

    /// A key could not be made. Nothing stored is touched by that, so no backup helps.
    #[must_use]
    pub const fn no_key_made() -> Self {
        Self::Unavailable(Text::fixed(
            "a new key could not be generated; nothing was changed: check the memory and randomness of this machine and retry",
        ))
    }

    /// A step that only a bug makes fail: no caller can avoid it, and no backup helps. `what` says what
    /// happened, such as "the seal record could not be encoded"; who must act is added.
    #[must_use]
    pub fn bug(what: &'static str) -> Self {
        Self::Damaged(Text(Cow::Owned(format!(
            "{what}, although nothing was wrong with the request; nothing was changed: report this with the broker's log"
        ))))
    }

    /// Seconds after which to ask again, if that is known.
    #[must_use]
    pub const fn retry_secs(&self) -> Option<u32> {
        match self {
            Self::Busy(Busy::Until { secs, .. }) => Some(*secs),
            _ => None,
        }
    }

    /// Fixed words for the log; an error's own text may be long.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Absent(_) => "absent",
            Self::Invalid(text) | Self::Refused(text) => text.words().unwrap_or("refused"),
            Self::Conflict(_) => "changed by somebody else meanwhile",
            Self::Unavailable(_) => "a key fragment or another service is unavailable",
            Self::Damaged(_) => "integrity check failed",
            Self::Sealed(_) => "sealed",
            Self::Unauthenticated(_) => "not authenticated",
            Self::Denied(_) => "denied",
            Self::Busy(_) => "busy",
            Self::Unlogged(_) => "the log cannot be written",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_says_who_must_act_and_sends_nobody_to_a_backup() {
        let text = OpError::bug("the seal record could not be encoded").to_string();
        assert_eq!(
            text,
            "the seal record could not be encoded, although nothing was wrong with the request; \
             nothing was changed: report this with the broker's log"
        );
        assert!(!OpError::no_key_made().to_string().contains("backup"));
    }
}
