//! What happens to the versions of a secret: the rules of Vault's KV version 2, without any storage.
//!
//! Every decision takes the metadata as it is and gives back the metadata as it shall be, together with the
//! versions whose payload must be removed. The caller commits both in one step. All times are unix
//! milliseconds.

mod custom;
mod versions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symbolon_proto::id::SecretId;

pub use custom::{CustomUpdate, check_custom_metadata};
pub use versions::{KvSettings, MetadataUpdate, NewVersion, Removal, SettingsUpdate};

/// Versions kept when neither the secret nor its mount says otherwise.
pub const MAX_VERSIONS_DEFAULT: u64 = 10;
/// Most versions that anyone may ask to keep: their facts live in one row.
pub const MAX_VERSIONS_LIMIT: u64 = 2048;
/// Most version numbers in one delete, undelete or destroy.
pub const VERSIONS_LISTED_MAX: usize = 2048;
/// Longest `delete_version_after`: a hundred years.
pub const DELETE_AFTER_MS_MAX: i64 = 100 * 365 * 86_400_000;

/// Why a change was refused: always 400, with Vault's text where Vault has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// `cas` names another version than the current one.
    #[error("check-and-set parameter did not match the current version")]
    CasMismatch,
    /// The secret or its mount demands `cas`.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// A write without `data`.
    #[error("no data provided")]
    NoData,
    /// A patch that makes more of a secret than a write could.
    #[error("with this patch the secret would be larger than 1 MiB")]
    TooLarge,
    /// An empty list of versions.
    #[error("No version number provided")]
    NoVersions,
    /// A list of versions that is too long.
    #[error("more than {VERSIONS_LISTED_MAX} version numbers provided")]
    TooManyVersions,
    /// `max_versions` out of range.
    #[error("max_versions must not exceed {MAX_VERSIONS_LIMIT}")]
    MaxVersions,
    /// `delete_version_after` out of range.
    #[error("delete_version_after must not exceed 100 years")]
    DeleteAfter,
    /// Too many entries.
    #[error("custom_metadata validation failed: payload must contain at most 64 keys")]
    CustomTooMany,
    /// A key is empty or too long.
    #[error("custom_metadata validation failed: keys must have 1 to 128 bytes")]
    CustomKey,
    /// A value is too long.
    #[error("custom_metadata validation failed: values must have at most 512 bytes")]
    CustomValue,
    /// Unprintable characters.
    #[error("custom_metadata validation failed: keys and values must be printable")]
    CustomUnprintable,
}

/// Facts about a secret. Wire type, stored encrypted; fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretMeta {
    /// Version of this format.
    pub format: u8,
    /// Identity of the secret through all renames; payloads are stored under it.
    #[serde(with = "hex_id")]
    pub secret_id: SecretId,
    /// KEK bucket of the mount.
    pub bucket: u32,
    /// Newest version; 0 if nothing was ever written.
    pub current: u64,
    /// Oldest version whose facts are kept; 0 until the first one is dropped.
    pub oldest: u64,
    /// Facts about versions by number.
    pub versions: BTreeMap<u64, VersionMeta>,
    /// The operator's own key-value pairs; `None` shows as null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// Versions to keep; 0 takes the mount's number.
    pub max_versions: u64,
    /// Whether every write must carry `cas`.
    pub cas_required: bool,
    /// Milliseconds after which a new version is deleted; 0 takes the mount's, negative means never.
    pub delete_version_after: i64,
    /// When the secret was created.
    pub created: u64,
    /// When a version or a setting last changed.
    pub updated: u64,
}

/// Facts about one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMeta {
    /// When it was written.
    pub created: u64,
    /// When it was or will be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<u64>,
    /// Whether the payload is gone for good.
    pub destroyed: bool,
    /// KEK epoch that its payload is encrypted under.
    #[serde(default = "first_kek_epoch", skip_serializing_if = "is_first_kek_epoch")]
    pub kek_epoch: u32,
}

const fn first_kek_epoch() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
fn is_first_kek_epoch(epoch: &u32) -> bool {
    *epoch == first_kek_epoch()
}

impl VersionMeta {
    /// Whether the payload may be read now.
    #[must_use]
    pub fn is_live(&self, now_ms: u64) -> bool {
        !self.destroyed && self.deletion.is_none_or(|deletion| deletion > now_ms)
    }
}

impl SecretMeta {
    /// The format that this code writes.
    pub const FORMAT: u8 = 1;

    /// A secret without versions.
    #[must_use]
    pub fn new(secret_id: SecretId, bucket: u32, now_ms: u64) -> Self {
        Self {
            format: Self::FORMAT,
            secret_id,
            bucket,
            current: 0,
            oldest: 0,
            versions: BTreeMap::new(),
            custom_metadata: None,
            max_versions: 0,
            cas_required: false,
            delete_version_after: 0,
            created: now_ms,
            updated: now_ms,
        }
    }

    /// The version that a read means and its facts: 0 is the newest. `None` is an honest 404: never written
    /// or dropped. Ask [`VersionMeta::is_live`] before opening the payload.
    #[must_use]
    pub fn version(&self, version: u64) -> Option<(u64, &VersionMeta)> {
        let version = if version == 0 { self.current } else { version };
        self.versions.get(&version).map(|meta| (version, meta))
    }

    /// Versions whose payload is encrypted under another KEK epoch than `epoch`, with that epoch.
    pub fn payloads_not_under(&self, epoch: u32) -> impl Iterator<Item = (u64, u32)> + '_ {
        let kept = self.versions.iter().filter(|(_, meta)| !meta.destroyed);
        kept.map(|(&version, meta)| (version, meta.kek_epoch)).filter(move |(_, under)| *under != epoch)
    }

    /// The KEK epoch of a version's payload, if its facts are kept.
    #[must_use]
    pub fn kek_epoch(&self, version: u64) -> Option<u32> {
        self.versions.get(&version).map(|meta| meta.kek_epoch)
    }

    /// The versions whose payload exists.
    pub fn payloads(&self) -> impl Iterator<Item = u64> + '_ {
        self.versions.iter().filter(|(_, meta)| !meta.destroyed).map(|(&version, _)| version)
    }
}

/// Ids in rows are 32 hexadecimal digits.
mod hex_id {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use symbolon_proto::id::SecretId;

    pub(super) fn serialize<S: Serializer>(id: &SecretId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
