//! The token file `~/.symbolon-token`: readable by its owner only, replaced in one step.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use symbolon::Token;

use crate::environment;
use crate::failure::Failure;
use crate::input;

const NAME: &str = ".symbolon-token";

/// Where the file is.
pub fn path() -> Result<PathBuf, Failure> {
    match environment::home() {
        Some(home) => Ok(home.join(NAME)),
        None => Err(Failure::general("HOME is not set, so there is no place for the token file")
            .hint("set SYMBOLON_TOKEN, or log in with --no-store")),
    }
}

/// The token in the file; none if there is no file.
pub fn load() -> Result<Option<Token>, Failure> {
    let Ok(path) = path() else { return Ok(None) };
    let metadata = match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        let message = format!("other users may read the token file {}", path.display());
        return Err(
            Failure::denied(message).hint(format!("revoke that token, or run: chmod 600 {}", path.display()))
        );
    }
    let text = input::file(&path)?;
    Ok(Some(Token::new(&text).map_err(symbolon::Error::from)?))
}

/// Writes the token with mode 0600 and says where.
pub fn store(token: &Token) -> Result<PathBuf, Failure> {
    let path = path()?;
    let directory = path.parent().unwrap_or(&path);
    let failed = |error: &dyn std::error::Error| {
        Failure::general(format!("cannot write the token file {}", path.display()))
            .because(error)
            .hint("use --no-store and set SYMBOLON_TOKEN")
    };
    // tempfile creates with mode 0600, so the token is never readable by others.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| failed(&error))?;
    file.write_all(token.expose().as_bytes()).map_err(|error| failed(&error))?;
    file.persist(&path).map_err(|error| failed(&error.error))?;
    Ok(path)
}
