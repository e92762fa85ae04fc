//! Numbers in claims, by their value and not by their spelling: 42, 42.0 and 4.2e1 are one number.
//!
//! Nothing passes through a float, which would make one of many large numbers.

use std::cmp::Ordering;

use serde_json::Number;

/// A number as JSON spells it: `digits` times ten to the `exponent`. Zero has no digits; others neither begin
/// nor end in one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// Which way a fraction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Down,
    Up,
}

/// Whether two numbers have the same value.
pub(super) fn same(left: &Number, right: &Number) -> bool {
    match (Decimal::read(left), Decimal::read(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right, // an exponent that nothing is counted in: equal only if spelt so
    }
}

/// A number of at least zero as a whole one of at most `most`.
pub(super) fn whole(number: &Number, round: Round, most: u64) -> Option<u64> {
    const DIGITS_MAX: i64 = 20;
    let Decimal { negative, digits, exponent } = Decimal::read(number)?;
    if digits.is_empty() {
        return Some(0);
    }
    // How many digits stand before the point.
    let before = i64::try_from(digits.len()).ok()?.checked_add(exponent)?;
    if negative || before > DIGITS_MAX {
        return None;
    }
    let (integer, fraction) = digits.split_at(usize::try_from(before.max(0)).ok()?.min(digits.len()));
    let zeros = usize::try_from(exponent.max(0)).ok()?;
    let integer = format!("0{integer}{}", "0".repeat(zeros)).parse::<u64>().ok()?;
    let up = u64::from(round == Round::Up && !fraction.is_empty());
    integer.checked_add(up).filter(|value| value.cmp(&most) != Ordering::Greater)
}

impl Decimal {
    fn read(number: &Number) -> Option<Self> {
        let text = number.to_string();
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{integer}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let cut = all.len() - all.trim_end_matches('0').len();
        let shift = i64::try_from(cut).ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Self { negative, digits: digits.to_owned(), exponent: exponent.checked_add(shift)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::from_string_unchecked(text.to_owned())
    }

    #[test]
    fn numbers_are_the_same_by_value() {
        for (left, right) in [
            ("42", "42.0"),
            ("42", "4.2e1"),
            ("42", "420E-1"),
            ("42", "0.42e+2"),
            ("-1.50", "-15e-1"),
            ("0", "-0.0e9"),
            ("10", "1e1"),
            ("1e400", "10e399"),
            ("9007199254740993", "9007199254740993.00"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(same(&number(left), &number(right)), "{left} {right}");
        }
        for (left, right) in [
            ("42", "42.9"),
            ("42", "-42"),
            ("42", "420"),
            ("42", "4.2"),
            ("9007199254740992", "9007199254740993"),
            ("0.1", "0.10000000000000001"),
            ("1e400", "1e401"),
            ("1e99999999999999999999", "1e99999999999999999998"),
        ] {
            assert!(!same(&number(left), &number(right)), "{left} {right}");
        }
    }

    #[test]
    fn fractions_go_the_way_they_are_told() {
        let most = 253_402_300_799;
        let check = |text: &str, down, up| {
            let number = number(text);
            assert_eq!(
                (whole(&number, Round::Down, most), whole(&number, Round::Up, most)),
                (down, up),
                "{text}"
            );
        };
        check("1700000000", Some(1_700_000_000), Some(1_700_000_000));
        check("1.7e9", Some(1_700_000_000), Some(1_700_000_000));
        check("1700000000.0", Some(1_700_000_000), Some(1_700_000_000));
        check("1700000000.001", Some(1_700_000_000), Some(1_700_000_001));
        check("1700000000.999999999", Some(1_700_000_000), Some(1_700_000_001));
        check("0.5", Some(0), Some(1));
        check("1e-400", Some(0), Some(1));
        check("0e400", Some(0), Some(0));
        check("253402300799.5", Some(most), None);
        for refused in
            ["-1", "-0.5", "253402300800", "1e400", "1e9223372036854775807", "1e99999999999999999999"]
        {
            check(refused, None, None);
        }
    }

    proptest! {
        #[test]
        fn every_number_is_itself_and_has_a_neighbour(value in 0u64..1_000_000, shift in 0usize..20) {
            let spelt = number(&format!("{value}{}e-{shift}", "0".repeat(shift)));
            prop_assert!(same(&spelt, &Number::from(value)));
            prop_assert!(!same(&spelt, &Number::from(value + 1)));
            prop_assert_eq!(whole(&spelt, Round::Up, u64::MAX), Some(value));
        }
    }
}
