//! Programs that a machine may lack. A test that needs one is skipped there, and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon_repository::machine::needs;

/// `go` in `tests/go`.
pub fn go() -> Option<Command> {
    go_in("go")
}

/// `go` in a module below `tests/`, with pinned versions, its build cache under `target/`, and nothing of the
/// caller's Vault settings.
pub fn go_in(module: &str) -> Option<Command> {
    needs("Go 1.26", "install it from https://go.dev/dl and put it on the PATH", is_go_new().then_some(()))?;
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
    let mut go = Command::new("go");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VAULT_")) {
        go.env_remove(name);
    }
    go.current_dir(&module).env("GOFLAGS", "-mod=readonly -buildvcs=false").env("GOCACHE", cache());
    Some(go)
}

/// `go version go1.26.8 linux/amd64`.
fn is_go_new() -> bool {
    let output = Command::new("go").arg("version").env("GOTOOLCHAIN", "local").output();
    let told = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let minor =
        told.split_once(" go1.").and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 26)
}

/// The same cache that `./test` fills.
fn cache() -> PathBuf {
    let target = symbolon_repository::root().join("target");
    std::fs::create_dir_all(&target).unwrap();
    target.join("test-go")
}

/// Python with the packages of `tests/hvac/requirements.txt`; `./test` makes it and sets the variable.
pub fn python() -> Option<PathBuf> {
    let made = symbolon_repository::root().join("target/test-venv/bin/python");
    let python = std::env::var_os("SYMBOLON_TEST_PYTHON").map_or(made, PathBuf::from);
    let imports =
        Command::new(&python).args(["-c", "import hvac, moto, opentelemetry.proto, pytest"]).output();
    let found = imports.is_ok_and(|output| output.status.success()).then_some(python);
    needs(
        "Python 3 with hvac, moto and OpenTelemetry's messages",
        "install Python 3 and run ./test, which makes target/test-venv",
        found,
    )
}
