//! Rust source as these rules read it: no parser, only what strings, comments, brackets and attributes are.

mod mask;
mod shipped;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use self::mask::{Kind, code, kinds};
pub use self::shipped::shipped;
pub use self::tokens::{Token, tokens};

/// Files by their path in the checkout.
pub type Sources = BTreeMap<String, String>;

/// All text files of the checkout that a name speaks for. What is built or found by fuzzing is not looked at.
pub fn read(wanted: impl Fn(&str) -> bool) -> Sources {
    let root = crate::root();
    let mut files = Sources::new();
    collect(&root, &root, &wanted, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, wanted: &impl Fn(&str) -> bool, files: &mut Sources) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !is_made(&name) {
            collect(root, &path, wanted, files);
        } else if path.is_file() && name != ".git" && wanted(&name) {
            files.extend(std::fs::read_to_string(&path).ok().map(|text| (name, text)));
        }
    }
}

fn is_made(folder: &str) -> bool {
    let made = ["target", ".git", "fuzz/target", "fuzz/corpus", "fuzz/artifacts"];
    made.contains(&folder) || folder.ends_with("__pycache__")
}

/// The files that hold tests only: below `tests/` and `benches/`, the fuzz targets, and modules under
/// `cfg(test)`.
pub fn test_files(sources: &Sources) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = sources.keys().filter(|path| is_test_path(path)).cloned().collect();
    for (path, text) in sources {
        for module in shipped::test_modules(text) {
            let inside = match module.strip_prefix("./") {
                Some(file) => format!("{}/{file}", folder_of(path)),
                None => format!("{}/{module}", children_of(path)),
            };
            let below = format!("{inside}/");
            let named = |other: &&String| **other == format!("{inside}.rs") || other.starts_with(&below);
            found.extend(sources.keys().filter(named).cloned());
        }
        found.extend(shipped(text).trim().is_empty().then(|| path.clone()));
    }
    found
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("fuzz/") || path.split('/').any(|part| part == "tests" || part == "benches")
}

/// The folder in which a file's modules lie.
pub fn children_of(file: &str) -> &str {
    match file.rsplit('/').next() {
        Some("lib.rs" | "main.rs" | "mod.rs") => folder_of(file),
        _ => file.trim_end_matches(".rs"),
    }
}

fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::{Sources, children_of, test_files};

    #[test]
    fn modules_lie_beside_or_below_their_file() {
        assert_eq!(children_of("a/src/lib.rs"), "a/src");
        assert_eq!(children_of("a/src/room/mod.rs"), "a/src/room");
        assert_eq!(children_of("a/src/room.rs"), "a/src/room");
    }

    #[test]
    fn modules_under_cfg_test_are_test_files_with_all_below_them() {
        let files = [
            ("a/src/lib.rs", "mod room;"),
            (
                "a/src/room.rs",
                "#[cfg(test)]\nmod tests;\n#[cfg(test)] #[path = \"odd_one.rs\"] mod odd;\nmod shipped; fn x() {}",
            ),
            ("a/src/room/shipped.rs", "fn y() {}"),
            ("a/src/room/tests.rs", "mod world;"),
            ("a/src/room/tests/world.rs", "fn z() {}"),
            ("a/src/odd_one.rs", "fn z() {}"),
            ("a/src/all.rs", "//! Tests.\n#![cfg(test)]\nfn z() {}"),
            ("a/benches/speed.rs", "fn main() {}"),
        ];
        let sources: Sources = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let found: Vec<_> = test_files(&sources).into_iter().collect();
        let expected = [
            "a/benches/speed.rs",
            "a/src/all.rs",
            "a/src/odd_one.rs",
            "a/src/room/tests.rs",
            "a/src/room/tests/world.rs",
        ];
        assert_eq!(found, expected);
    }
}
