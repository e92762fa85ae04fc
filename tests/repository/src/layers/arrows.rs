//! Who uses whom: paths in `use` lines and in code that begin with `crate`, `self` or `super`.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Crate, Place};
use crate::source::{Token, tokens};

/// A module that names something of another.
#[derive(Debug)]
pub struct Arrow {
    pub from: Place,
    pub to: Place,
    /// File and line.
    pub at: String,
}

/// A path in a file, from the root of the crate.
struct Path {
    place: Place,
    /// The name under which a `use` line brings it in.
    alias: String,
    line: usize,
}

/// All arrows between modules of different places.
pub fn arrows(krate: &Crate) -> Vec<Arrow> {
    let names = Names::of(krate);
    let mut arrows = Vec::new();
    for (file, (place, code)) in &krate.files {
        let tokens = tokens(code);
        for start in starts(&tokens) {
            let from = module_of(place, &tokens[start]);
            for path in paths(&tokens, start, &from) {
                let at = format!("{file}:{}", path.line);
                let arrow = |to| Arrow { from: from.clone(), to, at: at.clone() };
                arrows.extend(names.meant(krate, path.place).into_iter().map(arrow));
            }
        }
    }
    arrows.retain(|arrow| arrow.from != arrow.to);
    arrows
}

/// What names mean in a module: brought in by `use`, or a macro that the whole crate sees.
struct Names {
    used: BTreeMap<(Place, String), Place>,
    macros: BTreeMap<String, Place>,
}

impl Names {
    fn of(krate: &Crate) -> Self {
        let mut names = Self { used: BTreeMap::new(), macros: BTreeMap::new() };
        for (place, code) in krate.files.values() {
            let tokens = tokens(code);
            for (at, token) in tokens.iter().enumerate() {
                let module = module_of(place, token);
                match token.text {
                    "use" => names.learn(krate, &tokens, at + 1, &module),
                    "macro_rules" => {
                        names.macros.extend(tokens.get(at + 2).map(|name| (name.text.to_owned(), module)))
                    }
                    _ => {}
                }
            }
        }
        names
    }

    fn learn(&mut self, krate: &Crate, tokens: &[Token<'_>], at: usize, module: &Place) {
        let is_child = |name: &str| krate.is_module(&[module.clone(), vec![name.to_owned()]].concat());
        let begins_here = tokens.get(at).is_some_and(|token| is_prefix(token.text));
        if begins_here || tokens.get(at).is_some_and(|token| is_child(token.text)) {
            let named = paths(tokens, at, module).into_iter();
            self.used.extend(named.map(|path| ((module.clone(), path.alias), path.place)));
        }
    }

    /// The module that a path names, and the one that has what it names, if the first only passes it on. What
    /// the root passes on belongs to the other alone.
    fn meant(&self, krate: &Crate, place: Place) -> BTreeSet<Place> {
        let named = krate.module_in(&place);
        let settled = self.settle(krate, place, 0);
        if named.is_empty() { [settled].into() } else { [named, settled].into() }
    }

    fn settle(&self, krate: &Crate, place: Place, hops: usize) -> Place {
        let module = krate.module_in(&place);
        let rest = &place[module.len()..];
        let Some(name) = rest.first().filter(|_| hops < 8) else { return module };
        match self.used.get(&(module.clone(), name.clone())) {
            Some(target) if *target != place => {
                self.settle(krate, [target.as_slice(), &rest[1..]].concat(), hops + 1)
            }
            _ if module.is_empty() => self.macros.get(name).cloned().unwrap_or(module),
            _ => module,
        }
    }
}

fn is_prefix(word: &str) -> bool {
    matches!(word, "crate" | "self" | "super")
}

fn module_of(file: &Place, token: &Token<'_>) -> Place {
    file.iter().cloned().chain(token.inside.iter().map(|name| (*name).to_owned())).collect()
}

/// Where paths begin.
fn starts(tokens: &[Token<'_>]) -> Vec<usize> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let begins =
        |at: &usize| is_prefix(text(*at)) && text(at + 1) == "::" && (*at == 0 || text(at - 1) != "::");
    (0..tokens.len()).filter(begins).collect()
}

/// The paths of the tree that begins here.
fn paths(tokens: &[Token<'_>], start: usize, module: &Place) -> Vec<Path> {
    let mut at = start;
    let mut place = module.clone();
    while tokens.get(at + 1).is_some_and(|token| token.text == "::") && is_prefix(tokens[at].text) {
        match tokens[at].text {
            "crate" => place.clear(),
            "super" => drop(place.pop()),
            _ => {}
        }
        at += 2;
    }
    let mut found = Vec::new();
    follow(tokens, at, place, &mut found);
    found
}

/// Reads one branch of a tree of paths; returns what comes after it.
fn follow(tokens: &[Token<'_>], at: usize, mut place: Place, found: &mut Vec<Path>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    if text(at) == "{" {
        return branches(tokens, at + 1, &place, found);
    }
    let is_name = text(at).starts_with(|c: char| c.is_alphabetic() || c == '_') && text(at) != "self";
    place.extend(is_name.then(|| text(at).to_owned()));
    if text(at + 1) == "::" && !matches!(text(at + 2), "<" | "") {
        return follow(tokens, at + 2, place, found);
    }
    let renamed = text(at + 1) == "as";
    let alias = if renamed { text(at + 2).to_owned() } else { place.last().cloned().unwrap_or_default() };
    found.push(Path { place, alias, line: tokens[at.min(tokens.len() - 1)].line });
    at + if renamed { 3 } else { 1 }
}

fn branches(tokens: &[Token<'_>], mut at: usize, place: &Place, found: &mut Vec<Path>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "}" => return at + 1,
            "," => at += 1,
            _ => at = follow(tokens, at, place.clone(), found),
        }
    }
    at
}
