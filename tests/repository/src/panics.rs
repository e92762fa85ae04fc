//! What can end a server: `panic = "abort"` makes an `expect` that fails the end of the process, and the
//! broker comes back sealed. `docs/panics.md` lists every place with why it cannot fail; here the list is
//! compared with the sources, so that no place comes or goes without somebody reading that page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::source::{Kind, Sources, kinds, read, shipped, test_files};

const PAGE: &str = "docs/panics.md";
const BEGIN: &str = "<!-- from the sources -->\n";
const END: &str = "<!-- end -->\n";
const INDEXES: &str = "## Indexes and slices\n";
/// What servers are built from. A command that fails ends itself and nobody else.
const SHIPPED: [&str; 6] =
    ["proto/src/", "net/src/", "broker/core/src/", "broker/src/", "kms-fragment/src/", "client/src/"];
/// Built for tests only, by another condition than `cfg(test)`.
const FOR_TESTS: [&str; 4] = [
    "proto/src/secret/gauge.rs",
    "proto/src/timing.rs",
    "broker/src/testing",
    "broker/src/store/conformance",
];

#[test]
fn every_place_that_ends_the_process_stands_in_the_table() {
    let sources = server_sources();
    let table = table(&sources);
    let page = std::fs::read_to_string(crate::root().join(PAGE)).unwrap_or_default();
    let written = between(&page, BEGIN, END).unwrap_or_default();
    let made = crate::root().join("target/panics.txt");
    let _ = std::fs::create_dir_all(made.parent().unwrap());
    std::fs::write(&made, &table).unwrap();
    let missing: Vec<&str> = table.lines().filter(|line| !written.lines().any(|old| old == *line)).collect();
    let gone: Vec<&str> = written.lines().filter(|old| !table.lines().any(|line| line == *old)).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{PAGE} differs from the sources; read what is new, then put target/panics.txt between its marks\n\
         new:\n{}\ngone:\n{}",
        missing.join("\n"),
        gone.join("\n")
    );
}

#[test]
fn nothing_is_unwrapped_and_every_index_is_counted() {
    let sources = server_sources();
    let page = std::fs::read_to_string(crate::root().join(PAGE)).unwrap_or_default();
    let page = page.split_once(INDEXES).map_or("", |(_, rows)| rows);
    let mut wrong = Vec::new();
    for (path, text) in &sources {
        let code = shipped(text);
        let found = (code.matches(".unwrap()").count(), indexes(&code));
        if found.0 > 0 {
            wrong.push(format!("{path}: {} times `unwrap()`", found.0));
        }
        let row = page.lines().find(|line| line.starts_with(&format!("| {path} | ")));
        let counted = row.and_then(|row| row.split('|').nth(2)).and_then(|cell| cell.trim().parse().ok());
        if counted.unwrap_or(0) != found.1 {
            wrong.push(format!("{path}: {} indexes, {} in {PAGE}", found.1, counted.unwrap_or(0)));
        }
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("/src/"));
    let named = rows.filter_map(|row| row.split('|').nth(1)).map(str::trim);
    wrong.extend(
        named
            .filter(|path| path.ends_with(".rs") && !sources.contains_key(*path))
            .map(|path| format!("{PAGE} names {path}, which is no source of a server")),
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Sources of the servers, without files that hold tests only.
fn server_sources() -> Sources {
    let all = read(|path| path.ends_with(".rs"));
    let tests = test_files(&all);
    let is_server = |path: &String| {
        SHIPPED.iter().any(|folder| path.starts_with(folder))
            && !tests.contains(path)
            && !FOR_TESTS.iter().any(|test| path.starts_with(test))
    };
    all.into_iter().filter(|(path, _)| is_server(path)).collect()
}

/// One line for each reason and file.
fn table(sources: &Sources) -> String {
    let mut rows: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (path, text) in sources {
        for reason in places(text) {
            *rows.entry((path.clone(), reason)).or_default() += 1;
        }
    }
    let mut table = String::from("| Where | Times | Why it does not happen |\n|---|---|---|\n");
    for ((path, reason), count) in rows {
        writeln!(table, "| {path} | {count} × | {} |", reason.replace('|', "\\|")).unwrap();
    }
    table
}

/// The reason of every `expect`, `panic!`, `unreachable!` and `assert!` that ships.
fn places(source: &str) -> Vec<String> {
    let code = shipped(source);
    let mut found = Vec::new();
    for (word, is_macro) in
        [(".expect(", false), ("panic!(", true), ("unreachable!(", true), ("assert", true)]
    {
        for (at, _) in code.match_indices(word) {
            if word == "assert" && !is_assertion(&code, at) {
                continue;
            }
            if let Some(text) = first_text(source, at + word.len()) {
                found.push(if is_macro { format!("`{}`: {text}", word.trim_end_matches('(')) } else { text });
            }
        }
    }
    found
}

/// `assert!(`, `assert_eq!(` and `assert_ne!(` that run; those of constants fail when the crate is built.
fn is_assertion(code: &str, at: usize) -> bool {
    let before = &code[..at];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let rest = &code[at..];
    let names = ["assert!(", "assert_eq!(", "assert_ne!("];
    names.iter().any(|name| rest.starts_with(name)) && !before.ends_with("debug_") && !line.contains("const ")
}

/// The first string after a place, within the same statement. A method of our own of the same name has none.
fn first_text(source: &str, at: usize) -> Option<String> {
    let rest = &source[at..];
    let kinds = kinds(source);
    let end =
        (at..source.len()).find(|place| kinds[*place] == Kind::Code && source.as_bytes()[*place] == b';');
    let end = end.unwrap_or(source.len()) - at;
    let begin = (0..end).find(|place| kinds[at + place] == Kind::Text && rest.as_bytes()[*place] == b'"')?;
    let is_argument = rest[..begin].trim().is_empty() || source[..at].ends_with("assert");
    let close =
        (begin + 1..end).find(|place| rest.as_bytes()[*place] == b'"' && !rest[..*place].ends_with('\\'))?;
    is_argument.then(|| rest[begin + 1..close].split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Indexes and slices: a bracket straight after a value.
fn indexes(code: &str) -> usize {
    let bytes = code.as_bytes();
    let is_index = |at: &usize| {
        let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
        bytes[*at] == b'[' && (before.is_ascii_alphanumeric() || b"_)]?".contains(&before))
    };
    (0..bytes.len()).filter(is_index).count()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin)?.1.split_once(end).map(|(inside, _)| inside)
}

#[test]
fn the_places_of_a_source() {
    let source = "fn a() { b.expect(\"it is there\"); c(d[0], &e[1..]); panic!(\"no {x}\"); self.expect(b'x')?; }\n\
                  const _: () = assert!(A == 1);\n#[derive(X)]\nstruct S([u8; 4]);\nfn f() { assert!(g, \"h\"); vec![1]; }\n\
                  #[cfg(test)]\nmod tests { fn t() { u.unwrap(); v[1]; } }";
    assert_eq!(places(source), ["it is there", "`panic!`: no {x}", "`assert`: h"]);
    assert_eq!(indexes(&shipped(source)), 2);
    assert_eq!(shipped(source).matches(".unwrap()").count(), 0);
}
