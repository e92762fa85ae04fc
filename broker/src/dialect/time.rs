//! Times and durations in the two spellings that the Vault dialect uses: RFC 3339 and Go durations.
//!
//! Pure functions on integers; the clock is somebody else's.

use symbolon_proto::moment::civil;

const NANOS_PER_SEC: i128 = 1_000_000_000;
/// Longest text that is looked at before giving up.
const TEXT_BYTES_MAX: usize = 64;
/// Furthest time that is written or accepted: the end of year 9999, in seconds.
const UNIX_SECS_MAX: i64 = 253_402_300_799;

/// RFC 3339 in UTC with milliseconds, trailing zeros dropped as Go does it; times past year 9999 are cut
/// there.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let (secs, millis) =
        (i64::try_from(unix_ms / 1000).unwrap_or(UNIX_SECS_MAX).min(UNIX_SECS_MAX), unix_ms % 1000);
    let (year, month, day) = civil(secs.div_euclid(86_400));
    let rest = secs.rem_euclid(86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    let fraction =
        if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    format!("{year:04}-{month:02}-{day:02}T{clock}{fraction}Z")
}

/// Unix milliseconds of an RFC 3339 time at or after 1970; `None` for anything else.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    if text.len() > TEXT_BYTES_MAX || !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let bytes = text.as_bytes();
    let fits =
        bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b'T' | b't' | b' ') && bytes[13] == b':';
    if !fits || bytes[16] != b':' {
        return None;
    }
    let number = |from: usize, to: usize| digits(&text[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let (millis, zone) = fraction(&text[19..])?;
    let unix_secs = days * 86_400 + hour * 3600 + minute * 60 + second - zone_secs(zone)?;
    let secs = u64::try_from(unix_secs).ok()?;
    Some(secs * 1000 + millis)
}

/// Splits `.123+02:00` into milliseconds and zone.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    if end == 0 {
        return None;
    }
    let mut padded = rest[..end.min(3)].to_owned();
    while padded.len() < 3 {
        padded.push('0');
    }
    Some((padded.parse().ok()?, &rest[end..]))
}

fn zone_secs(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The inverse of [`civil`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = (month + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Milliseconds of a duration text: bare seconds (`30`), a Go duration (`1h30m`, `-1s`, `1.5h`), or days
/// (`1d`). A part of a millisecond counts as a whole one, so that only nothing is 0. `None` if it is neither
/// or does not fit.
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, rest) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let nanos = if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        rest.parse::<i64>().ok().map(|secs| i128::from(secs) * NANOS_PER_SEC)?
    } else {
        unit_sum(rest)?
    };
    i64::try_from((nanos + 999_999) / 1_000_000).ok().map(|ms| if negative { -ms } else { ms })
}

/// Adds up `1h30m` and the like, in nanoseconds.
fn unit_sum(mut rest: &str) -> Option<i128> {
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total = total.checked_add(scaled(number, unit_nanos(unit)?)?)?;
        rest = tail;
    }
    Some(total)
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SEC,
        "m" => 60 * NANOS_PER_SEC,
        "h" => 3600 * NANOS_PER_SEC,
        "d" => 86_400 * NANOS_PER_SEC,
        _ => return None,
    })
}

fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || whole.len() > 18 || part.len() > 18 || part.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    if !part.is_empty() {
        let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
        total = total.checked_add(part.parse::<i128>().ok()?.checked_mul(unit)? / scale)?;
    }
    Some(total)
}

/// A duration as Go prints it: `0s`, `1h30m0s`, `1.5s`, `-1s`.
#[must_use]
pub fn go_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let sign = if ms < 0 { "-" } else { "" };
    let total = ms.unsigned_abs();
    if total < 1000 {
        return format!("{sign}{total}ms");
    }
    let (hours, minutes, secs, millis) =
        (total / 3_600_000, total / 60_000 % 60, total / 1000 % 60, total % 1000);
    let fraction =
        if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{secs}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{secs}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{secs}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_what_they_wrote() {
        for ms in [0, 1, 951_782_400_000, 1_709_210_096_120, 4_102_444_799_999] {
            assert_eq!(parse_rfc3339(&rfc3339(ms)), Some(ms), "{}", rfc3339(ms));
        }
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_210_096_120), "2024-02-29T12:34:56.12Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.615Z");
    }

    #[test]
    fn times_know_zones_and_refuse_what_does_not_exist() {
        assert_eq!(parse_rfc3339("2024-02-29T14:34:56.123456789+02:00"), Some(1_709_210_096_123));
        for wrong in [
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_in_all_spellings() {
        for (text, ms) in [
            ("30", 30_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1d12h", 129_600_000),
            ("1.5h", 5_400_000),
            ("-1s", -1000),
            ("250ms", 250),
            ("500us", 1),
            ("-1ns", -1),
            ("0", 0),
        ] {
            assert_eq!(parse_duration_ms(text), Some(ms), "{text}");
        }
        for wrong in [
            "",
            "-",
            "h",
            "1x",
            "1h30",
            "1..5h",
            "99999999999999999999",
            "9999999999999999999h",
            "1 h",
            "ten",
        ] {
            assert_eq!(parse_duration_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (5_400_000, "1h30m0s"),
            (1500, "1.5s"),
            (-1000, "-1s"),
            (60_000, "1m0s"),
            (250, "250ms"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
    }
}
