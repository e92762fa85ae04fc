//! The commit that `symbolon --version` names.
//!
//! `SYMBOLON_COMMIT` says it where there is no repository (a source archive, a package). Otherwise a release
//! build asks git; a build for development names none, so that a commit makes nobody build again. The same
//! commit gives the same binary.

#![allow(clippy::disallowed_methods, clippy::print_stdout)] // a build script is asked and answers like this

use std::path::Path;
use std::process::Command;

/// Digits of a commit that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SYMBOLON_COMMIT");
    let given = std::env::var("SYMBOLON_COMMIT").ok().filter(|text| !text.is_empty());
    let commit = given.or_else(of_repository).filter(|text| text.chars().all(|c| c.is_ascii_alphanumeric()));
    let suffix = commit.map(|text| format!(" ({})", text.chars().take(DIGITS).collect::<String>()));
    println!("cargo::rustc-env=SYMBOLON_COMMIT_SUFFIX={}", suffix.unwrap_or_default());
}

/// The commit of this repository, and of no other that a source archive was unpacked into.
fn of_repository() -> Option<String> {
    if std::env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let top = std::fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    let ours =
        std::fs::canonicalize(Path::new(&std::env::var("CARGO_MANIFEST_DIR").ok()?).join("../..")).ok()?;
    if top != ours {
        return None;
    }
    // Both change with each commit and checkout, and with nothing else. A file that is not there would make
    // every build run this again.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
