//! A configuration with everything that is wrong in it, for whoever asks before a start.

use std::path::Path;

use serde::Deserialize;
use symbolon_net::faults::Examined;

use super::{AuditConfig, BackupConfig, Config, InitConfig, Remote, StoreConfig, Tls};

/// What the good parts of a file name outside of it. Nothing is missed here: the rest has its own faults.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Files of the certificate.
    pub tls: Option<Tls>,
    /// The store.
    pub store: Option<StoreConfig>,
    /// The fragment services.
    pub remote: Option<Remote>,
    /// The escrow key.
    pub init: InitConfig,
    /// Cards of recipients, and credentials.
    pub backup: Option<BackupConfig>,
    /// Credentials.
    pub audit: AuditConfig,
}

impl Config {
    /// Everything that is wrong in the file, and what its good parts name.
    #[must_use]
    pub fn examine_file(path: &Path) -> (Vec<String>, Named) {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::examine(&text),
            Err(error) => (vec![format!("cannot read {}: {error}", path.display())], Named::default()),
        }
    }

    /// Everything that is wrong in the text, and what its good parts name.
    #[must_use]
    pub fn examine(text: &str) -> (Vec<String>, Named) {
        let examined = Examined::new::<Self>(text, &["listen", "store", "remote"]);
        let rest = examined.rest();
        let mut faults = examined.faults;
        if let Ok(config) = toml::from_str::<Self>(&rest) {
            faults.extend(config.refusals().iter().map(ToString::to_string));
        }
        (faults, toml::from_str(&rest).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::SMALL;
    use super::*;

    #[test]
    fn faults_of_form_and_of_sense_are_named_together() {
        let text = SMALL.replace("127.0.0.1", "0.0.0.0").replace("[store]", "lisen = 1\n[store]");
        let text =
            format!("{text}\ndead_man_hours = 0\n[high_tier]\nreserve_percent = 0\n[tls]\ncert_file = 'c'\n");
        let (faults, named) = Config::examine(&text);
        for words in
            ["lisen", "dead_man_hours", "reserve_percent", "missing field `key_file`", "loopback only"]
        {
            assert!(faults.iter().any(|fault| fault.contains(words)), "{words}: {faults:#?}");
        }
        assert!(named.tls.is_none() && named.remote.is_some());
        assert!(Config::examine(SMALL).0.is_empty());
    }
}
