//! How far the clock of an issuer may be from ours, as roles and mounts are configured.

/// Seconds of leeway on `exp`, `nbf` and `iat` unless configured.
pub const LEEWAY_SECS_DEFAULT: u64 = 60;
/// Longest leeway, whatever is configured.
pub const LEEWAY_SECS_MAX: u64 = 300;

/// The three settings, with Vault's names and signs, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeways {
    /// On `exp`: 0 takes the default, negative means none.
    pub expiration: i64,
    /// On `nbf` and `iat`: 0 takes the default, negative means none.
    pub not_before: i64,
    /// Added to both: 0 or negative means none.
    pub clock_skew: i64,
}

/// Leeway out of range: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leeways must not exceed {LEEWAY_SECS_MAX} seconds")]
pub struct LeewayError;

impl Leeways {
    /// None may be longer than the longest.
    pub fn check(self) -> Result<(), LeewayError> {
        let Self { expiration, not_before, clock_skew } = self;
        let fits = |secs: i64| secs <= LEEWAY_SECS_MAX.cast_signed();
        if [expiration, not_before, clock_skew].into_iter().all(fits) { Ok(()) } else { Err(LeewayError) }
    }

    /// Seconds on `exp`, at most the longest.
    pub(super) fn expiry_secs(self) -> u64 {
        self.secs(self.expiration)
    }

    /// Seconds on `nbf` and `iat`, at most the longest.
    pub(super) fn not_before_secs(self) -> u64 {
        self.secs(self.not_before)
    }

    fn secs(self, own: i64) -> u64 {
        let own = if own == 0 { LEEWAY_SECS_DEFAULT } else { u64::try_from(own).unwrap_or(0) };
        own.saturating_add(u64::try_from(self.clock_skew).unwrap_or(0)).min(LEEWAY_SECS_MAX)
    }
}
