//! What would hide an arrow from the check, and is therefore not allowed in what ships.

use super::modules::Crate;
use crate::source::{Token, tokens};

/// A line for each.
pub fn hidden(krate: &Crate) -> Vec<String> {
    krate.files.iter().flat_map(|(file, (_, code))| in_file(file, &tokens(code))).collect()
}

fn in_file(file: &str, tokens: &[Token<'_>]) -> Vec<String> {
    let found = tokens.windows(3).filter_map(|window| {
        let words = [0, 1, 2].map(|at: usize| window[at].text);
        Some(format!("{file}:{}: {}", window[0].line, complaint(words)?))
    });
    found.collect()
}

fn complaint(words: [&str; 3]) -> Option<&'static str> {
    match words {
        ["#", "[", "path"] => Some("a module outside its folder; move the file to where `mod` looks for it"),
        ["use", "crate" | "self" | "super", "as"] => Some("a root by another name; name the room instead"),
        _ => None,
    }
}
