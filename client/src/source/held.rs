//! A token that is held, and how long it is good.

use std::time::Duration;

use tokio::time::Instant;

use crate::auth::Auth;
use crate::kept::Age;
use crate::token::Token;

/// A token younger than this that is refused has not ended: the caller lacks a permission. So permissions
/// that are missing cost the broker at most one login in this time.
const YOUNG: Duration = Duration::from_secs(10);

/// A token, since when we have it, and until when it is good.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Token,
    since: Instant,
    lifetime: Option<Duration>,
    is_renewable: bool,
    /// From here on it should be replaced; never, if none.
    due: Option<Instant>,
    ends: Option<Instant>,
}

impl Held {
    pub(super) fn fixed(token: Token, since: Instant) -> Self {
        Self { token, since, lifetime: None, is_renewable: false, due: None, ends: None }
    }

    /// It may be another one by then.
    pub(super) fn due_after(self, time: Duration) -> Self {
        Self { due: Some(self.since + time), ..self }
    }

    /// What a login or a renewal gave that was asked for at `asked`: its life is counted from there, which
    /// errs on the safe side. The longest lifetime so far is what further renewals are measured by.
    pub(super) fn issued(auth: Auth, asked: Instant, so_far: Option<Duration>) -> Self {
        let held = Self::fixed(auth.token, asked);
        if auth.lease_duration == 0 {
            return held; // it never ends
        }
        let lifetime = Duration::from_secs(auth.lease_duration);
        let longest = so_far.map_or(lifetime, |so_far| so_far.max(lifetime));
        let (due, ends) = (Some(asked + lifetime * 2 / 3), Some(asked + lifetime));
        Self { lifetime: Some(longest), is_renewable: auth.renewable, due, ends, ..held }
    }

    pub(super) fn age(&self, now: Instant) -> Age {
        let is_past = |moment: Option<Instant>| moment.is_some_and(|moment| now >= moment);
        match (is_past(self.ends), is_past(self.due)) {
            (true, _) => Age::Ended,
            (false, true) => Age::Due,
            (false, false) => Age::Good,
        }
    }

    /// Whether it cannot have ended yet. The broker counts in whole seconds, so half of a short life is not
    /// too careful.
    pub(super) fn is_young(&self, now: Instant) -> bool {
        let young = self.lifetime.map_or(YOUNG, |lifetime| YOUNG.min(lifetime / 2));
        now < self.since + young
    }

    /// The token and the lifetime that it was issued for, if it can be renewed.
    pub(super) fn renewable(&self) -> Option<(Token, Duration)> {
        self.lifetime.filter(|_| self.is_renewable).map(|lifetime| (self.token.clone(), lifetime))
    }
}
