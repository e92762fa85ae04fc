//! What lets a broker start with nobody there, as it is typed: one line for each device.
//!
//! ```text
//! http://tang.lan:7500#THUMBPRINT@site         a Tang server
//! /usr/lib/libhsm.so#TOKEN/KEY@office          a key in a PKCS#11 token
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use super::place::text;

/// A device that keeps what opens a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    device: Device,
    place: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Device {
    Tang { url: String, thumbprint: String },
    Token { module: String, token: String, key: String },
}

/// Why a text is no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Something else.
    #[error(
        "a source is one line like http://tang.lan:7500#THUMBPRINT@site or /usr/lib/libhsm.so#TOKEN/KEY@office; behind the @ is where the device stands: box, site, or the name of another place"
    )]
    Form,
    /// A place that is none.
    #[error("a place is box, site, or a word of letters, digits, - and _")]
    Place,
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(line: &str) -> Result<Self, SourceError> {
        let (device, place) = line.trim().rsplit_once('@').ok_or(SourceError::Form)?;
        let is_place = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if place.is_empty() || !place.chars().all(is_place) {
            return Err(SourceError::Place);
        }
        let (address, rest) = device.split_once('#').ok_or(SourceError::Form)?;
        if address.is_empty() || rest.is_empty() {
            return Err(SourceError::Form);
        }
        Ok(Self { device: Device::of(address, rest)?, place: place.to_owned() })
    }
}

impl Device {
    fn of(address: &str, rest: &str) -> Result<Self, SourceError> {
        let (address, rest) = (address.to_owned(), rest.to_owned());
        if address.starts_with("http://") || address.starts_with("https://") {
            return Ok(Self::Tang { url: address, thumbprint: rest });
        }
        match rest.split_once('/') {
            Some((token, key)) if address.starts_with('/') && !token.is_empty() && !key.is_empty() => {
                Ok(Self::Token { module: address, token: token.to_owned(), key: key.to_owned() })
            }
            _ => Err(SourceError::Form),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Tang { .. } => "tang",
            Self::Token { .. } => "pkcs11",
        }
    }
}

/// How their part of a configuration begins.
const BEGIN: &str = "\n# Who gives shares with nobody there: docs/unattended.md.\n[custody]\n";

/// Their part of a configuration that was made before, with what an operator has changed in it.
#[must_use]
pub fn kept(config: &str) -> Option<&str> {
    config.find(BEGIN).and_then(|begin| config.get(begin..))
}

/// What each is called: its kind, and its place in the list.
#[must_use]
pub fn names(sources: &[Source]) -> Vec<String> {
    (1..).zip(sources).map(|(number, source)| format!("{}-{number}", source.device.kind())).collect()
}

/// Their part of the configuration. The PIN of a token is read from a file of the configuration's folder.
#[must_use]
pub fn configuration(sources: &[Source], config_dir: &Path) -> String {
    let mut out = format!("{BEGIN}people_min = 0\n");
    for (name, Source { device, place }) in names(sources).into_iter().zip(sources) {
        let kind = device.kind();
        let _ =
            write!(out, "\n[[custody.sources]]\nname = \"{name}\"\nkind = \"{kind}\"\nplace = \"{place}\"\n");
        let _ = match device {
            Device::Tang { url, thumbprint } => {
                let (url, thumbprint) = (text(Path::new(url)), text(Path::new(thumbprint)));
                writeln!(out, "servers = [{{ url = {url}, thumbprint = {thumbprint} }}]")
            }
            Device::Token { module, token, key } => {
                let [module, token, key] = [module, token, key].map(|word| text(Path::new(word)));
                let pin = text(&config_dir.join(format!("{name}.pin")));
                writeln!(out, "module = {module}\ntoken = {token}\nkey = {key}\npin_file = {pin}")
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_broker::config::Config;

    use super::*;

    #[test]
    fn sources_as_they_are_typed_are_what_a_broker_reads() {
        let typed = ["http://tang.lan:7500#ab_c-1@site", "/usr/lib/libhsm.so#hsm/wrap key@office"];
        let sources = typed.map(|line| line.parse::<Source>().unwrap());
        let config = configuration(&sources, Path::new("/etc/symbolon"));
        let whole = format!(
            "listen = \"127.0.0.1:1\"\n[store]\npath = \"s\"\n[remote]\nurl = \"https://f.example\"\nfingerprint = \"0\"\n{config}"
        );
        let custody = Config::parse(&whole).unwrap().lives.now().custody.clone();
        let found: Vec<_> = custody.sources.iter().map(|it| (it.name.as_str(), it.place.as_str())).collect();
        assert_eq!(found, [("tang-1", "site"), ("pkcs11-2", "office")]);
        assert_eq!(kept(&whole), Some(config.as_str()));
        assert!(config.contains("pin_file = \"/etc/symbolon/pkcs11-2.pin\""), "{config}");
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for line in
            ["", "http://t", "http://t#x", "http://t#@site", "http://t#x@", "lib.so#t/k@box", "/l#t@box"]
        {
            assert!(line.parse::<Source>().is_err(), "{line}");
        }
        assert_eq!("http://t#x@a b".parse::<Source>(), Err(SourceError::Place));
    }
}
