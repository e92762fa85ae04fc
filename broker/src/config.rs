//! The broker's configuration: one TOML file. Unknown fields are refused, secrets come only by file path.
//!
//! What a running broker takes over when the file changes stands in [`Lives`], and nothing else does.
//! Whoever needs such a setting asks for it then ([`Living::now`]). Everything else needs a restart.
//!
//! This is the only module that reads configuration files or the environment. Every field says what it does
//! and what goes wrong if it is set badly; `deploy/broker.toml` is a sample that a test parses.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use symbolon_proto::custody::escrow::EscrowKey;

use crate::store::embedded::CACHE_BYTES_DEFAULT;

mod audit;
mod backup;
mod custody;
mod examine;
mod lives;
mod raw;
mod remote;
mod sinks;

pub use audit::{AuditConfig, WhenFull};
pub use backup::{BackupConfig, Bucket};
pub use custody::{CustodyConfig, SourceConfig};
pub use examine::Named;
pub use lives::{Lives, Living};
pub use raw::Raw;
pub use remote::{GroupTerms, Remote, RemoteNode, RemoteTableError};
pub use sinks::{Begin, Format, Names, SinkConfig};

/// A year: whoever wants longer wants no dead man's switch, and there is no such choice.
const DEAD_MAN_HOURS_MAX: u64 = 8760;

/// Longest escrow key file that is read, in bytes; one with 16 custodians has about 30,000.
const ESCROW_FILE_BYTES_MAX: u64 = 64 << 10;

/// The whole file. Everything but `lives` holds until the broker is started again.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Written")]
pub struct Config {
    /// Address and port of the API. Clients reach it here; put nothing between that sees plaintext.
    pub listen: SocketAddr,
    /// Certificate of the API. Without it the broker serves plain HTTP and refuses any listen address but
    /// loopback. Another one, and other files for it, are taken over as well.
    pub tls: Option<Tls>,
    /// Where ciphertext and the audit log live.
    pub store: StoreConfig,
    /// The other half of every key.
    pub remote: Remote,
    /// Backups that the broker makes by itself.
    pub backup: Option<BackupConfig>,
    /// Start although secret memory can be neither hidden nor locked. Keys may then reach swap or a core
    /// dump.
    pub allow_insecure_memory: bool,
    /// What changes without a restart.
    pub lives: Living,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listen: SocketAddr,
    tls: Option<Tls>,
    store: StoreConfig,
    remote: Remote,
    #[serde(default)]
    high_tier: HighTier,
    #[serde(default)]
    init: InitConfig,
    #[serde(default)]
    oauth: OauthConfig,
    backup: Option<BackupConfig>,
    #[serde(default)]
    audit: AuditConfig,
    #[serde(default)]
    custody: CustodyConfig,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    allow_insecure_memory: bool,
    #[serde(default = "compatibility_version")]
    vault_compatibility_version: String,
}

impl From<Written> for Config {
    fn from(written: Written) -> Self {
        let Written { listen, tls, store, remote, backup, allow_insecure_memory, .. } = written;
        let Written { high_tier, init, oauth, audit, custody, metrics, .. } = written;
        let vault_compatibility_version = written.vault_compatibility_version;
        let lives = Lives { high_tier, init, oauth, audit, custody, metrics, vault_compatibility_version };
        Self { listen, tls, store, remote, backup, allow_insecure_memory, lives: lives.into() }
    }
}

/// PEM files of the API's certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, leaf first. ECDSA P-256 or Ed25519; RSA triples the cost of a handshake.
    pub cert_file: PathBuf,
    /// Private key in PKCS#8 PEM.
    pub key_file: PathBuf,
    /// Serve only clients that offer X25519MLKEM768 (TLS 1.3): a recording of what passes is then safe from
    /// quantum computers. Clients on older libraries (OpenSSL before 3.5, Go before 1.24) are refused in the
    /// handshake.
    #[serde(default)]
    pub hybrid_only: bool,
}

/// Numbers for Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whether `/metrics` is served, to anybody who reaches the listener and without a token, because a
    /// sealed broker can check none. It shows counts and states, and never a name or a path.
    #[serde(default)]
    pub open: bool,
}

/// The embedded store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// File of the store. Created by `init` only: a missing file is an error at any other time.
    pub path: PathBuf,
    /// Page cache in bytes. More makes the process larger by about twice as much, and reads faster only if it
    /// holds much of the store.
    #[serde(default = "cache_bytes")]
    pub cache_bytes: usize,
}

/// How the evaluation quota of the remote is shared out. Every read of a secret of the high tier spends one
/// evaluation, and so does every unwrapping; the standard tier needs one for each key that it caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HighTier {
    /// Percent of the quota that reads of the high tier cannot touch, from 1 to 99: it is kept for keys of
    /// the standard tier and for canaries. Too little, and readers of the high tier stop everybody else.
    pub reserve_percent: u8,
    /// Percent of the rest that the readers of one mount may spend together, from 1 to 100.
    pub mount_percent: u8,
    /// Percent of the rest that one reader may spend in one mount, from 1 to 100. More than `mount_percent`
    /// has no effect.
    pub reader_percent: u8,
}

impl HighTier {
    fn is_sound(self) -> bool {
        let shares = [self.mount_percent, self.reader_percent];
        (1..=99).contains(&self.reserve_percent) && shares.iter().all(|share| (1..=100).contains(share))
    }
}

impl Default for HighTier {
    /// Of 16,384 evaluations 4,096 are kept; a mount may spend 6,144 at once, and a reader 1,474.
    fn default() -> Self {
        Self { reserve_percent: 25, mount_percent: 50, reader_percent: 12 }
    }
}

/// Defaults of `init`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// Whether `init` may make a new deployment in a store that is absent or empty. Without it a missing file
    /// is an error: it may be a volume that was not mounted. Take it out of the configuration after the
    /// initialisation.
    #[serde(default)]
    pub allow: bool,
    /// `none`: if the fragment service is lost, so is the data. `customer-escrow`: custodians of
    /// `escrow_key_file` and of the fragment together can read everything without it. There is no default;
    /// `init` refuses without a choice.
    pub recovery: Option<String>,
    /// Public key that `symbolon recovery keygen` wrote, for `customer-escrow`. Read by `init` only.
    pub escrow_key_file: Option<PathBuf>,
    /// Names of the custodians, in order of their shares.
    #[serde(default)]
    pub custodians: Vec<String>,
    /// Seconds that `init` waits for the operator of the fragment service to approve this broker.
    #[serde(default = "approval_secs")]
    pub approval_secs: u64,
    /// Seconds for which an answer of `init` that is not confirmed yet keeps everybody from another `init`,
    /// which would make it void. 0: nobody is kept.
    #[serde(default = "confirm_secs")]
    pub confirm_secs: u64,
}

impl Default for InitConfig {
    fn default() -> Self {
        Self {
            allow: false,
            recovery: None,
            escrow_key_file: None,
            custodians: Vec::new(),
            approval_secs: approval_secs(),
            confirm_secs: confirm_secs(),
        }
    }
}

impl InitConfig {
    /// The escrow key, if one is configured. `None` within if the file is not one.
    #[must_use]
    pub fn escrow_key(&self) -> Option<Option<EscrowKey>> {
        let path = self.escrow_key_file.as_ref()?;
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(ESCROW_FILE_BYTES_MAX).read_to_string(&mut text));
        Some(read.ok().and_then(|_| EscrowKey::parse(&text).ok()))
    }
}

/// Workload tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OauthConfig {
    /// Issuer URL, exactly as services will compare it. Defaults to `https://<listen>`.
    pub issuer: Option<String>,
}

fn compatibility_version() -> String {
    "1.15.0".to_owned()
}

fn cache_bytes() -> usize {
    CACHE_BYTES_DEFAULT
}

fn approval_secs() -> u64 {
    600
}

fn confirm_secs() -> u64 {
    120
}

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the source names line and field.
    #[error("the configuration {path} is not valid: {source}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A dead man's switch that would never act, or at once.
    #[error("remote.dead_man_hours must be from 1 to 8760, not {hours}; 72 is the default")]
    DeadMan {
        /// The refused number.
        hours: u64,
    },
    /// Shares of the quota that are none.
    #[error(
        "[high_tier] wants reserve_percent from 1 to 99, mount_percent and reader_percent from 1 to 100; 25, 50 and 12 are the defaults"
    )]
    Shares,
    /// Backups that nobody could open, or that would come never or all the time.
    #[error(
        "[backup] wants at least one card in recipients, every_hours from 1 to 744 and keep of at least 1; 24 and 14 are the defaults"
    )]
    Backup,
    /// A limit for the log that would lose entries nobody said to lose, or that is none.
    #[error(
        "[audit] wants keep_days from 1 to 36500, keep_mib and disk_budget_mib of at least 32; with a limit also export: a directory as an absolute path, s3://bucket/prefix, or \"none\" if what is pruned may be lost; when_full = \"prune\" wants a budget and a place to export to, and a limit with a sink that holds entries (hold = true, the default) wants a budget"
    )]
    Audit,
    /// Sinks that cannot be told apart, or too many.
    #[error(
        "[[audit.sinks]] wants at most 8 sinks, each with a name of its own of at most 40 letters, digits, - and _"
    )]
    Sinks,
    /// Sources that cannot be told apart, or at no place.
    #[error(
        "[[custody.sources]] wants at most 15 sources, each with a name of its own and a place (box, site, or another name); names have at most 40 letters, digits, - and _"
    )]
    Sources,
    /// Plain HTTP beyond this machine.
    #[error("without [tls] the broker listens on loopback only; {listen} is not")]
    PlainHttp {
        /// The refused address.
        listen: SocketAddr,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| match error {
            ConfigError::Parse { source, .. } => ConfigError::Parse { path: path.to_owned(), source },
            other => other,
        })
    }

    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: PathBuf::new(), source: Box::new(source) })?;
        match config.refusals().into_iter().next() {
            Some(error) => Err(error),
            None => Ok(config),
        }
    }

    /// What is well-formed and cannot be meant.
    fn refusals(&self) -> Vec<ConfigError> {
        let (hours, lives) = (self.remote.dead_man_hours, self.lives.now());
        let plain = self.tls.is_none() && !self.listen.ip().is_loopback();
        let checks = [
            (plain, ConfigError::PlainHttp { listen: self.listen }),
            (!(1..=DEAD_MAN_HOURS_MAX).contains(&hours), ConfigError::DeadMan { hours }),
            (!lives.high_tier.is_sound(), ConfigError::Shares),
            (self.backup.as_ref().is_some_and(|backup| !backup.is_sound()), ConfigError::Backup),
            (!lives.audit.is_sound(), ConfigError::Audit),
            (!sinks::are_sound(&lives.audit.sinks), ConfigError::Sinks),
            (!lives.custody.is_sound(), ConfigError::Sources),
        ];
        checks.into_iter().filter_map(|(is_wrong, error)| is_wrong.then_some(error)).collect()
    }

    /// The issuer of workload tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.lives.now().oauth.issuer.clone().unwrap_or_else(|| format!("https://{}", self.listen))
    }
}

/// The least that a configuration says, for tests.
#[cfg(test)]
pub(crate) const SMALL: &str = r#"
    listen = "127.0.0.1:8200"
    [store]
    path = "data/symbolon.redb"
    [remote]
    url = "https://fragment.example:8300"
    fingerprint = "0000-0000"
"#;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_small_configuration_is_enough() {
        let config = Config::parse(SMALL).unwrap();
        assert_eq!(config.issuer(), "https://127.0.0.1:8200");
        assert_eq!(config.remote.heartbeat_secs, 60);
    }

    #[test]
    fn the_sample_shows_every_field() {
        let sample = include_str!("../../deploy/broker.toml");
        let config = Config::parse(sample).unwrap();
        assert_eq!(config.lives.now().init.custodians.len(), 3);
        assert_eq!(config.issuer(), "https://symbolon.example.com");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = Config::parse(&SMALL.replace("[store]", "lisen = 1\n[store]")).unwrap_err();
        assert!(error.to_string().contains("lisen"), "{error}");
    }

    #[test]
    fn the_dead_mans_switch_cannot_be_switched_off() {
        let with = |hours: u64| format!("{SMALL}\ndead_man_hours = {hours}");
        assert_eq!(Config::parse(SMALL).unwrap().remote.dead_man_hours, 72);
        assert_eq!(Config::parse(&with(1)).unwrap().remote.dead_man_hours, 1);
        for hours in [0, 8761] {
            let error = Config::parse(&with(hours)).unwrap_err();
            assert!(matches!(error, ConfigError::DeadMan { .. }), "{error}");
        }
    }

    #[test]
    fn shares_of_the_quota_are_percentages() {
        let with = |share: &str| format!("{SMALL}\n[high_tier]\n{share}");
        let config = Config::parse(&with("reader_percent = 1")).unwrap();
        assert_eq!(config.lives.now().high_tier, HighTier { reader_percent: 1, ..HighTier::default() });
        for share in
            ["reserve_percent = 0", "reserve_percent = 100", "mount_percent = 0", "reader_percent = 101"]
        {
            let error = Config::parse(&with(share)).unwrap_err();
            assert!(matches!(error, ConfigError::Shares), "{error}");
        }
    }

    #[test]
    fn plain_http_beyond_loopback_is_refused() {
        let error = Config::parse(&SMALL.replace("127.0.0.1", "0.0.0.0")).unwrap_err();
        assert!(matches!(error, ConfigError::PlainHttp { .. }), "{error}");
    }
}
