//! The only place of the command line that reads the environment.

use std::path::PathBuf;

/// The first of these variables that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line's configuration; nothing else here reads variables"
)]
pub fn first_of(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// The user's home directory.
pub fn home() -> Option<PathBuf> {
    first_of(&["HOME"]).map(PathBuf::from)
}
