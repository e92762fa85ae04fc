//! Going through everything that a recovered copy holds.

use serde::Serialize;
use symbolon_core::audit::SecretValue;
use symbolon_core::keyring::KekSlot;
use symbolon_proto::id::{MountId, TenantId};

use super::{Recovered, RecoveryError};
use crate::ops::kv::{RecoveredVersion, recover_mount};
use crate::ops::types::Mount;
use crate::records::{ROWS_MAX, Table};
use crate::session::Session;

/// Bytes of `tenant ‖ table ‖ scope`.
const SCOPE_END: usize = 33;
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
    /// Bucket capsules that opened.
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
        for mount in self.session.mounts().secrets.0.iter().filter(|mount| mount.kind == "kv") {
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
            let name = secret.secret.as_str().to_owned();
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

/// Every bucket capsule of the deployment, whether or not a secret still needs it.
async fn capsules(session: &Session, report: &mut Report) -> Result<(), RecoveryError> {
    let mut scopes: Vec<MountId> = session.mounts().secrets.0.iter().map(|mount| mount.id).collect();
    scopes.push(crate::records::NO_SCOPE);
    for scope in scopes {
        let prefix = crate::records::prefix(TenantId::SYSTEM, Table::Capsule, scope);
        for (key, _) in session.rows.scan(&prefix, ROWS_MAX).await? {
            match slot_of(scope, &key) {
                Some(slot) if session.keys.kek(slot).await.is_ok() => report.capsules += 1,
                Some(slot) => {
                    report.note(format!(
                        "capsule of mount {scope}, bucket {}, KEK epoch {}",
                        slot.bucket, slot.epoch
                    ));
                }
                None => report.note(format!("a capsule row of mount {scope}")),
            }
        }
    }
    Ok(())
}

fn slot_of(mount: MountId, key: &[u8]) -> Option<KekSlot> {
    let (bucket, epoch) = key.get(SCOPE_END..)?.split_first_chunk::<4>()?;
    let (bucket, epoch) = (u32::from_be_bytes(*bucket), u32::from_be_bytes(epoch.try_into().ok()?));
    Some(KekSlot { tenant: TenantId::SYSTEM, mount, bucket, epoch })
}
