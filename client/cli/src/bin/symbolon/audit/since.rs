//! Moments as people say them: a date, a time, or how long ago.

use symbolon_core::token::duration::parse_secs;
use symbolon_proto::moment::utc_millis;

/// RFC 3339 of `2026-01-31`, `2026-01-31T12:00:00Z` or `7d`, which is that long before `now_ms`. What looks
/// like a time is for the broker to judge.
pub fn moment(text: &str, now_ms: u64) -> Result<String, String> {
    let bytes = text.as_bytes();
    let is_dated = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-';
    if is_dated {
        return Ok(if bytes.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() });
    }
    // a bare number would be seconds, and who writes one means a year or a day
    let is_bare = !text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let secs = parse_secs(text).ok().filter(|_| !is_bare).ok_or_else(|| {
        "expected a date such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or how long ago with its unit, such as 90s, 7d or 1h30m".to_owned()
    })?;
    Ok(utc_millis(now_ms.saturating_sub(secs.saturating_mul(1000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_durations_are_moments() {
        let now = 951_827_696_007; // 2000-02-29T12:34:56.007Z
        let is = |text| moment(text, now);
        assert_eq!(is("7d").as_deref(), Ok("2000-02-22T12:34:56.007Z"));
        assert_eq!(is("90s").as_deref(), Ok("2000-02-29T12:33:26.007Z"));
        assert_eq!(is("1h30m").as_deref(), Ok("2000-02-29T11:04:56.007Z"));
        assert_eq!(is("2026-01-31").as_deref(), Ok("2026-01-31T00:00:00Z"));
        assert_eq!(is("2026-01-31T12:00:00+02:00").as_deref(), Ok("2026-01-31T12:00:00+02:00"));
        for wrong in ["yesterday", "", "-7d", "7 days", "2026", "20260131", "+2026", "0"] {
            assert!(is(wrong).is_err(), "{wrong}");
        }
    }
}
