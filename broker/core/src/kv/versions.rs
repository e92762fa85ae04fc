//! Writes, deletions and changes of settings.

use super::{
    CustomUpdate, DELETE_AFTER_MS_MAX, KvError, MAX_VERSIONS_DEFAULT, MAX_VERSIONS_LIMIT, SecretMeta,
    VERSIONS_LISTED_MAX, VersionMeta,
};

/// Settings of a whole mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct KvSettings {
    /// Versions to keep per secret; 0 means 10.
    pub max_versions: u64,
    /// Whether every write must carry `cas`.
    pub cas_required: bool,
    /// Milliseconds after which a new version is deleted; 0 or less means never.
    pub delete_version_after: i64,
}

impl KvSettings {
    /// The settings afterwards; numbers out of range are refused.
    pub fn update(&self, update: &SettingsUpdate) -> Result<Self, KvError> {
        let settings = Self {
            max_versions: update.max_versions.unwrap_or(self.max_versions),
            cas_required: update.cas_required.unwrap_or(self.cas_required),
            delete_version_after: update.delete_version_after.unwrap_or(self.delete_version_after),
        };
        check_ranges(settings.max_versions, settings.delete_version_after)?;
        Ok(settings)
    }
}

fn check_ranges(max_versions: u64, delete_version_after: i64) -> Result<(), KvError> {
    if max_versions > MAX_VERSIONS_LIMIT {
        return Err(KvError::MaxVersions);
    }
    if delete_version_after > DELETE_AFTER_MS_MAX { Err(KvError::DeleteAfter) } else { Ok(()) }
}

/// What a write leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The metadata to store.
    pub meta: SecretMeta,
    /// The version to store the payload under.
    pub version: u64,
    /// Versions that fell out: remove their payloads.
    pub removed: Vec<u64>,
}

impl NewVersion {
    /// Notes the KEK epoch that the new payload is encrypted under.
    #[must_use]
    pub fn under(mut self, kek_epoch: u32) -> Self {
        self.meta.moved(self.version, kek_epoch);
        self
    }
}

/// What a destruction leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The metadata to store.
    pub meta: SecretMeta,
    /// Remove these payloads.
    pub removed: Vec<u64>,
}

/// Changes to the settings of a secret or of a mount; `None` leaves one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsUpdate {
    /// Versions to keep; 0 takes the mount's number, or 10.
    pub max_versions: Option<u64>,
    /// Whether every write must carry `cas`.
    pub cas_required: Option<bool>,
    /// Milliseconds after which a new version is deleted; 0 takes the mount's, negative means never.
    pub delete_version_after: Option<i64>,
}

/// Changes to what a secret's metadata says; `None` leaves it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataUpdate {
    /// Its settings.
    pub settings: SettingsUpdate,
    /// Its custom metadata.
    pub custom_metadata: Option<CustomUpdate>,
}

impl SecretMeta {
    /// Adds a version. For a secret that does not exist yet, call this on [`SecretMeta::new`].
    ///
    /// `cas` must equal the current version if given; 0 means only if nothing was written yet.
    pub fn write(&self, cas: Option<u64>, mount: &KvSettings, now_ms: u64) -> Result<NewVersion, KvError> {
        self.check_cas(cas, mount)?;
        let mut meta = self.clone();
        let version = meta.current + 1;
        let deletion = meta.deletes_after(mount).map(|after| now_ms.saturating_add(after));
        meta.versions
            .insert(version, VersionMeta { created: now_ms, deletion, destroyed: false, kek_epoch: 1 });
        meta.current = version;
        meta.updated = now_ms;
        let removed = meta.prune(mount);
        Ok(NewVersion { meta, version, removed })
    }

    /// Whether `cas` allows a write.
    pub fn check_cas(&self, cas: Option<u64>, mount: &KvSettings) -> Result<(), KvError> {
        match cas {
            None if self.cas_required || mount.cas_required => Err(KvError::CasRequired),
            Some(cas) if cas != self.current => Err(KvError::CasMismatch),
            _ => Ok(()),
        }
    }

    /// Drops versions beyond the larger of the two limits, oldest first. Gives those that still had a
    /// payload.
    fn prune(&mut self, mount: &KvSettings) -> Vec<u64> {
        let keep = match self.max_versions.max(mount.max_versions) {
            0 => MAX_VERSIONS_DEFAULT,
            limit => limit,
        };
        if self.current - self.oldest < keep {
            return Vec::new();
        }
        self.oldest = self.current - keep + 1;
        let kept = self.versions.split_off(&self.oldest);
        let dropped = std::mem::replace(&mut self.versions, kept);
        dropped.into_iter().filter(|(_, meta)| !meta.destroyed).map(|(version, _)| version).collect()
    }

    /// Milliseconds until a version written now is deleted: the smaller of the two settings that say
    /// something.
    fn deletes_after(&self, mount: &KvSettings) -> Option<u64> {
        let positive = |value: i64| u64::try_from(value).ok().filter(|&value| value > 0);
        if self.delete_version_after < 0 {
            return None;
        }
        match (positive(self.delete_version_after), positive(mount.delete_version_after)) {
            (Some(own), Some(mount)) => Some(own.min(mount)),
            (own, mount) => own.or(mount),
        }
    }

    /// Soft-deletes the newest version. `None`: nothing to change.
    #[must_use]
    pub fn delete_latest(&self, now_ms: u64) -> Option<Self> {
        self.change_versions(&[self.current], now_ms, |version| {
            version.is_live(now_ms).then(|| version.deletion = Some(now_ms))
        })
    }

    /// Soft-deletes versions; unknown, deleted and destroyed ones stay as they are. `None`: nothing to
    /// change.
    pub fn delete(&self, versions: &[u64], now_ms: u64) -> Result<Option<Self>, KvError> {
        check_listed(versions)?;
        Ok(self.change_versions(versions, now_ms, |version| {
            version.is_live(now_ms).then(|| version.deletion = Some(now_ms))
        }))
    }

    /// Takes soft deletions back, also those that lie in the future. `None`: nothing to change.
    pub fn undelete(&self, versions: &[u64], now_ms: u64) -> Result<Option<Self>, KvError> {
        check_listed(versions)?;
        Ok(self.change_versions(versions, now_ms, |version| {
            (!version.destroyed && version.deletion.is_some()).then(|| version.deletion = None)
        }))
    }

    /// Removes payloads for good. `None`: nothing to change.
    pub fn destroy(&self, versions: &[u64], now_ms: u64) -> Result<Option<Removal>, KvError> {
        check_listed(versions)?;
        let mut removed: Vec<_> = self.payloads().filter(|version| versions.contains(version)).collect();
        removed.sort_unstable();
        let changed = self.change_versions(&removed, now_ms, |version| {
            version.destroyed = true;
            Some(())
        });
        Ok(changed.map(|meta| Removal { meta, removed }))
    }

    /// The payload of `version` is encrypted under another KEK epoch now. No change that anybody sees.
    pub fn moved(&mut self, version: u64, kek_epoch: u32) {
        if let Some(facts) = self.versions.get_mut(&version) {
            facts.kek_epoch = kek_epoch;
        }
    }

    fn change_versions(
        &self,
        versions: &[u64],
        now_ms: u64,
        mut change: impl FnMut(&mut VersionMeta) -> Option<()>,
    ) -> Option<Self> {
        let mut meta = self.clone();
        let mut changed = false;
        for version in versions {
            changed |= meta.versions.get_mut(version).and_then(&mut change).is_some();
        }
        meta.updated = now_ms;
        changed.then_some(meta)
    }

    fn settings(&self) -> KvSettings {
        let Self { max_versions, cas_required, delete_version_after, .. } = *self;
        KvSettings { max_versions, cas_required, delete_version_after }
    }

    /// Changes settings. Versions beyond a new limit are dropped by the next write.
    pub fn update(&self, update: &MetadataUpdate, now_ms: u64) -> Result<Self, KvError> {
        let mut meta = self.clone();
        let settings = self.settings().update(&update.settings)?;
        meta.max_versions = settings.max_versions;
        meta.cas_required = settings.cas_required;
        meta.delete_version_after = settings.delete_version_after;
        if let Some(custom) = &update.custom_metadata {
            meta.custom_metadata = custom.apply(self.custom_metadata.as_ref())?;
        }
        meta.updated = now_ms;
        Ok(meta)
    }
}

fn check_listed(versions: &[u64]) -> Result<(), KvError> {
    match versions.len() {
        0 => Err(KvError::NoVersions),
        count if count > VERSIONS_LISTED_MAX => Err(KvError::TooManyVersions),
        _ => Ok(()),
    }
}
