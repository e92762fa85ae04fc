//! Durations as Vault's clients spell them.

/// Largest duration in seconds that is accepted: what Go's 64-bit nanoseconds hold.
pub const DURATION_SECS_MAX: u64 = i64::MAX as u64 / 1_000_000_000;

/// The text is no duration, or out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: expected seconds such as 30, or a Go duration such as 1h30m")]
pub struct BadDuration;

/// Parses whole seconds (`30`), days (`1d`) or a Go duration (`1h30m`, `1.5h`, `500ms`); not negative. Rounds
/// down to seconds.
pub fn parse_secs(text: &str) -> Result<u64, BadDuration> {
    u64::try_from(parse_signed_secs(text)?).map_err(|_| BadDuration)
}

/// Like [`parse_secs`], but may be negative, as `delete_version_after` of a secret may. Rounds towards zero.
pub fn parse_signed_secs(text: &str) -> Result<i64, BadDuration> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = parse_nanos(digits)?;
    let secs = i64::try_from(nanos / 1_000_000_000).map_err(|_| BadDuration)?;
    if nanos > i64::MAX as u128 {
        return Err(BadDuration);
    }
    Ok(if negative { -secs } else { secs })
}

fn parse_nanos(mut text: &str) -> Result<u128, BadDuration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let secs: u64 = text.parse().map_err(|_| BadDuration)?;
        return Ok(u128::from(secs) * 1_000_000_000);
    }
    if text.is_empty() || text.len() > 64 {
        return Err(BadDuration);
    }
    let mut total: u128 = 0;
    while !text.is_empty() {
        let (nanos, rest) = parse_part(text)?;
        total = total.checked_add(nanos).ok_or(BadDuration)?;
        text = rest;
    }
    Ok(total)
}

/// One number with its unit.
fn parse_part(text: &str) -> Result<(u128, &str), BadDuration> {
    let number_len = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, rest) = text.split_at(number_len);
    let unit_len = rest.bytes().take_while(|byte| !byte.is_ascii_digit() && *byte != b'.').count();
    let (unit, rest) = rest.split_at(unit_len);
    let unit_nanos: u128 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(BadDuration),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 20 || fraction.len() > 18 {
        return Err(BadDuration);
    }
    let mut nanos = parse_digits(whole)?.checked_mul(unit_nanos).ok_or(BadDuration)?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| BadDuration)?);
    nanos += parse_digits(fraction)? * unit_nanos / scale;
    Ok((nanos, rest))
}

fn parse_digits(digits: &str) -> Result<u128, BadDuration> {
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadDuration);
    }
    digits.parse().map_err(|_| BadDuration)
}

/// As Go prints it: `0s`, `1m30s`, `25h0m0s`.
#[must_use]
pub fn to_go_text(secs: i64) -> String {
    let sign = if secs < 0 { "-" } else { "" };
    let secs = secs.unsigned_abs();
    let (hours, minutes, seconds) = (secs / 3600, secs / 60 % 60, secs % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_are_read_as_vault_reads_them() {
        for (text, secs) in [
            ("0", 0),
            ("30", 30),
            ("1h30m", 5400),
            ("1d", 86_400),
            ("1.5h", 5400),
            (" 10s ", 10),
            ("1500ms", 1),
            ("+5s", 5),
            (".5m", 30),
            ("1d12h", 129_600),
        ] {
            assert_eq!(parse_secs(text), Ok(secs), "{text}");
        }
        assert_eq!(parse_signed_secs("-1h"), Ok(-3600));
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["", "-", "h", "1x", "1h30", "-5", "1..5s", "1e3", "0x10", ".s", "9223372037", "99999999999d"]
        {
            assert_eq!(parse_secs(text), Err(BadDuration), "{text}");
        }
        assert!(parse_secs(&DURATION_SECS_MAX.to_string()).is_ok());
    }

    #[test]
    fn durations_are_shown_as_go_shows_them() {
        assert_eq!(to_go_text(0), "0s");
        assert_eq!(to_go_text(90), "1m30s");
        assert_eq!(to_go_text(90_000), "25h0m0s");
        assert_eq!(to_go_text(-3600), "-1h0m0s");
    }
}
