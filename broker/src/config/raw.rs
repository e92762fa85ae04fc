//! Settings that are read by the folder they are for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name of a sink or a source, in characters.
const NAME_CHARS_MAX: usize = 40;

/// Whether it is a name of at most 40 letters, digits, `-` and `_`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Settings of a kind, in TOML.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Raw(String);

impl Raw {
    /// As the kind reads them. The text names what is wrong.
    pub fn parse<T: for<'a> Deserialize<'a>>(&self) -> Result<T, String> {
        toml::from_str(&self.0).map_err(|error| error.message().to_owned())
    }

    /// What has these names, and the rest.
    pub fn split(&self, names: &[&str]) -> Result<(Self, Self), String> {
        let (mut found, mut rest) = (toml::Table::new(), toml::Table::new());
        for (name, value) in self.parse::<toml::Table>()? {
            let side = if names.contains(&name.as_str()) { &mut found } else { &mut rest };
            side.insert(name, value);
        }
        Ok((Self(found.to_string()), Self(rest.to_string())))
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<toml::Table> for Raw {
    fn from(table: toml::Table) -> Self {
        Self(table.to_string())
    }
}
