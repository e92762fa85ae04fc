//! What changes without a restart: the certificate, and the settings of [`Lives`]. Everything else in the
//! configuration needs one, and says so.
//!
//! Files are looked at again when somebody asks (SIGHUP) and now and then, because whoever renews a
//! certificate tells nobody. What cannot be used changes nothing, and raises an alarm.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use symbolon_net::certificate::{self, Complaint};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::alarms::{Alarm, Alarms};
use crate::audit::sinks::{self, Unsound};
use crate::config::{self, Config, ConfigError, Lives, Living};
use crate::custody::sources::{self, UnsoundSource};
use crate::faces::server::{Tls, TlsError, hybrid_only_tls_config, tls_config};
use crate::metrics::CertificateEnd;

/// Why a certificate is not served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A certificate or key file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot be used, for a reason that people meet again and again.
    #[error("{path} and its key cannot be used: {complaint}")]
    Unusual {
        /// The certificate's file.
        path: PathBuf,
        /// Why, and what to type instead.
        complaint: Complaint,
    },
    /// Its end cannot be read.
    #[error("the first certificate of {path} says no end that can be read")]
    End {
        /// Which file.
        path: PathBuf,
    },
}

/// What the files of a certificate held.
#[derive(PartialEq, Eq)]
struct Files {
    path: PathBuf,
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    hybrid_only: bool,
}

impl Files {
    fn read(named: &config::Tls) -> Result<Self, CertificateError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| CertificateError::File { path: path.clone(), source })
        };
        let key = Zeroizing::new(read(&named.key_file)?);
        let (path, chain) = (named.cert_file.clone(), read(&named.cert_file)?);
        Ok(Self { path, chain, key, hybrid_only: named.hybrid_only })
    }

    /// When the leaf ends, Unix seconds.
    fn end(&self) -> Result<i64, CertificateError> {
        let leaf = CertificateDer::pem_slice_iter(&self.chain).next().and_then(Result::ok);
        let end = leaf.and_then(|leaf| symbolon_net::tls::end_secs(&leaf));
        end.ok_or_else(|| CertificateError::End { path: self.path.clone() })
    }

    fn tls(&self) -> Result<Tls, CertificateError> {
        let make = if self.hybrid_only { hybrid_only_tls_config } else { tls_config };
        let tls = make(&self.chain, &self.key);
        let tls = tls.map_err(|error| match certificate::complaint(&self.chain, &self.key) {
            Some(complaint) => CertificateError::Unusual { path: self.path.clone(), complaint },
            None => error.into(),
        })?;
        if let Some(complaint) = certificate::unnamed(&self.chain) {
            tracing::warn!("clients will refuse the certificate: {complaint}");
        }
        Ok(tls)
    }
}

/// The certificate that new connections get.
pub struct Certificate {
    files: Files,
    served: watch::Sender<Tls>,
    end: CertificateEnd,
}

impl Certificate {
    /// As the configuration names it.
    pub fn load(named: &config::Tls) -> Result<Self, CertificateError> {
        let files = Files::read(named)?;
        let (served, end) = (watch::Sender::new(files.tls()?), CertificateEnd::default());
        end.set(files.end()?);
        Ok(Self { files, served, end })
    }

    /// When it ends, for whoever tells.
    #[must_use]
    pub fn end(&self) -> CertificateEnd {
        self.end.clone()
    }

    /// For a listener: always the present one.
    #[must_use]
    pub fn served(&self) -> watch::Receiver<Tls> {
        self.served.subscribe()
    }

    /// Takes over what the files hold now. Connections that exist keep theirs.
    fn renew(&mut self, named: &config::Tls) -> Result<(), CertificateError> {
        let files = Files::read(named)?;
        if files != self.files {
            let (tls, end) = (files.tls()?, files.end()?);
            self.served.send_replace(tls);
            self.end.set(end);
            self.files = files;
            tracing::info!("new connections get the renewed certificate");
        }
        Ok(())
    }
}

/// Follows the files of a running broker.
pub struct Reload {
    path: PathBuf,
    /// The file as this broker was started with it; none if it cannot be told.
    started: Option<toml::Table>,
    /// As the file said last that could be used.
    tls: Option<config::Tls>,
    certificate: Option<Certificate>,
    alarms: Arc<Alarms>,
    lives: Living,
    adopt: Adopt,
}

/// Tells settings to whoever does not ask for them each time.
type Adopt = Box<dyn Fn(&Lives) + Send>;

impl Reload {
    /// For a broker with this certificate that was started with `config`, read from `path`.
    #[must_use]
    pub fn new(
        path: PathBuf,
        config: &Config,
        certificate: Option<Certificate>,
        alarms: Arc<Alarms>,
        adopt: Adopt,
    ) -> Self {
        let (started, lives) = (table(&path), config.lives.clone());
        Self { path, started, tls: config.tls.clone(), certificate, alarms, lives, adopt }
    }

    /// Looks at all files once.
    pub fn look(&mut self) {
        let config = self.usable(Alarm::Configuration, load(&self.path));
        if let Some(config) = config {
            self.warn_of_restart(&config);
            self.take_over(&config);
            if config.tls.is_some() == self.tls.is_some() {
                self.tls = config.tls;
            }
        }
        if let (Some(certificate), Some(named)) = (&mut self.certificate, &self.tls) {
            let renewed = certificate.renew(named);
            self.usable(Alarm::Certificate, renewed);
        }
    }

    /// The settings that need no restart. They are told each time: a broker may have been unsealed meanwhile.
    fn take_over(&self, config: &Config) {
        let lives = config.lives.now();
        (self.adopt)(&lives);
        if self.lives.replace(lives) {
            tracing::info!("the changed settings of the configuration file are in use");
        }
    }

    /// What is no error. One is an alarm, and told once.
    fn usable<T, E: std::error::Error>(&self, alarm: Alarm, result: Result<T, E>) -> Option<T> {
        let is_news = self.alarms.set(alarm, result.is_err());
        result
            .inspect_err(|error| {
                if is_news {
                    tracing::error!(error = chain(error), "{}", alarm.text());
                }
            })
            .ok()
    }

    fn warn_of_restart(&self, config: &Config) {
        let changed = self.needs_restart(config);
        if self.alarms.set(Alarm::Restart, !changed.is_empty()) && !changed.is_empty() {
            let settings: Vec<&str> = changed.iter().map(String::as_str).collect();
            tracing::warn!(settings = settings.join(", "), "{}", Alarm::Restart.text());
        }
    }

    /// Settings that the file has otherwise than this broker and that it cannot take over. A certificate can
    /// be another one, but it cannot come or go.
    fn needs_restart(&self, config: &Config) -> BTreeSet<String> {
        let (Some(started), Some(now)) = (&self.started, table(&self.path)) else { return BTreeSet::new() };
        let names = started.keys().chain(now.keys());
        let changed = names.filter(|name| started.get(*name) != now.get(*name));
        let mut taken_over = config.lives.now().names();
        if config.tls.is_some() == self.tls.is_some() {
            taken_over.insert("tls".to_owned());
        }
        changed.filter(|name| !taken_over.contains(*name)).cloned().collect()
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Sink(#[from] Unsound),
    /// A source of shares that there cannot be.
    #[error(transparent)]
    Source(#[from] UnsoundSource),
}

/// A file that can be used, with its sinks.
fn load(path: &Path) -> Result<Config, Unusable> {
    let config = Config::load(path)?;
    sinks::check(&config.lives.now().audit)?;
    sources::check(&config.lives.now().custody)?;
    Ok(config)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn table(path: &PathBuf) -> Option<toml::Table> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A broker's files.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            home.configure("");
            home.write_pair();
            home
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn configure(&self, more: &str) {
            let config = format!(
                "listen = \"127.0.0.1:8200\"\n{more}\n[store]\npath = \"x\"\n[remote]\nurl = \"https://x.example\"\nfingerprint = \"0\"\n[tls]\ncert_file = {:?}\nkey_file = {:?}\n",
                self.path("crt"),
                self.path("key")
            );
            std::fs::write(self.path("toml"), config).unwrap();
        }

        /// A new certificate with its key; the certificate in PEM.
        fn write_pair(&self) -> String {
            let key = rcgen::KeyPair::generate().unwrap();
            let cert = rcgen::CertificateParams::new(vec!["x.example".to_owned()])
                .unwrap()
                .self_signed(&key)
                .unwrap();
            std::fs::write(self.path("key"), key.serialize_pem()).unwrap();
            std::fs::write(self.path("crt"), cert.pem()).unwrap();
            cert.pem()
        }

        fn follow(&self) -> (Reload, watch::Receiver<Tls>) {
            let config = Config::load(&self.path("toml")).unwrap();
            let certificate = Certificate::load(config.tls.as_ref().unwrap()).unwrap();
            let served = certificate.served();
            let alarms = Arc::default();
            (Reload::new(self.path("toml"), &config, Some(certificate), alarms, Box::new(|_| ())), served)
        }
    }

    fn swap(one: &Path, other: &Path) {
        let kept = std::fs::read(one).unwrap();
        std::fs::copy(other, one).unwrap();
        std::fs::write(other, kept).unwrap();
    }

    #[test]
    fn a_pair_that_does_not_fit_changes_nothing_and_is_an_alarm() {
        let home = Home::new();
        let (mut reload, mut served) = home.follow();
        std::fs::copy(home.path("key"), home.path("old key")).unwrap();
        home.write_pair();
        swap(&home.path("key"), &home.path("old key"));
        for broken in [|_: &Home| (), |home: &Home| std::fs::write(home.path("crt"), "no PEM").unwrap()] {
            broken(&home);
            reload.look();
            assert!(!served.has_changed().unwrap());
            assert_eq!(reload.alarms.texts(), [Alarm::Certificate.text()]);
        }
        home.write_pair();
        reload.look();
        assert!(served.has_changed().unwrap() && reload.alarms.texts().is_empty());
        served.mark_unchanged();
        reload.look();
        assert!(!served.has_changed().unwrap(), "nothing is new");
    }

    #[test]
    fn a_configuration_that_does_not_parse_is_an_alarm_and_one_that_needs_a_restart_too() {
        let home = Home::new();
        let (mut reload, served) = home.follow();
        home.configure("lisen = 1");
        reload.look();
        assert_eq!(reload.alarms.texts(), [Alarm::Configuration.text()]);
        home.configure("[[audit.sinks]]\nname = \"x\"\nkind = \"file\"\npath = \"not/absolute\"");
        reload.look();
        assert_eq!(reload.alarms.texts(), [Alarm::Configuration.text()], "a sink that there cannot be");
        home.configure("allow_insecure_memory = true");
        reload.look();
        assert_eq!(reload.alarms.texts(), [Alarm::Restart.text()]);
        home.configure("[init]\nallow = false");
        reload.look();
        assert!(reload.alarms.texts().is_empty() && !served.has_changed().unwrap());
    }

    #[test]
    fn every_setting_is_taken_over_or_named_for_a_restart() {
        let home = Home::new();
        let (mut reload, _) = home.follow();
        let before = reload.lives.now();
        let all = [
            ("vault_compatibility_version", "vault_compatibility_version = \"1.18.0\""),
            ("high_tier", "[high_tier]\nmount_percent = 7"),
            ("init", "[init]\nrecovery = \"none\""),
            ("oauth", "[oauth]\nissuer = \"https://other.example\""),
            ("metrics", "[metrics]\nopen = true"),
            ("audit", "[audit]\ndisk_budget_mib = 1000"),
            ("custody", "[custody]\npeople_min = 1"),
            ("allow_insecure_memory", "allow_insecure_memory = true"),
        ];
        assert!(before.names().iter().all(|name| all.iter().any(|(setting, _)| setting == name)));
        for (setting, changed) in all {
            home.configure(changed);
            reload.look();
            let config = Config::load(&home.path("toml")).unwrap();
            let is_taken_over = *reload.lives.now() != *before;
            assert_eq!(is_taken_over, before.names().contains(setting), "{setting}");
            assert_ne!(is_taken_over, reload.needs_restart(&config).contains(setting), "{setting}");
            home.configure("");
            reload.look();
        }
        assert_eq!(reload.lives.now(), before);
    }

    #[test]
    fn the_documentation_says_of_every_setting_whether_it_needs_a_restart() {
        let sample: toml::Table = include_str!("../../deploy/broker.toml").parse().unwrap();
        let lives = Config::parse(include_str!("../../deploy/broker.toml")).unwrap().lives.now().names();
        let documentation = include_str!("../../docs/cli.md");
        for name in sample.keys() {
            let says = if lives.contains(name) || name == "tls" { "at once" } else { "after a restart" };
            let line = documentation.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            assert!(line.is_some_and(|line| line.contains(says)), "{name} {says}: {line:?}");
        }
    }

    #[test]
    fn the_certificate_may_move() {
        let home = Home::new();
        let (mut reload, served) = home.follow();
        let (crt, key) = (home.path("crt"), home.path("key"));
        std::fs::rename(&crt, home.path("old crt")).unwrap();
        home.write_pair();
        std::fs::rename(&crt, home.path("new.crt")).unwrap();
        std::fs::rename(&key, home.path("new.key")).unwrap();
        let config = std::fs::read_to_string(home.path("toml")).unwrap();
        std::fs::write(home.path("toml"), config.replace("/crt", "/new.crt").replace("/key", "/new.key"))
            .unwrap();
        reload.look();
        assert!(served.has_changed().unwrap() && reload.alarms.texts().is_empty());
    }
}
