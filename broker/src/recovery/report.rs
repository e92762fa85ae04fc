//! Going through everything that a recovered copy holds.

use serde::Serialize;
use symbolon_core::audit::SecretValue;
use symbolon_core::keyring::KekSlot;

use super::{Recovered, RecoveryError};
use crate::access::Session;
use crate::access::mounts::Mount;
use crate::engines::keeps_secrets;
use crate::engines::kv::{RecoveredVersion, recover_mount};
use crate::keys::{Account, CapsulePlace, VersionSlot};
use crate::upkeep::rotation::{PAGE_ROWS, capsule_rows};

/// Wrong things that a report names; beyond it they are only counted.
const NAMED_MAX: usize = 1000;

/// How the remote key of one epoch was put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochReport {
    /// The key epoch.
    pub key_epoch: u32,
    /// Envelopes that opened and hold their node's share.
    pub usable: usize,
    /// Shares needed.
    pub needed: u16,
    /// Nodes of the sharing.
    pub nodes: usize,
    /// What is wrong with the others.
    pub wrong: Vec<String>,
}

/// What a copy holds, and what of it could not be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The remote key, epoch by epoch.
    pub epochs: Vec<EpochReport>,
    /// Capsules that opened, of buckets and of single versions.
    pub capsules: usize,
    /// Secrets.
    pub secrets: usize,
    /// Versions that opened.
    pub versions: usize,
    /// Versions that were destroyed and hold no value.
    pub destroyed: usize,
    /// Things that did not open.
    pub wrong: usize,
    /// The first of them by name.
    pub wrong_names: Vec<String>,
}

impl Report {
    /// Whether everything opened and every node's envelope was right.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrong == 0 && self.epochs.iter().all(|epoch| epoch.wrong.is_empty())
    }

    fn note(&mut self, what: String) {
        self.wrong += 1;
        if self.wrong_names.len() < NAMED_MAX {
            self.wrong_names.push(what);
        }
    }
}

/// A version that opened.
pub struct Found<'a> {
    /// Path of the mount.
    pub mount: &'a str,
    /// Path of the secret below it.
    pub path: &'a str,
    /// Number of the version.
    pub version: u64,
    /// JSON text of its data.
    pub value: SecretValue,
}

impl Recovered {
    /// Opens every capsule and every version of every secret. `each` gets what opened; a drill drops it.
    pub async fn go_through<E: From<RecoveryError>>(
        &self,
        mut each: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut report = Report { epochs: self.epochs.clone(), ..Report::default() };
        capsules(&self.session, &mut report).await?;
        for mount in self.session.mounts().secrets.0.iter().filter(|mount| keeps_secrets(mount)) {
            self.mount(mount, &mut report, &mut each).await?;
        }
        Ok(report)
    }

    async fn mount<E: From<RecoveryError>>(
        &self,
        mount: &Mount,
        report: &mut Report,
        each: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = mount.path.as_str();
        let secrets = recover_mount(&self.session, mount).await.map_err(RecoveryError::from)?;
        for secret in secrets {
            report.secrets += 1;
            let name = secret.secret().as_str().to_owned();
            let versions = secret.versions(&self.session).await;
            for (version, found) in versions {
                match found {
                    RecoveredVersion::Value(value) => {
                        report.versions += 1;
                        each(Found { mount: path, path: &name, version, value })?;
                    }
                    RecoveredVersion::Destroyed => report.destroyed += 1,
                    RecoveredVersion::Wrong => report.note(format!("{path}/{name} version {version}")),
                }
            }
        }
        Ok(())
    }
}

/// Every capsule of the deployment, of buckets and of single versions, whether or not a secret still needs
/// it.
async fn capsules(session: &Session, report: &mut Report) -> Result<(), RecoveryError> {
    let mut after = Vec::new();
    loop {
        let rows = capsule_rows(session, &after, PAGE_ROWS).await?;
        for (key, _) in &rows {
            match CapsulePlace::of_key(key) {
                Some(place) if session.keys.key(place, Account::Broker).await.is_ok() => report.capsules += 1,
                Some(place) => report.note(name(place)),
                None => report.note("a capsule row with a key that names no place".to_owned()),
            }
        }
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after.clone_from(last);
    }
}

fn name(place: CapsulePlace) -> String {
    match place {
        CapsulePlace::Bucket(KekSlot { mount, bucket, epoch, .. }) => {
            format!("capsule of mount {mount}, bucket {bucket}, KEK epoch {epoch}")
        }
        CapsulePlace::Version(VersionSlot { mount, secret, version, epoch, .. }) => {
            format!("capsule of mount {mount}, secret {secret}, version {version}, KEK epoch {epoch}")
        }
    }
}
