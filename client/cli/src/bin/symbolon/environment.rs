//! The only place of the command line that reads the environment.

use std::path::PathBuf;

/// Names of one setting, in order: ours, OpenBao's, Vault's.
pub type Names = [&'static str; 3];

/// Where the broker is.
pub const ADDRESS: Names = ["SYMBOLON_ADDR", "BAO_ADDR", "VAULT_ADDR"];
/// Whom to trust.
pub const CA_CERT: Names = ["SYMBOLON_CACERT", "BAO_CACERT", "VAULT_CACERT"];
/// Which namespace.
pub const NAMESPACE: Names = ["SYMBOLON_NAMESPACE", "BAO_NAMESPACE", "VAULT_NAMESPACE"];
/// As whom. Goes before the token file.
pub const TOKEN: Names = ["SYMBOLON_TOKEN", "BAO_TOKEN", "VAULT_TOKEN"];

/// The first of these variables that is set and not empty.
pub fn first_of(names: &[&'static str]) -> Option<String> {
    first_named(names).map(|(_, value)| value)
}

/// The same, with its name.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line's configuration; nothing else here reads variables"
)]
pub fn first_named(names: &[&'static str]) -> Option<(&'static str, String)> {
    let set = |name: &&'static str| Some((*name, std::env::var(name).ok().filter(|text| !text.is_empty())?));
    names.iter().find_map(set)
}

/// The user's home directory.
pub fn home() -> Option<PathBuf> {
    first_of(&["HOME"]).map(PathBuf::from)
}

/// Whether colours are wanted where this says that there is a terminal (no-color.org).
pub fn has_colours(is_terminal: bool) -> bool {
    is_terminal && first_of(&["NO_COLOR"]).is_none() && first_of(&["TERM"]).as_deref() != Some("dumb")
}
