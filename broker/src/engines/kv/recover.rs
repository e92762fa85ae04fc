//! Every secret of a mount, for recovery: the reader of the running broker without a caller, a policy or a
//! log entry.
//!
//! Used on a copy of a store only ([`crate::recovery`]); nothing here is reachable from a face.

use symbolon_core::audit::SecretValue;
use symbolon_core::path::FolderPath;

use super::{KvFolder, KvTarget, Mount, OpError, Version, find_meta, find_version, names};
use crate::access::Session;

/// A version, or why there is none.
pub(crate) enum RecoveredVersion {
    /// It opened.
    Value(SecretValue),
    /// Destroyed on purpose.
    Destroyed,
    /// It should open and does not.
    Wrong,
}

/// The secrets of a mount, folder by folder.
pub(crate) async fn recover_mount(session: &Session, mount: &Mount) -> Result<Vec<KvTarget>, OpError> {
    let mut folders = vec![FolderPath::root()];
    let mut secrets = Vec::new();
    while let Some(folder) = folders.pop() {
        for name in names_in(session, mount, &folder).await? {
            let integrity = |_| OpError::INTEGRITY;
            match name.strip_suffix('/') {
                Some(child) => {
                    let path = folder.secret(child).map_err(integrity)?;
                    folders.push(FolderPath::parse(path.as_str()).map_err(integrity)?);
                }
                None => secrets.push(KvTarget::new(mount.clone(), folder.secret(&name).map_err(integrity)?)),
            }
        }
    }
    secrets.sort_by(|one, other| one.secret.as_str().cmp(other.secret.as_str()));
    Ok(secrets)
}

async fn names_in(session: &Session, mount: &Mount, folder: &FolderPath) -> Result<Vec<String>, OpError> {
    let folder = KvFolder::new(mount.clone(), folder.clone());
    Ok(names::in_folder(session, &folder).await?.unwrap_or_default())
}

impl KvTarget {
    /// Every version that is known, each opened on its own: one that is damaged does not hide the others.
    pub(crate) async fn versions(&self, session: &Session) -> Vec<(u64, RecoveredVersion)> {
        let Ok(Some((meta, _))) = find_meta(session, self).await else {
            return vec![(0, RecoveredVersion::Wrong)];
        };
        let mut found = Vec::with_capacity(meta.versions.len());
        for (number, facts) in &meta.versions {
            let version = match find_version(super::values::Behalf::Broker(session), self, *number).await {
                _ if facts.destroyed => RecoveredVersion::Destroyed,
                Ok(Some(Version { value: Some(value), .. })) => RecoveredVersion::Value(value),
                Ok(_) | Err(_) => RecoveredVersion::Wrong,
            };
            found.push((*number, version));
        }
        found
    }
}
