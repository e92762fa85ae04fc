//! Globs in roles: `*` stands for any characters. Linear in the text for each star, no recursion.

/// Whether `pattern` matches all of `text`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether `pattern` matches every text: `*`, in any spelling. Whoever refuses or counts patterns that bind
/// nothing asks this and compares no text.
pub(super) fn matches_everything(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{matches, matches_everything};

    proptest! {
        /// A pattern that matches everything does, and any other leaves out a text made of a character that
        /// does not occur in it.
        #[test]
        fn everything_is_every_text(pattern in "[*a-c]{0,6}", text in "[a-d]{0,6}") {
            if matches_everything(&pattern) {
                prop_assert!(matches(&pattern, &text));
            } else {
                prop_assert!(!matches(&pattern, "d"));
            }
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "x"),
            ("a", "a"),
            ("a*", "a"),
            ("*a", "ba"),
            ("a*c*e", "abcde"),
            ("a**b", "ab"),
            ("*b*", "abc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("a", "ab"),
            ("a*", "ba"),
            ("*a", "ab"),
            ("a*a", "a"),
            ("ab*ba", "aba"),
            ("a*c*e", "abde"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
