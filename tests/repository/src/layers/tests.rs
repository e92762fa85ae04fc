//! The check, on a small house that is in order, and then with one thing wrong at a time.

use super::violations;
use crate::source::Sources;

const PAGE: &str = "# A crate\n\n```text\nrooms, each may use only those above it:\nerror.rs   what fails\nstore/     bytes\n           on disk\nkeys/      keys\nrun.rs     all\n```\n";

const HOUSE: [(&str, &str); 9] = [
    ("a/README.md", PAGE),
    (
        "a/src/lib.rs",
        "//! crate::run\nmod error;\npub mod keys;\npub mod run;\npub mod store;\npub use self::keys::Ring;\n",
    ),
    ("a/src/error.rs", "pub struct Error; // crate::run::go\n"),
    ("a/src/store/mod.rs", "mod file; mod row;\npub use self::file::File;\nuse crate::error::Error;\n"),
    ("a/src/store/file.rs", "use super::row::Row;\nuse super::Name;\nuse crate::error::{self, Error};\n"),
    ("a/src/store/row.rs", "const TEXT: &str = \"crate::run::go\";\n"),
    (
        "a/src/keys.rs",
        "use crate::{error::Error, store::File};\n#[cfg(test)]\nmod tests;\nfn f() -> crate::store::File { todo() }\n",
    ),
    ("a/src/keys/tests.rs", "use crate::run::go;\n"),
    (
        "a/src/run.rs",
        "use super::keys;\nuse crate::Ring;\nmod inner { use super::super::store::File; }\npub use crate::error::Error;\n#[test]\nfn t() {}\n",
    ),
];

/// What any arrow from the first room to the last one closes.
const ROUND: &str = "in the crate, these stand in a circle: error, keys, run, store";

const ROUND_STORE: &str = "in the crate, these stand in a circle: keys, run, store";

/// The house with a line more in one file.
fn house_with(file: &str, line: &str) -> Vec<String> {
    let mut sources: Sources = HOUSE.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    sources.entry(file.to_owned()).or_default().push_str(line);
    violations(&sources, "a/src/lib.rs", "a/README.md")
}

#[track_caller]
fn red(file: &str, line: &str, expected: &[&str]) {
    assert_eq!(house_with(file, line), expected, "{file} with {line:?}");
}

fn page(text: &str) -> Vec<String> {
    let mut sources: Sources = HOUSE.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    sources.insert("a/README.md".to_owned(), text.to_owned());
    violations(&sources, "a/src/lib.rs", "a/README.md")
}

#[test]
fn a_house_in_order_is_green() {
    assert_eq!(house_with("a/src/run.rs", ""), Vec::<String>::new());
}

#[test]
fn every_arrow_that_is_turned_is_red() {
    red(
        "a/src/error.rs",
        "use crate::store::File;",
        &[
            "a/src/error.rs:2: error uses store, which stands below it",
            "in the crate, these stand in a circle: error, store",
        ],
    );
    red(
        "a/src/store/row.rs",
        "use crate::keys;",
        &[
            "a/src/store/row.rs:2: store uses keys, which stands below it",
            "in the crate, these stand in a circle: keys, store",
        ],
    );
    let down = ["a/src/error.rs:2: error uses run, which stands below it", ROUND];
    red("a/src/error.rs", "use crate::run::go;", &down);
    red("a/src/error.rs", "use super::run;", &down);
    red("a/src/error.rs", "pub(crate) fn f() { crate::run::go::<u8>() }", &down);
    red("a/src/error.rs", "fn f() -> Vec<crate::run::Go> { vec![crate::run::go()] }", &down);
    red("a/src/error.rs", "mod inner { use super::super::run::go; }", &down);
    red("a/src/error.rs", "use crate::run as other; use other::go;", &down);
}

#[test]
fn nested_lists_are_read_to_the_end() {
    let down = ["a/src/error.rs:2: error uses run, which stands below it", ROUND];
    red("a/src/error.rs", "use crate::{error as e, run::{a, b::{self, C}}};", &down);
    red("a/src/error.rs", "use crate::{run as e, error};", &down);
    red("a/src/error.rs", "use {std::fs, crate::run::*};", &down);
}

#[test]
fn macros_are_read() {
    let down = ["a/src/error.rs:2: error uses run, which stands below it", ROUND];
    red("a/src/error.rs", "macro_rules! m { () => { $crate::run::go() } }", &down);
    red("a/src/error.rs", "fn f() { println!(\"{}\", crate::run::go()) }", &down);
}

#[test]
fn a_chain_of_super_that_leaves_the_room_is_an_arrow() {
    let down = ["a/src/store/row.rs:2: store uses run, which stands below it", ROUND_STORE];
    red("a/src/store/row.rs", "use super::super::run::go;", &down);
    red("a/src/store/row.rs", "fn f() { super::super::run::go() }", &down);
    red("a/src/store/row.rs", "use super::file::Other;", &["in store, these stand in a circle: file, row"]);
}

#[test]
fn names_that_are_passed_on_count_for_who_has_them() {
    red(
        "a/src/error.rs",
        "use crate::Ring;",
        &[
            "a/src/error.rs:2: error uses keys, which stands below it",
            "in the crate, these stand in a circle: error, keys, store",
        ],
    );
    let detour = ["a/src/store/row.rs:2: store uses run, which stands below it", ROUND_STORE];
    red("a/src/store/row.rs", "use crate::run::Error;", &detour);
    red("a/src/store/row.rs", "use super::File;", &["in store, these stand in a circle: file, row"]);
    red(
        "a/src/keys.rs",
        "use crate::Own;",
        &["a/src/keys.rs:5: keys uses what lies in the crate's root; give it a room"],
    );
    assert_eq!(house_with("a/src/error.rs", "macro_rules! m { () => {} } fn f() { crate::m!() }"), [""; 0]);
}

#[test]
fn tests_are_not_read() {
    for line in [
        "#[cfg(test)] use crate::run;",
        "#[test] fn t() { crate::run::go() }",
        "#[cfg(test)] mod t { use crate::run; }",
    ] {
        assert_eq!(house_with("a/src/error.rs", line), [""; 0], "{line}");
    }
}

#[test]
fn every_room_stands_on_the_page_once() {
    red("a/src/lib.rs", "mod attic { }", &["a/README.md: the module attic has no line"]);
    assert_eq!(
        page(&PAGE.replace("keys/ ", "cellar/ ")),
        ["a/README.md: the module keys has no line", "a/README.md: there is no module cellar",]
    );
    assert_eq!(page(&PAGE.replace("run.rs", "run.rs  all\nrun.rs")), ["a/README.md: run stands twice"]);
    assert_eq!(page(&PAGE.replace("run.rs", "run/")), ["a/README.md: there is no run/"]);
    assert_eq!(page(&PAGE.replace("store/ ", "store.rs ")), ["a/README.md: there is no store.rs"]);
    assert!(page("# A crate\n")[0].starts_with("a/README.md: has no fenced block"));
    assert!(page(&PAGE.replace("keys/ ", "keys "))[0].contains("names neither a folder"));
}

#[test]
fn rooms_that_change_places_are_red() {
    let turned = PAGE.replace("error.rs ", "X").replace("run.rs ", "error.rs ").replace('X', "run.rs ");
    let found = page(&turned);
    assert!(found.contains(&"a/src/run.rs:1: run uses keys, which stands below it".to_owned()), "{found:#?}");
    assert!(
        found.contains(&"a/src/store/file.rs:3: store uses error, which stands below it".to_owned()),
        "{found:#?}"
    );
}

/// What the check could not follow is not allowed, rather than passed over.
#[test]
fn what_would_hide_an_arrow_is_red() {
    let moved = "a/src/error.rs:2: a module outside its folder; move the file to where `mod` looks for it";
    red("a/src/error.rs", "#[path = \"run/inner.rs\"]\nmod inner;", &[moved]);
    let renamed = "a/src/error.rs:2: a root by another name; name the room instead";
    for line in ["use crate as all; use all::run::go;", "use super as all; use all::run::go;"] {
        red("a/src/error.rs", line, &[renamed]);
    }
}
