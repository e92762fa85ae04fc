//! The configuration: one TOML file, unknown fields refused, secrets only by file path.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::PASSPHRASE_BYTES_MAX;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::order::{Officer, Officers};

use crate::quota::Quota;
use crate::sealing::{PassphraseCost, Sealing};

/// Longest lease: a broker that is cut off may use cached keys for so long at most (`docs/skb1.md` 5).
pub const LEASE_TTL_SECS_MAX: u32 = 86_400;

const DAY_SECS: u64 = 86_400;

/// Largest configuration file, in bytes.
const CONFIG_BYTES_MAX: u64 = 64 << 10;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port that brokers connect to.
    pub listen: SocketAddr,
    /// Directory of keys, tables and the evaluation log. Made by `init`; only the service's user may enter
    /// it.
    pub state_dir: PathBuf,
    /// File of 32 random bytes that opens the state. `init` makes it if it is absent. Keep it on another
    /// device than the state, and out of backups that hold the state. Exactly one of this and
    /// `passphrase_file` must be given.
    pub key_file: Option<PathBuf>,
    /// File whose first line is the passphrase that opens the state, for example a systemd credential.
    pub passphrase_file: Option<PathBuf>,
    /// Start although secret memory can be neither hidden nor locked. Keys may then reach swap or a core
    /// dump.
    #[serde(default)]
    pub allow_insecure_memory: bool,
    /// What brokers are granted.
    #[serde(default)]
    pub grants: Grants,
    /// What the brokers of single deployments are granted instead.
    #[serde(default, rename = "deployment")]
    pub deployments: Vec<DeploymentGrants>,
    /// People of whom two must sign every order, such as one to destroy a key. None, or at least two.
    #[serde(default, rename = "officer", deserialize_with = "read_officers")]
    pub officers: Officers,
    /// How keys are destroyed.
    #[serde(default)]
    pub destruction: Destruction,
    /// What the listener tolerates.
    #[serde(default)]
    pub limits: Limits,
}

/// What brokers are granted. Written into each manifest; a change applies to manifests issued after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Seconds that a broker may use cached keys after each answer, 1 to 86,400. A suspension takes effect at
    /// the next heartbeat, or at the latest after this time if the broker hides from the service.
    pub lease_ttl_secs: u32,
    /// Seconds that a broker may go on using cached keys after its last lease has ended, 0 to 86,400. Every
    /// second of it is one more that a cut-off broker works on.
    pub grace_secs: u32,
    /// Elements per key that may be evaluated, at once and per hour. Bounds what a broker taken over can
    /// open.
    pub quota: Quota,
}

/// What the brokers of one deployment are granted; what is absent is as in [`Grants`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentGrants {
    /// The deployment, 32 hex digits.
    #[serde(deserialize_with = "read_deployment")]
    pub id: DeploymentId,
    /// See [`Grants::lease_ttl_secs`].
    pub lease_ttl_secs: Option<u32>,
    /// See [`Grants::grace_secs`].
    pub grace_secs: Option<u32>,
    /// See [`Grants::quota`].
    pub quota: Option<Quota>,
}

impl DeploymentGrants {
    const fn over(&self, grants: Grants) -> Grants {
        Grants {
            lease_ttl_secs: match self.lease_ttl_secs {
                Some(secs) => secs,
                None => grants.lease_ttl_secs,
            },
            grace_secs: match self.grace_secs {
                Some(secs) => secs,
                None => grants.grace_secs,
            },
            quota: match self.quota {
                Some(quota) => quota,
                None => grants.quota,
            },
        }
    }
}

/// How keys are destroyed. Two officers order it; it happens when the cooling-off time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Destruction {
    /// Days between the order and the deed, 7 to 30. Two officers can cancel it until then.
    pub cooling_off_days: u32,
    /// Days that backups of this service are kept, 0 to 3,650. Goes into the certificate: until then a backup
    /// may still hold what was destroyed.
    pub backup_days: u32,
}

impl Default for Destruction {
    fn default() -> Self {
        Self { cooling_off_days: 14, backup_days: 90 }
    }
}

impl Destruction {
    /// The cooling-off time in seconds.
    #[must_use]
    pub const fn cooling_off_secs(&self) -> u64 {
        self.cooling_off_days as u64 * DAY_SECS
    }

    /// How long backups are kept, in seconds.
    #[must_use]
    pub const fn backup_secs(&self) -> u64 {
        self.backup_days as u64 * DAY_SECS
    }

    fn check(&self) -> Result<(), ConfigError> {
        in_range("destruction.cooling_off_days", self.cooling_off_days.into(), 7, 30)?;
        in_range("destruction.backup_days", self.backup_days.into(), 0, 3650)
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self { lease_ttl_secs: 3600, grace_secs: 0, quota: Quota::default() }
    }
}

/// What the listener tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once of enrolled brokers.
    pub connections_max: usize,
    /// TLS handshakes at once. They take nothing of what the others have.
    pub handshakes_max: usize,
    /// Connections at once of peers that are not enrolled; these may only ask to be.
    pub strangers_max: usize,
    /// Connections at once of one broker, so that none keeps the others out. It needs one, and another while
    /// it reconnects.
    pub per_broker_max: usize,
    /// Seconds that a TLS handshake may take.
    pub handshake_secs: u64,
    /// Seconds after which a connection without requests is closed. Brokers send a heartbeat each minute.
    pub idle_secs: u64,
    /// Evaluations under way at once; beyond it brokers are told that the service is busy.
    pub evaluations_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            handshakes_max: 128,
            strangers_max: 8,
            per_broker_max: 8,
            handshake_secs: 5,
            idle_secs: 300,
            evaluations_max: 64,
        }
    }
}

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the source names line and field.
    #[error("the configuration is not valid")]
    Parse(#[from] Box<toml::de::Error>),
    /// Neither or both ways to open the state.
    #[error("give exactly one of `key_file` and `passphrase_file`")]
    Sealing,
    /// Two sections for one deployment.
    #[error("two [[deployment]] sections have the same `id`")]
    SameDeployment,
    /// A number outside its range.
    #[error("`{field}` must be between {min} and {max}")]
    Range {
        /// Which field.
        field: &'static str,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path, CONFIG_BYTES_MAX)?;
        Self::parse(&text)
    }

    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(Box::new)?;
        match config.refusals().into_iter().next() {
            Some(error) => Err(error),
            None => Ok(config),
        }
    }

    /// What is well-formed and cannot be meant.
    pub(crate) fn refusals(&self) -> Vec<ConfigError> {
        let ways = self.key_file.is_some() == self.passphrase_file.is_some();
        let same = self.deployment_grants().len() != self.deployments.len();
        let grants = self.deployments.iter().map(|deployment| deployment.over(self.grants).check());
        let ranges = std::iter::once(self.grants.check()).chain(grants);
        let ranges = ranges.chain([self.destruction.check(), self.limits.check()]).filter_map(Result::err);
        let sealing = ways.then_some(ConfigError::Sealing).into_iter();
        sealing.chain(ranges).chain(same.then_some(ConfigError::SameDeployment)).collect()
    }

    /// What single deployments are granted.
    #[must_use]
    pub fn deployment_grants(&self) -> BTreeMap<DeploymentId, Grants> {
        self.deployments.iter().map(|deployment| (deployment.id, deployment.over(self.grants))).collect()
    }

    /// What opens the state. Reads the passphrase file, never the key file.
    pub fn sealing(&self) -> Result<Sealing, ConfigError> {
        match (&self.key_file, &self.passphrase_file) {
            (Some(path), None) => Ok(Sealing::KeyFile(path.clone())),
            (None, Some(path)) => {
                // One byte more, so that a longer one is refused and not cut.
                let text = Zeroizing::new(read_text(path, PASSPHRASE_BYTES_MAX as u64 + 1)?);
                let phrase = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
                Ok(Sealing::Passphrase { phrase, cost: PassphraseCost::default() })
            }
            _ => Err(ConfigError::Sealing),
        }
    }
}

impl Grants {
    /// Refuses grants that no manifest can carry.
    pub fn check(&self) -> Result<(), ConfigError> {
        in_range("grants.lease_ttl_secs", u64::from(self.lease_ttl_secs), 1, u64::from(LEASE_TTL_SECS_MAX))?;
        in_range("grants.grace_secs", u64::from(self.grace_secs), 0, u64::from(LEASE_TTL_SECS_MAX))?;
        // A batch of 64 must fit into the bucket, or it could never be answered.
        in_range("grants.quota.burst", u64::from(self.quota.burst), 64, u64::from(u32::MAX))?;
        in_range("grants.quota.per_hour", u64::from(self.quota.per_hour), 1, u64::from(u32::MAX))
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        in_range("limits.connections_max", self.connections_max as u64, 2, 65_536)?;
        in_range("limits.handshakes_max", self.handshakes_max as u64, 1, 65_536)?;
        in_range("limits.strangers_max", self.strangers_max as u64, 1, 65_536)?;
        in_range("limits.per_broker_max", self.per_broker_max as u64, 2, self.connections_max as u64)?;
        in_range("limits.handshake_secs", self.handshake_secs, 1, 60)?;
        in_range("limits.idle_secs", self.idle_secs, 1, 86_400)?;
        in_range("limits.evaluations_max", self.evaluations_max as u64, 1, 256)
    }
}

fn read_deployment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeploymentId, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn read_officers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Officers, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        name: String,
        key: String,
    }
    let read =
        |entry: Entry| Ok(Officer { name: entry.name, key: entry.key.parse().map_err(de::Error::custom)? });
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    let officers = entries.into_iter().map(read).collect::<Result<_, D::Error>>()?;
    Officers::new(officers).map_err(de::Error::custom)
}

fn in_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError::Range { field, min, max }) }
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(bytes_max).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SMALL: &str = "listen = '127.0.0.1:8300'\nstate_dir = '/var/lib/x'\nkey_file = '/etc/x.key'\n";

    #[test]
    fn the_small_configuration_is_enough() {
        let config = Config::parse(SMALL).unwrap();
        assert_eq!(config.grants.lease_ttl_secs, 3600);
        assert!(matches!(config.sealing().unwrap(), Sealing::KeyFile(_)));
    }

    #[test]
    fn the_sample_is_valid_and_says_the_defaults() {
        let sample = include_str!("../../deploy/fragment.toml");
        assert!(Config::parse(sample).unwrap().officers.is_empty());
        // Settings that are switched off stand behind a # without a blank.
        let switched_on = sample.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        });
        let config = Config::parse(&switched_on.collect::<String>()).unwrap();
        assert_eq!(config.grants, Grants::default());
        assert_eq!(config.destruction, Destruction::default());
        assert_eq!(config.officers.iter().count(), 2);
        assert_eq!(config.deployments.len(), 1);
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn an_unknown_field_is_named() {
        for text in [format!("{SMALL}lisen = 1"), format!("{SMALL}[limits]\nconections_max = 1")] {
            let ConfigError::Parse(error) = Config::parse(&text).unwrap_err() else { panic!("accepted") };
            assert!(error.to_string().contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn one_way_to_open_the_state_is_needed() {
        let neither = SMALL.replace("key_file", "#");
        let both = format!("{SMALL}passphrase_file = '/x'");
        assert!(matches!(Config::parse(&neither), Err(ConfigError::Sealing)));
        assert!(matches!(Config::parse(&both), Err(ConfigError::Sealing)));
    }

    #[test]
    fn a_lease_over_a_day_is_refused() {
        let text = format!("{SMALL}[grants]\nlease_ttl_secs = 86401");
        assert!(matches!(
            Config::parse(&text),
            Err(ConfigError::Range { field: "grants.lease_ttl_secs", .. })
        ));
    }

    #[test]
    fn a_deployment_is_granted_its_own() {
        let id = "0a".repeat(16);
        let section = format!("[[deployment]]\nid = '{id}'\ngrace_secs = 60\n");
        let config = Config::parse(&format!("{SMALL}{section}")).unwrap();
        let grants = config.deployment_grants()[&id.parse().unwrap()];
        assert_eq!(grants, Grants { grace_secs: 60, ..Grants::default() });
        let twice = format!("{SMALL}{section}{section}");
        assert!(matches!(Config::parse(&twice), Err(ConfigError::SameDeployment)));
        let long = format!("{SMALL}{section}lease_ttl_secs = 86401\n");
        assert!(matches!(Config::parse(&long), Err(ConfigError::Range { .. })));
    }

    #[test]
    fn officers_are_checked_and_mistakes_explained() {
        use symbolon_proto::order::OfficerKey;
        use symbolon_proto::signing::SigningSeed;
        let key = || OfficerKey::new(SigningSeed::random(&mut crate::rng::os_rng()).public_key()).to_string();
        let (one, two) = (key(), key());
        let text = |entries: &[(&str, &str)]| {
            let entries =
                entries.iter().map(|(name, key)| format!("[[officer]]\nname = '{name}'\nkey = '{key}'\n"));
            format!("{SMALL}{}", entries.collect::<String>())
        };
        assert_eq!(Config::parse(&text(&[("a", &one), ("b", &two)])).unwrap().officers.iter().count(), 2);
        let cases = [
            (text(&[("a", &one)]), "at least two officers"),
            (text(&[("a", &one), ("b", &one)]), "same key"),
            (text(&[("a", &one), ("A", &two)]), "same name"),
            (text(&[("a", &one), ("b", &two[1..])]), "sof1"),
        ];
        for (text, expected) in cases {
            let ConfigError::Parse(error) = Config::parse(&text).unwrap_err() else { panic!("accepted") };
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_cooling_off_time_is_bounded() {
        for days in [6, 31] {
            let text = format!("{SMALL}[destruction]\ncooling_off_days = {days}");
            let refused = Config::parse(&text);
            assert!(matches!(refused, Err(ConfigError::Range { field: "destruction.cooling_off_days", .. })));
        }
    }

    #[test]
    fn the_passphrase_is_the_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phrase");
        std::fs::write(&path, "correct horse\nrest\n").unwrap();
        let text =
            SMALL.replace("key_file = '/etc/x.key'", &format!("passphrase_file = '{}'", path.display()));
        let Sealing::Passphrase { phrase, .. } = Config::parse(&text).unwrap().sealing().unwrap() else {
            panic!()
        };
        assert_eq!(phrase.as_str(), "correct horse");
    }
}
