//! Which bytes of a source are code, comment, or the inside of a string.

/// What a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Code,
    Comment,
    /// Of a string or character, quotes included.
    Text,
}

/// The kind of each byte.
pub fn kinds(source: &str) -> Vec<Kind> {
    let bytes = source.as_bytes();
    let mut kinds = Vec::with_capacity(bytes.len());
    while kinds.len() < bytes.len() {
        let (kind, length) = piece(bytes, kinds.len());
        kinds.resize((kinds.len() + length).min(bytes.len()), kind);
    }
    kinds
}

/// The source with comments and strings blanked: as many bytes, as many lines.
pub fn code(source: &str) -> String {
    let keep = |(byte, kind): (u8, Kind)| if kind == Kind::Code || byte == b'\n' { byte } else { b' ' };
    let bytes = source.bytes().zip(kinds(source)).map(keep).collect();
    String::from_utf8(bytes).unwrap()
}

fn piece(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => {
            (Kind::Comment, rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))
        }
        [b'/', b'*', ..] => (Kind::Comment, block_comment(rest)),
        [b'"', ..] => (Kind::Text, quoted(rest, b'"')),
        [b'\'', ..] if is_character(rest) => (Kind::Text, quoted(rest, b'\'')),
        [b'r' | b'b' | b'c', ..] if !in_word => raw_string(rest).map_or((Kind::Code, 1), |n| (Kind::Text, n)),
        _ => (Kind::Code, 1),
    }
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// Length up to the closing quote.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character and not a lifetime: it is escaped, or a quote follows the one character.
fn is_character(rest: &[u8]) -> bool {
    let inside = String::from_utf8_lossy(&rest[1..rest.len().min(8)]).into_owned();
    let mut inside = inside.chars();
    inside.next() == Some('\\') || inside.next() == Some('\'')
}

/// `r"…"`, `r#"…"#`, and the same after `b` or `c`. Backslashes mean nothing in them.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = if rest[0] == b'r' { 1 } else { 2 };
    if prefix == 2 && rest.get(1) != Some(&b'r') {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let start = prefix + hashes + 1;
    if rest.get(start - 1) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let length = rest[start..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| start + length + end.len()))
}

#[cfg(test)]
mod tests {
    use super::code;

    #[track_caller]
    fn masked(source: &str, expected: &str) {
        let code = code(source);
        assert_eq!(code.len(), source.len());
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn comments_are_blanked() {
        masked("a // b\nc", "a c");
        masked("a /* b /* c */ d */ e", "a e");
        masked("a /* never closed", "a");
        masked("a / b", "a / b");
    }

    #[test]
    fn strings_are_blanked() {
        masked(r#"a("b { // c") d"#, "a( ) d");
        masked(r#"a("b \" c") d"#, "a( ) d");
        masked(r##"a(r#"b " \"# ) d"##, "a( ) d");
        masked(r#"a(b"x", br"\", c"y") d"#, "a(b , , c ) d");
        masked("a(\"ü\") d", "a( ) d");
        masked(r##"r#type x"##, "r#type x");
        masked(r#"var"x""#, "var");
    }

    #[test]
    fn characters_are_blanked_and_lifetimes_are_not() {
        masked(r"a('{') b('\'') c('ü') d('\u{7b}')", "a( ) b( ) c( ) d( )");
        masked("fn a<'a, 'b>(x: &'a str, 'x': u8)", "fn a<'a, 'b>(x: &'a str, : u8)");
        masked("b'\"' c", "b c");
    }
}
