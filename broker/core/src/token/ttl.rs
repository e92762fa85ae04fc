//! How long a token lives: Vault's rules.
//!
//! A periodic token gets its period at every renewal, bounded by the explicit maximum only. Any other token
//! gets the first of: what was asked, what the role says, the mount's default; and never lives beyond its
//! issue plus the smallest maximum that applies. What is cut is told in a warning.

use std::fmt;

use super::duration;

/// Vault's system-wide default and maximum: 768 hours.
pub const SYSTEM_TTL_SECS: u64 = 768 * 3600;

/// Bounds of a mount, with the system's behind them. Seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlLimits {
    default_secs: u64,
    max_secs: u64,
}

impl TtlLimits {
    /// The bounds of a mount; 0 takes the system's. A mount may set a longer maximum than the system, as in
    /// Vault.
    #[must_use]
    pub fn of_mount(default_secs: u64, max_secs: u64) -> Self {
        let or_system = |secs| if secs == 0 { SYSTEM_TTL_SECS } else { secs };
        let max_secs = or_system(max_secs).min(duration::DURATION_SECS_MAX);
        Self { default_secs: or_system(default_secs).min(max_secs), max_secs }
    }

    /// Lifetime when nobody asks for one.
    #[must_use]
    pub fn default_secs(&self) -> u64 {
        self.default_secs
    }

    /// Longest lifetime.
    #[must_use]
    pub fn max_secs(&self) -> u64 {
        self.max_secs
    }
}

/// What is asked for, by the caller and by the role. Seconds; 0 says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TtlRequest {
    /// `ttl` or `increment` of the request.
    pub asked_secs: u64,
    /// `token_ttl` of the role.
    pub role_secs: u64,
    /// `token_max_ttl` of the role.
    pub role_max_secs: u64,
    /// `explicit_max_ttl`.
    pub explicit_max_secs: u64,
    /// `period`.
    pub period_secs: u64,
}

/// A lifetime from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Seconds, at least 1.
    pub secs: u64,
    /// Set if more was wanted.
    pub capped: Option<Capped>,
}

/// The warning that goes with a cut lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capped {
    what: &'static str,
    wanted_secs: u64,
    max_secs: u64,
}

impl Capped {
    pub(super) fn ttl(wanted_secs: u64, max_secs: u64) -> Self {
        Self { what: "TTL", wanted_secs, max_secs }
    }
}

impl fmt::Display for Capped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let go_text = |secs: u64| duration::to_go_text(i64::try_from(secs).unwrap_or(i64::MAX));
        let (wanted, max) = (go_text(self.wanted_secs), go_text(self.max_secs));
        let what = self.what;
        let value = if what == "TTL" { "TTL" } else { "period" };
        write!(
            f,
            "{what} of \"{wanted}\" exceeded the effective max_ttl of \"{max}\"; {value} value is capped accordingly"
        )
    }
}

/// The token is as old as it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("past the max TTL, cannot renew")]
pub struct PastMaxTtl;

/// The lifetime from `now_secs` on of a token issued at `issued_at` (unix seconds).
pub fn decide(
    request: TtlRequest,
    limits: TtlLimits,
    issued_at: u64,
    now_secs: u64,
) -> Result<Ttl, PastMaxTtl> {
    let tighter = |max: u64, other: u64| if other == 0 { max } else { max.min(other) };
    let max_secs = tighter(tighter(limits.max_secs, request.role_max_secs), request.explicit_max_secs);
    let (wanted, ends_at, mut capped) = if request.period_secs > 0 {
        let over = request.period_secs > max_secs;
        let capped = Capped { what: "period", wanted_secs: request.period_secs, max_secs };
        let ends_at =
            (request.explicit_max_secs > 0).then(|| issued_at.saturating_add(request.explicit_max_secs));
        (request.period_secs.min(max_secs), ends_at, over.then_some(capped))
    } else {
        let said = [request.asked_secs, request.role_secs].into_iter().find(|&secs| secs > 0);
        (said.unwrap_or(limits.default_secs), Some(issued_at.saturating_add(max_secs)), None)
    };
    // A clock that went back must not lengthen a life: what is left counts from the issue at the earliest.
    let left = ends_at.map(|ends_at| ends_at.saturating_sub(now_secs.max(issued_at)));
    match left {
        Some(0) => Err(PastMaxTtl),
        Some(left) if left < wanted => {
            capped = Some(Capped::ttl(wanted, left));
            Ok(Ttl { secs: left, capped })
        }
        _ => Ok(Ttl { secs: wanted, capped }),
    }
}
