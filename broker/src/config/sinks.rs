//! Where entries of the log are sent. What a kind of sink needs stays raw here, and is read by its folder.

use serde::{Deserialize, Serialize};

use super::raw::{Raw, is_name};

/// Most sinks: each keeps some hundred KiB.
const SINKS_MAX: usize = 8;

/// One place that entries are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct SinkConfig {
    /// What it is called: letters, digits, `-` and `_`. How far it has come is remembered under this name.
    pub name: String,
    /// `file`, `stdout`, `syslog`, `otlp`, `hec` or `http`.
    pub kind: String,
    /// What a line looks like.
    pub format: Format,
    /// Whether names leave.
    pub names: Names,
    /// Whether nothing is pruned by age or size that this sink has not had. The disk budget comes first.
    pub hold: bool,
    /// Where a sink begins that was not there before.
    pub begin: Begin,
    /// What its kind needs.
    pub rest: Raw,
}

/// As it is written.
#[derive(Deserialize)]
struct Written {
    name: String,
    kind: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    names: Names,
    #[serde(default = "holds")]
    hold: bool,
    #[serde(default)]
    begin: Begin,
    #[serde(flatten)]
    rest: toml::Table,
}

fn holds() -> bool {
    true
}

impl From<Written> for SinkConfig {
    fn from(written: Written) -> Self {
        let Written { name, kind, format, names, hold, begin, rest } = written;
        Self { name, kind, format, names, hold, begin, rest: rest.into() }
    }
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The canonical event.
    #[default]
    Event,
    /// In the shape of Vault's audit lines.
    Vault,
}

/// Whether names leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// Keyed hashes stand for paths, callers, policies and addresses.
    #[default]
    Keyed,
    /// As they are: whoever reads the sink, or what is between, has them.
    Plain,
}

/// Where a new sink begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// With the oldest entry that is kept.
    #[default]
    Oldest,
    /// With what comes from now on.
    Now,
}

/// Whether there are not too many, and each has a name of its own.
pub(super) fn are_sound(sinks: &[SinkConfig]) -> bool {
    let is_alone = |sink: &SinkConfig| sinks.iter().filter(|other| other.name == sink.name).count() == 1;
    sinks.len() <= SINKS_MAX && sinks.iter().all(|sink| is_name(&sink.name) && is_alone(sink))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Config, ConfigError, SMALL};
    use super::*;

    fn parse(sinks: &str) -> Result<Vec<SinkConfig>, ConfigError> {
        Config::parse(&format!("{SMALL}\n{sinks}")).map(|config| config.lives.now().audit.sinks.clone())
    }

    #[test]
    fn a_sink_keeps_names_and_holds_entries_unless_told_otherwise() {
        let sinks =
            parse("[[audit.sinks]]\nname = \"a\"\nkind = \"file\"\npath = \"/x\"\nrotate_mib = 3").unwrap();
        let [sink] = sinks.as_slice() else { panic!("{sinks:?}") };
        assert_eq!((sink.names, sink.format, sink.begin), (Names::Keyed, Format::Event, Begin::Oldest));
        assert!(sink.hold);
        let rest: toml::Table = sink.rest.parse().unwrap();
        assert_eq!(rest.len(), 2, "{rest:?}");
    }

    #[test]
    fn names_of_sinks_are_words_and_each_is_there_once() {
        let named = |names: &[&str]| {
            let sinks =
                names.iter().map(|name| format!("[[audit.sinks]]\nname = {name:?}\nkind = \"stdout\"\n"));
            parse(&sinks.collect::<String>())
        };
        assert_eq!(named(&["a", "b-2", "c_d"]).unwrap().len(), 3);
        let many: Vec<String> = (0..9).map(|at| format!("s{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for bad in [&["a", "a"][..], &[""], &["a b"], &["ä"], &many] {
            assert!(matches!(named(bad), Err(ConfigError::Sinks)), "{bad:?}");
        }
        let bad = parse("[[audit.sinks]]\nname = \"a\"\nkind = \"file\"\nnames = \"open\"");
        assert!(matches!(bad, Err(ConfigError::Parse { .. })));
    }
}
