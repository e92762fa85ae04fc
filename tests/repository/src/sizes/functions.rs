//! Functions and their lines, from the one with `fn` to the one with the closing brace.

use crate::source::{Token, shipped, tokens};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// File, line and name.
    pub at: String,
    pub lines: usize,
}

/// All functions of a file, tests left out. One inside another counts by itself too.
pub fn of(path: &str, source: &str) -> Vec<Function> {
    let code = shipped(source);
    let tokens = tokens(&code);
    let starts = (0..tokens.len()).filter(|at| tokens[*at].text == "fn");
    starts.filter_map(|at| function(path, &tokens[at..])).collect()
}

/// The function that begins with the first token; `fn(u8)` is a type, and a function of a trait may have no
/// body.
fn function(path: &str, tokens: &[Token<'_>]) -> Option<Function> {
    let (keyword, name) = (tokens.first()?, tokens.get(1)?);
    name.text.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some(())?;
    let last = tokens.get(end(tokens)?)?;
    let at = format!("{path}:{} {}", keyword.line, name.text);
    Some(Function { at, lines: last.line - keyword.line + 1 })
}

/// The closing brace of the body: the first brace outside other brackets opens it.
fn end(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            "}" if depth == 1 => return Some(at),
            ")" | "]" | "}" => depth -= 1,
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Function, of};

    fn lengths(source: &str) -> Vec<(String, usize)> {
        let functions = of("a.rs", source).into_iter();
        functions.map(|Function { at, lines }| (at, lines)).collect()
    }

    #[test]
    fn lines_are_counted_from_fn_to_the_closing_brace() {
        let source = "/// Doc.\n#[must_use]\npub fn a() -> [u8; 2] {\n    [1, 2] // }\n}\nfn b() {}\n";
        assert_eq!(lengths(source), [("a.rs:3 a".to_owned(), 3), ("a.rs:6 b".to_owned(), 1)]);
    }

    #[test]
    fn braces_in_text_do_not_count() {
        assert_eq!(
            lengths("fn a() {\n    let x = \"}\"; let y = '}';\n    /* } */\n}\n"),
            [("a.rs:1 a".to_owned(), 4)]
        );
    }

    #[test]
    fn types_declarations_and_tests_are_no_functions() {
        assert_eq!(lengths("type A = fn(u8) -> u8;\ntrait B { fn c(&self) -> [u8; 3]; }\n"), []);
        assert_eq!(lengths("#[test]\nfn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\n"), []);
    }

    #[test]
    fn a_function_in_another_counts_for_both() {
        let source = "fn a()\nwhere\n    u8: Copy,\n{\n    fn b() {\n    }\n}\n";
        assert_eq!(lengths(source), [("a.rs:1 a".to_owned(), 7), ("a.rs:5 b".to_owned(), 2)]);
    }
}
