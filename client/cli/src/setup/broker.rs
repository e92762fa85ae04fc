//! The side that serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use symbolon_broker::config::{Config, Tls};
use symbolon_broker::reload::Certificate;

use super::authority::Files;
use super::invitation::Invitation;
use super::names::Host;
use super::place::{self, PUBLIC, text};
use super::unit;
use super::{Deed, Layout, SetupError, Step};

/// Name of the unit.
pub const SERVICE: &str = "symbolon-broker";
/// Name of the user, and of the state directory.
pub const USER: &str = "symbolon";

const ALLOWED: &str = "allow = true # taken out by `symbolon setup broker` after the initialisation";
const NO_MORE: &str = "allow = false";

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where things go.
    pub layout: Layout,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names and addresses at which clients reach it; the first is for the issuer of workload tokens.
    pub names: Vec<Host>,
    /// Of the fragment service.
    pub invitation: Invitation,
    /// Who gives shares with nobody there: the end of the configuration, or nothing.
    pub custody: String,
}

/// What was made.
pub struct Made {
    /// Step by step.
    pub steps: Vec<Step>,
    /// What clients trust.
    pub ca: PathBuf,
    /// Its SHA-256.
    pub fingerprint: String,
}

impl Plan {
    /// Makes what is missing.
    pub fn carry_out(&self, now_secs: u64) -> Result<Made, SetupError> {
        let Self { layout, listen, .. } = self;
        let program = layout.program()?;
        let mut steps = vec![place::folder(&layout.config_dir, layout.config_mode(), "configuration")?];
        let account = layout.account(USER)?;
        let state = place::folder(&layout.state_dir, 0o700, "ciphertext and audit log")?;
        if state.deed == Deed::Made {
            place::give(&layout.state_dir, &account)?;
        }
        steps.push(state);
        let files = Files::of(layout);
        steps.extend(files.make(&self.names, &self.certified(), &account, now_secs)?);
        check_pair(&files)?;
        let config = layout.config("broker.toml");
        steps.push(self.configure(&config, &files)?);
        let service = unit::Service {
            description: "Symbolon broker",
            args: "broker",
            config: &config,
            state: USER,
            user: &account.name,
            port: listen.port(),
        };
        steps.push(place::file(&layout.unit, PUBLIC, &service.unit(layout, &program), "unit for systemd")?);
        Ok(Made { steps, fingerprint: files.fingerprint()?, ca: files.trusted()?.to_owned() })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.names[0].in_url(), self.listen.port())
    }

    /// Its own machine talks to it as well.
    fn certified(&self) -> Vec<Host> {
        let mut names = self.names.clone();
        for local in ["localhost", "127.0.0.1", "::1"].map(|local| local.parse().expect("these are hosts")) {
            if !names.contains(&local) {
                names.push(local);
            }
        }
        names
    }

    /// Where this machine reaches it.
    #[must_use]
    pub fn local_url(&self) -> String {
        let ip = self.listen.ip();
        if ip.is_unspecified() || ip.is_loopback() {
            return format!("https://localhost:{}", self.listen.port());
        }
        self.url()
    }

    /// Whether both halves are on this machine, as far as that shows.
    #[must_use]
    pub fn is_one_box(&self) -> bool {
        let host = &self.invitation.address.host;
        let is_local = ["localhost", "127.0.0.1", "::1"].contains(&host.as_str());
        is_local || self.names.contains(host) || self.layout.config("fragment.toml").exists()
    }

    /// Takes out what only an initialisation needs, when there was one.
    pub fn end_of_init(&self) -> Result<Option<Step>, SetupError> {
        let path = self.layout.config("broker.toml");
        let found = place::read(&path)?.filter(|found| found.contains(ALLOWED));
        let Some(found) = found else { return Ok(None) };
        place::replace(&path, PUBLIC, &found.replace(ALLOWED, NO_MORE))?;
        Ok(Some(Step { deed: Deed::Renewed, path, what: "a missing store is an error from now on" }))
    }

    fn configure(&self, path: &Path, files: &Files) -> Result<Step, SetupError> {
        let (text, step) = (self.configuration(files), |deed| Step {
            deed,
            path: path.to_owned(),
            what: "what the broker does, with comments",
        });
        let unusable = |error| SetupError::Unusable { path: path.to_owned(), reason: format!("{error}") };
        Config::parse(&text).map_err(unusable)?;
        let Some(found) = place::read(path)? else {
            return place::file(path, PUBLIC, &text, step(Deed::Made).what);
        };
        Config::parse(&found).map_err(unusable)?;
        let is_same = *found == text || *found == text.replace(ALLOWED, NO_MORE);
        Ok(step(if is_same { Deed::Kept } else { Deed::Differs }))
    }

    /// The configuration, with what may be changed later.
    #[must_use]
    pub fn configuration(&self, files: &Files) -> String {
        let Self { layout, listen, invitation, custody, .. } = self;
        let [cert, key, store] =
            [&files.cert, &files.key, &layout.state_dir.join("store.redb")].map(|path| text(path));
        format!(
            r#"# A Symbolon broker. Made by `symbolon setup broker`; changes of yours are kept. docs/cli.md says which need a restart.
# Every setting: deploy/broker.toml in the sources.

# Address and port of the API. Put nothing between that sees plaintext.
listen = "{listen}"

# Renewed files are taken over without a restart.
[tls]
cert_file = {cert}
key_file = {key}

# Ciphertext and audit log.
[store]
path = {store}

# The fragment service, from its operator's invitation.
[remote]
url = "{}"
fingerprint = "{}"
# Without an active lease for so long the broker seals itself.
dead_man_hours = 72

# For the initialisation only: later a store that is missing is an error, not a fresh start.
[init]
{ALLOWED}

# What services compare in workload tokens, character by character.
[oauth]
issuer = "{}"

# Numbers for Prometheus at /metrics, for anybody who reaches the listener.
[metrics]
open = false

# Backups that the broker makes by itself: docs/backup.md.
# [backup]
# to = "/mnt/other-disk/symbolon"
# recipients = ["/etc/symbolon/ana.card"]
{custody}"#,
            invitation.url(),
            invitation.fingerprint,
            self.url(),
        )
    }
}

/// Whether a broker would serve it.
fn check_pair(files: &Files) -> Result<(), SetupError> {
    let named = Tls { cert_file: files.cert.clone(), key_file: files.key.clone(), hybrid_only: false };
    match Certificate::load(&named) {
        Ok(_) => Ok(()),
        Err(error) => Err(SetupError::Unusable { path: files.cert.clone(), reason: error.to_string() }),
    }
}
