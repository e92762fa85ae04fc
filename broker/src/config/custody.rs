//! Who gives shares without a person. What a kind of source needs stays raw here, and is read by its folder.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::raw::{Raw, is_name};

/// Most sources: a share set has sixteen holders, and one of them is a person.
const SOURCES_MAX: usize = 15;

/// Sources of shares, and what they may do together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustodyConfig {
    /// Sources, whether or not they hold a share yet.
    pub sources: Vec<SourceConfig>,
    /// How many people an unseal takes at least; 0 lets sources open the broker alone.
    pub people_min: u8,
    /// Places from which alone a set may be opened, though it is weaker for it.
    pub accept_places: BTreeSet<String>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct SourceConfig {
    /// What it is called in share sets, transcripts and the log.
    pub name: String,
    /// `tang`, `pkcs11` or `tpm`.
    pub kind: String,
    /// Where it is: `box` (this machine), `site` (with whoever steals all of this place), or the name of
    /// another place.
    pub place: String,
    /// What its kind needs.
    pub rest: Raw,
}

/// As it is written.
#[derive(Deserialize)]
struct Written {
    name: String,
    kind: String,
    place: String,
    #[serde(flatten)]
    rest: toml::Table,
}

impl From<Written> for SourceConfig {
    fn from(written: Written) -> Self {
        let Written { name, kind, place, rest } = written;
        Self { name, kind, place, rest: rest.into() }
    }
}

impl CustodyConfig {
    /// Whether there are not too many, each with a name of its own, at places that have names.
    pub(super) fn is_sound(&self) -> bool {
        let names: BTreeSet<_> = self.sources.iter().map(|source| &source.name).collect();
        let is_named = |source: &SourceConfig| is_name(&source.name) && is_name(&source.place);
        self.sources.len() <= SOURCES_MAX
            && names.len() == self.sources.len()
            && self.sources.iter().all(is_named)
            && self.accept_places.iter().all(|place| is_name(place))
    }

    /// The source of this name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&SourceConfig> {
        self.sources.iter().find(|source| source.name == name)
    }
}
