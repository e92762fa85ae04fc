//! What changes without a restart: the certificate. Everything else in the configuration needs one, and says
//! so.
//!
//! Files are looked at again when somebody asks (SIGHUP) and now and then, because whoever renews a
//! certificate tells nobody. What cannot be used changes nothing, and raises an alarm.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::alarms::{Alarm, Alarms};
use crate::config::{self, Config};
use crate::faces::server::{Tls, TlsError, hybrid_only_tls_config, tls_config};

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
}

/// What the files of a certificate held.
#[derive(PartialEq, Eq)]
struct Files {
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
        Ok(Self { chain: read(&named.cert_file)?, key, hybrid_only: named.hybrid_only })
    }

    fn tls(&self) -> Result<Tls, TlsError> {
        let make = if self.hybrid_only { hybrid_only_tls_config } else { tls_config };
        make(&self.chain, &self.key)
    }
}

/// The certificate that new connections get.
pub struct Certificate {
    files: Files,
    served: watch::Sender<Tls>,
}

impl Certificate {
    /// As the configuration names it.
    pub fn load(named: &config::Tls) -> Result<Self, CertificateError> {
        let files = Files::read(named)?;
        let served = watch::Sender::new(files.tls()?);
        Ok(Self { files, served })
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
            self.served.send_replace(files.tls()?);
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
    is_initialised: Box<dyn Fn() -> bool + Send>,
}

impl Reload {
    /// For a broker with this certificate that was started with `config`, read from `path`.
    #[must_use]
    pub fn new(
        path: PathBuf,
        config: &Config,
        certificate: Option<Certificate>,
        alarms: Arc<Alarms>,
        is_initialised: Box<dyn Fn() -> bool + Send>,
    ) -> Self {
        let started = table(&path);
        Self { path, started, tls: config.tls.clone(), certificate, alarms, is_initialised }
    }

    /// Looks at all files once.
    pub fn look(&mut self) {
        let config = self.usable(Alarm::Configuration, Config::load(&self.path));
        if let Some(config) = config {
            self.warn_of_restart(&config);
            if config.tls.is_some() == self.tls.is_some() {
                self.tls = config.tls;
            }
        }
        if let (Some(certificate), Some(named)) = (&mut self.certificate, &self.tls) {
            let renewed = certificate.renew(named);
            self.usable(Alarm::Certificate, renewed);
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

    /// Settings that the file has otherwise than this broker. A certificate can be another one, but it cannot
    /// come or go. What `init` reads means nothing once there is a deployment, and is taken out then.
    fn needs_restart(&self, config: &Config) -> BTreeSet<String> {
        let (Some(started), Some(now)) = (&self.started, table(&self.path)) else { return BTreeSet::new() };
        let names = started.keys().chain(now.keys());
        let changed = names.filter(|name| started.get(*name) != now.get(*name));
        let same_kind = config.tls.is_some() == self.tls.is_some();
        let is_idle = |name: &str| match name {
            "tls" => same_kind,
            "init" => (self.is_initialised)(),
            _ => false,
        };
        changed.filter(|name| !is_idle(name)).cloned().collect()
    }
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
    use std::path::Path;

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
            let is_initialised = Box::new(|| true);
            (
                Reload::new(self.path("toml"), &config, Some(certificate), Arc::default(), is_initialised),
                served,
            )
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
        home.configure("vault_compatibility_version = \"1.18.0\"");
        reload.look();
        assert_eq!(reload.alarms.texts(), [Alarm::Restart.text()]);
        home.configure("[init]\nallow = false");
        reload.look();
        assert!(reload.alarms.texts().is_empty() && !served.has_changed().unwrap());
        reload.is_initialised = Box::new(|| false);
        reload.look();
        assert_eq!(reload.alarms.texts(), [Alarm::Restart.text()]);
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
