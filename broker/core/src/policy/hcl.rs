//! The subset of HCL 1 that policies are written in.
//!
//! Our own reader, because policies are HCL 1: several attributes on one line, optional commas, quoted keys,
//! JSON-like objects, all of which HCL 2 refuses; and because nesting must be bounded before a stack is spent
//! on it. Not read: heredocs, and `${...}` in strings; both are errors.

/// A value of the language.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    String(String),
    /// A number as written.
    Number(String),
    Bool(bool),
    List(Vec<Node>),
    Object(Vec<Item>),
}

/// `key = value` or `key "label" { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) keys: Vec<String>,
    pub(super) value: Node,
    pub(super) line: u32,
}

/// What is wrong, and on which line (from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HclError {
    pub(super) line: u32,
    pub(super) why: HclProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HclProblem {
    Syntax,
    TooDeep,
}

/// Objects and lists inside one another.
pub(super) const DEPTH_MAX: usize = 16;
/// Keys before one value: `path "x"` has two.
const KEYS_MAX: usize = 4;

/// Reads a whole text as the items of one object.
pub(super) fn parse(text: &str) -> Result<Vec<Item>, HclError> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let items = reader.items(0)?;
    if reader.peek().is_some() { Err(reader.syntax()) } else { Ok(items) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        self.line += u32::from(next == '\n');
        Some(next)
    }

    fn syntax(&self) -> HclError {
        HclError { line: self.line, why: HclProblem::Syntax }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance();
        }
        found
    }

    /// Skips white space and the three kinds of comments.
    fn skip_blanks(&mut self) -> Result<(), HclError> {
        loop {
            if self.peek().is_some_and(|next| matches!(next, ' ' | '\t' | '\r' | '\n')) {
                self.advance();
            } else if self.rest().starts_with('#') || self.rest().starts_with("//") {
                while self.peek().is_some_and(|next| next != '\n') {
                    self.advance();
                }
            } else if self.rest().starts_with("/*") {
                let end = self.rest().find("*/").ok_or_else(|| self.syntax())? + self.at + 2;
                while self.at < end {
                    self.advance();
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Items up to a closing brace or the end, neither of which is consumed.
    fn items(&mut self, depth: usize) -> Result<Vec<Item>, HclError> {
        if depth > DEPTH_MAX {
            return Err(HclError { line: self.line, why: HclProblem::TooDeep });
        }
        let mut items = Vec::new();
        loop {
            self.skip_blanks()?;
            if matches!(self.peek(), None | Some('}')) {
                return Ok(items);
            }
            items.push(self.item(depth)?);
            self.skip_blanks()?;
            self.take(',');
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item, HclError> {
        let line = self.line;
        let mut keys = Vec::new();
        loop {
            self.skip_blanks()?;
            match self.peek() {
                Some('=' | ':') if keys.len() == 1 => {
                    self.advance();
                    self.skip_blanks()?;
                    return Ok(Item { keys, value: self.value(depth)?, line });
                }
                Some('{') if !keys.is_empty() => return Ok(Item { keys, value: self.value(depth)?, line }),
                Some(_) if keys.len() < KEYS_MAX => keys.push(self.key()?),
                _ => return Err(self.syntax()),
            }
        }
    }

    fn key(&mut self) -> Result<String, HclError> {
        if self.peek() == Some('"') {
            return self.string();
        }
        let word = self.word();
        if word.is_empty() { Err(self.syntax()) } else { Ok(word) }
    }

    fn word(&mut self) -> String {
        let is_first = |next: char| next.is_ascii_alphabetic() || next == '_';
        let is_inner = |next: char| next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.');
        let mut word = String::new();
        while let Some(next) =
            self.peek().filter(|&next| if word.is_empty() { is_first(next) } else { is_inner(next) })
        {
            word.push(next);
            self.advance();
        }
        word
    }

    fn value(&mut self, depth: usize) -> Result<Node, HclError> {
        match self.peek() {
            Some('"') => self.string().map(Node::String),
            Some('{') => {
                self.advance();
                let items = self.items(depth + 1)?;
                if self.take('}') { Ok(Node::Object(items)) } else { Err(self.syntax()) }
            }
            Some('[') => {
                self.advance();
                self.list(depth + 1).map(Node::List)
            }
            Some('-' | '0'..='9') => self.number(),
            _ => match self.word().as_str() {
                "true" => Ok(Node::Bool(true)),
                "false" => Ok(Node::Bool(false)),
                _ => Err(self.syntax()),
            },
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, HclError> {
        if depth > DEPTH_MAX {
            return Err(HclError { line: self.line, why: HclProblem::TooDeep });
        }
        let mut nodes = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.take(']') {
                return Ok(nodes);
            }
            nodes.push(self.value(depth)?);
            self.skip_blanks()?;
            if !self.take(',') && self.peek() != Some(']') {
                return Err(self.syntax());
            }
        }
    }

    fn number(&mut self) -> Result<Node, HclError> {
        let start = self.at;
        while self.peek().is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, '-' | '+' | '.'))
        {
            self.advance();
        }
        let number = &self.text[start..self.at];
        if number.len() <= 32 && number.parse::<serde_json::Number>().is_ok() {
            Ok(Node::Number(number.to_owned()))
        } else {
            Err(self.syntax())
        }
    }

    fn string(&mut self) -> Result<String, HclError> {
        self.advance();
        let mut out = String::new();
        loop {
            match self.advance().ok_or_else(|| self.syntax())? {
                '"' => return Ok(out),
                '\n' => return Err(self.syntax()),
                '$' if self.peek() == Some('{') => return Err(self.syntax()),
                '\\' => out.push(self.escape()?),
                plain => out.push(plain),
            }
        }
    }

    fn escape(&mut self) -> Result<char, HclError> {
        match self.advance().ok_or_else(|| self.syntax())? {
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            '"' => Ok('"'),
            '\\' => Ok('\\'),
            'u' => self.code_point(4),
            'U' => self.code_point(8),
            _ => Err(self.syntax()),
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char, HclError> {
        let mut code = 0u32;
        for _ in 0..digits {
            let digit = self.advance().and_then(|next| next.to_digit(16)).ok_or_else(|| self.syntax())?;
            code = code.checked_mul(16).ok_or_else(|| self.syntax())? + digit;
        }
        char::from_u32(code).ok_or_else(|| self.syntax())
    }
}
