//! JSON from outside, parsed within bounds.
//!
//! Stricter than serde_json, which the rest of the house uses: nesting, members and string lengths are
//! bounded before memory is spent; duplicate keys are refused, because two readers may pick different ones;
//! number literals are kept as written, because clients expect `1.10` and 2^70 back unchanged. The recursion
//! is bounded by [`Limits::depth_max`], so the stack is too. The whole is counted as it would be stored, in
//! compact form: escapes that a client need not use, and white space, count for nothing.

use serde_json::{Number, Value};

/// A JSON object with its members in order.
pub type Map = serde_json::Map<String, Value>;

/// Bounds of one document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Objects and arrays inside one another.
    pub depth_max: usize,
    /// Members of all objects and elements of all arrays together.
    pub members_max: usize,
    /// Bytes of one string or key, unescaped.
    pub string_bytes_max: usize,
    /// Characters of one number.
    pub number_bytes_max: usize,
    /// Bytes of the whole, written again in compact form with no more escapes than needed.
    pub bytes_max: usize,
}

impl Limits {
    /// Request bodies: a value of 1 MiB with room for its names.
    pub const BODY: Self = Self {
        depth_max: 32,
        members_max: 10_000,
        string_bytes_max: 1 << 20,
        number_bytes_max: 256,
        bytes_max: (1 << 20) + (64 << 10),
    };
    /// Claims of a JWT, where issuers list every client and role of a user.
    pub const TOKEN: Self = Self {
        depth_max: 16,
        members_max: 10_000,
        string_bytes_max: 8 << 10,
        number_bytes_max: 32,
        bytes_max: usize::MAX, // the token is bounded
    };
    /// Header of a JWT.
    pub const TOKEN_HEADER: Self = Self { depth_max: 8, members_max: 512, ..Self::TOKEN };
}

/// Why a document was refused. Offsets are in bytes; nothing of the document is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// No JSON.
    #[error("malformed JSON at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
    },
    /// The document is an array, string, number, bool or null.
    #[error("the JSON document is not an object")]
    NotObject,
    /// Bytes that are no UTF-8, or an escape for half a surrogate pair.
    #[error("JSON text is not valid Unicode")]
    NotUnicode,
    /// One object has a key twice.
    #[error("a JSON object has a duplicate key")]
    DuplicateKey,
    /// A key that serde_json would take for a number or raw value when it reads the document again.
    #[error("a JSON object has a reserved key")]
    ReservedKey,
    /// Nested too deeply.
    #[error("JSON is nested too deeply")]
    TooDeep,
    /// Too many members.
    #[error("JSON has too many members")]
    TooManyMembers,
    /// A number is too long.
    #[error("a JSON number is too long")]
    TooLong,
    /// A string or key, or all together, has more bytes than may be stored.
    #[error("JSON has more bytes than the largest value, which is 1 MiB for a secret, escapes not counted")]
    TooLarge,
}

/// Parses one object and nothing after it but white space.
pub fn parse(text: &[u8], limits: Limits) -> Result<Map, JsonError> {
    let text = std::str::from_utf8(text).map_err(|_| JsonError::NotUnicode)?;
    let mut parser = Parser { text, at: 0, members: 0, bytes: 0, limits };
    parser.skip_blanks();
    if parser.peek() != Some(b'{') {
        return Err(if parser.peek().is_none() { parser.syntax() } else { JsonError::NotObject });
    }
    let map = parser.object(1)?;
    parser.skip_blanks();
    if parser.peek().is_some() { Err(parser.syntax()) } else { Ok(map) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    members: usize,
    /// Of what was read, as it would be written again.
    bytes: usize,
    limits: Limits,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    /// A member, or an element, and its comma or the end of what it stands in.
    fn count_member(&mut self) -> Result<(), JsonError> {
        self.members += 1;
        self.count_bytes(1)?;
        if self.members > self.limits.members_max { Err(JsonError::TooManyMembers) } else { Ok(()) }
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), JsonError> {
        self.bytes += bytes;
        if self.bytes > self.limits.bytes_max { Err(JsonError::TooLarge) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.array(depth + 1).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.syntax()),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        self.count_bytes(word.len())?;
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Map, JsonError> {
        if depth > self.limits.depth_max {
            return Err(JsonError::TooDeep);
        }
        self.expect(b'{')?;
        self.count_bytes(1)?;
        let mut map = Map::new();
        self.skip_blanks();
        if self.take(b'}') {
            self.count_bytes(1)?;
            return Ok(map);
        }
        loop {
            self.count_member()?;
            self.skip_blanks();
            let key = self.string()?;
            if key.starts_with("$serde_json::private::") {
                return Err(JsonError::ReservedKey);
            }
            self.skip_blanks();
            self.expect(b':')?;
            self.count_bytes(1)?;
            self.skip_blanks();
            let value = self.value(depth)?;
            if map.insert(key, value).is_some() {
                return Err(JsonError::DuplicateKey);
            }
            self.skip_blanks();
            if !self.take(b',') {
                self.expect(b'}')?;
                return Ok(map);
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonError> {
        if depth > self.limits.depth_max {
            return Err(JsonError::TooDeep);
        }
        self.expect(b'[')?;
        self.count_bytes(1)?;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.take(b']') {
            self.count_bytes(1)?;
            return Ok(items);
        }
        loop {
            self.count_member()?;
            self.skip_blanks();
            items.push(self.value(depth)?);
            self.skip_blanks();
            if !self.take(b',') {
                self.expect(b']')?;
                return Ok(items);
            }
        }
    }

    /// RFC 8259 number grammar; the literal is kept.
    fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        if self.at - start > self.limits.number_bytes_max {
            return Err(JsonError::TooLong);
        }
        self.count_bytes(self.at - start)?;
        // The crate-wide `arbitrary_precision` makes this keep the text; the grammar was checked above.
        Ok(Number::from_string_unchecked(self.text[start..self.at].to_owned()))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"')?;
        self.count_bytes(2)?;
        let mut out = String::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(byte) if byte != b'"' && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            if out.len() + (self.at - start) > self.limits.string_bytes_max {
                return Err(JsonError::TooLarge);
            }
            self.count_bytes(self.at - start)?;
            out.push_str(&self.text[start..self.at]);
            if self.take(b'"') {
                return Ok(out);
            }
            self.expect(b'\\')?;
            let plain = self.escape()?;
            self.count_bytes(written_bytes(plain))?;
            out.push(plain);
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.syntax())?;
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(JsonError::NotUnicode);
        }
        if !(self.take(b'\\') && self.take(b'u')) {
            return Err(JsonError::NotUnicode);
        }
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(JsonError::NotUnicode);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(JsonError::NotUnicode)
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(|| self.syntax())?;
        let mut value = 0;
        for &digit in digits {
            value = value << 4 | char::from(digit).to_digit(16).ok_or_else(|| self.syntax())?;
        }
        self.at += 4;
        Ok(value)
    }
}

/// Bytes of a character that came escaped, as it is written again.
fn written_bytes(plain: char) -> usize {
    match plain {
        '"' | '\\' | '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn check_refused(text: &str, why: JsonError) {
        assert_eq!(parse(text.as_bytes(), Limits::BODY).unwrap_err(), why, "{text:.80}");
    }

    #[test]
    fn values_survive_unchanged() {
        let text = r#"{"a":1.10,"b":1180591620717411303424,"c":[-0,1e400,true,null],"d":{"ä\n":"😀\u0041"}}"#;
        let map = parse(text.as_bytes(), Limits::BODY).unwrap();
        assert_eq!(
            serde_json::to_string(&map).unwrap(),
            r#"{"a":1.10,"b":1180591620717411303424,"c":[-0,1e400,true,null],"d":{"ä\n":"😀A"}}"#
        );
        assert_eq!(parse(br#"{"s":"\ud83d\ude00"}"#, Limits::BODY).unwrap()["s"], "😀");
    }

    #[test]
    fn malformed_documents_are_refused() {
        for text in ["", " ", "{", "{]", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1,}"#, r#"{"a":01}"#, r#"{"a":1.}"#]
        {
            assert!(matches!(parse(text.as_bytes(), Limits::BODY), Err(JsonError::Syntax { .. })), "{text}");
        }
        for text in
            [r#"{"a":+1}"#, r#"{"a":NaN}"#, r#"{"a":tru}"#, r#"{"a":"\x"}"#, "{\"a\":\"\n\"}", "{} {}"]
        {
            assert!(matches!(parse(text.as_bytes(), Limits::BODY), Err(JsonError::Syntax { .. })), "{text}");
        }
        for text in ["[]", "null", "1", "\"x\""] {
            check_refused(text, JsonError::NotObject);
        }
        for text in [r#"{"a":"\ud800"}"#, r#"{"a":"\ud800\u0041"}"#, r#"{"a":"\udc00"}"#] {
            check_refused(text, JsonError::NotUnicode);
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}", Limits::BODY), Err(JsonError::NotUnicode));
    }

    #[test]
    fn ambiguity_is_refused() {
        check_refused(r#"{"a":1,"a":1}"#, JsonError::DuplicateKey);
        check_refused(r#"{"a":1,"\u0061":2}"#, JsonError::DuplicateKey);
        check_refused(r#"{"x":{"a":1,"b":2,"a":3}}"#, JsonError::DuplicateKey);
        check_refused(r#"{"$serde_json::private::Number":"1"}"#, JsonError::ReservedKey);
    }

    #[test]
    fn bounds_hold() {
        let deep = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
        assert!(parse(deep(32).as_bytes(), Limits::BODY).is_ok());
        check_refused(&deep(33), JsonError::TooDeep);
        check_refused(&format!(r#"{{"a":{}"#, "[".repeat(100_000)), JsonError::TooDeep);
        check_refused(&format!(r#"{{"a":[{}1]}}"#, "1,".repeat(10_000)), JsonError::TooManyMembers);
        check_refused(&format!(r#"{{"a":{}}}"#, "1".repeat(257)), JsonError::TooLong);
        check_refused(&format!(r#"{{"a":"{}"}}"#, "x".repeat((1 << 20) + 1)), JsonError::TooLarge);
        let half = "x".repeat(600 << 10);
        check_refused(&format!(r#"{{"a":"{half}","b":"{half}"}}"#), JsonError::TooLarge);
    }

    #[test]
    fn escapes_and_white_space_count_for_nothing() {
        let letters = 200_000; // of two bytes, and six as an escape
        let text = format!("{{ \n\"a\" : \"{}\"{} }}", "\\u0436".repeat(letters), " ".repeat(1 << 20));
        assert!(text.len() > 2 << 20);
        assert_eq!(parse(text.as_bytes(), Limits::BODY).unwrap()["a"], "ж".repeat(letters));
        // What must be escaped again counts as it is written.
        let controls = |count: usize| format!(r#"{{"a":"{}"}}"#, "\\u0001".repeat(count));
        assert!(parse(controls(170_000).as_bytes(), Limits::BODY).is_ok());
        check_refused(&controls(190_000), JsonError::TooLarge);
    }

    fn written_again(text: &str) -> Option<usize> {
        let map = parse(text.as_bytes(), Limits { bytes_max: usize::MAX, ..Limits::BODY }).ok()?;
        Some(serde_json::to_vec(&map).unwrap().len())
    }

    #[test]
    fn the_count_is_that_of_what_is_written() {
        for text in [
            "{}",
            r#" { "a" : [ ] , "b" : { } } "#,
            r#"{"a":[1,2.50,[true,false,null]],"b":{"c":"\u00e4\n\u0001\"\\\/\ud83d\ude00"},"":-0}"#,
        ] {
            let bytes_max = written_again(text).unwrap();
            assert!(parse(text.as_bytes(), Limits { bytes_max, ..Limits::BODY }).is_ok(), "{text}");
            let less = Limits { bytes_max: bytes_max - 1, ..Limits::BODY };
            assert_eq!(parse(text.as_bytes(), less), Err(JsonError::TooLarge), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(text in ".{0,64}") {
            let _ = parse(text.as_bytes(), Limits::BODY);
        }

        #[test]
        fn agrees_with_serde_json(text in r#"\{("[ab]":(1|-2\.5|"x"|\[1,true\]|\{\}),?){0,3}\}"#) {
            let theirs = serde_json::from_str::<Map>(&text).ok();
            match parse(text.as_bytes(), Limits::BODY) {
                Ok(map) => prop_assert_eq!(Some(map), theirs),
                Err(JsonError::DuplicateKey) => {} // theirs takes the last one, or fails later on
                Err(_) => prop_assert_eq!(None, theirs),
            }
        }
    }
}
