//! What a test may find missing on a machine that has only Rust: it is then skipped, and `./test` counts it.

use std::fs::File;
use std::io::Write as _;

/// The file in which `./test` collects what was skipped, one line each.
const LIST: &str = "SYMBOLON_SKIPPED";

/// What a test needs besides Rust: `found`, if it is there. Otherwise the test says so and ends early; where
/// `CI` is `true` it fails, with what to install.
///
/// # Panics
/// In CI, if it is missing.
pub fn needs<T>(what: &str, install: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        assert!(!in_ci(), "{} needs {what}: {install}", test());
        skip(what);
    }
    found
}

/// Says that this test does not run, and why. For what is left out on purpose, in CI too.
#[allow(clippy::print_stderr, clippy::disallowed_methods)] // for whoever runs the test
pub fn skip(needs: &str) {
    let line = format!("skipped: {} needs {needs}\n", test());
    eprint!("{line}");
    let Some(list) = std::env::var_os(LIST) else { return };
    let written =
        File::options().append(true).create(true).open(list).map(|mut file| file.write_all(line.as_bytes()));
    assert!(matches!(written, Ok(Ok(()))), "the file that {LIST} names cannot be written");
}

#[allow(clippy::disallowed_methods)] // nobody configures a test
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Its name: the harness gives it to the thread.
fn test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}
