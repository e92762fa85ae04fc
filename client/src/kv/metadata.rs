//! Facts about secrets and their versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Facts about a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionMetadata {
    /// Its number.
    pub version: u64,
    /// When it was written, RFC 3339.
    pub created_time: String,
    /// When it was or will be deleted, RFC 3339; empty if never.
    #[serde(default)]
    pub deletion_time: String,
    /// Whether its payload is gone for good.
    #[serde(default)]
    pub destroyed: bool,
    /// The secret's custom metadata.
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// Facts about a secret and all of its versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SecretMetadata {
    /// Newest version; 0 if none was written.
    pub current_version: u64,
    /// Oldest version that is kept.
    #[serde(default)]
    pub oldest_version: u64,
    /// When the secret was made, RFC 3339.
    pub created_time: String,
    /// When it last changed, RFC 3339.
    #[serde(default)]
    pub updated_time: String,
    /// Versions to keep; 0 takes the mount's.
    #[serde(default)]
    pub max_versions: u64,
    /// Whether writes must carry `cas`.
    #[serde(default)]
    pub cas_required: bool,
    /// Lifetime of versions, such as `0s`.
    #[serde(default)]
    pub delete_version_after: String,
    /// Free facts.
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// Facts per version.
    #[serde(default)]
    pub versions: BTreeMap<String, VersionInfo>,
}

/// Facts about one version in a list of versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionInfo {
    /// When it was written, RFC 3339.
    pub created_time: String,
    /// When it was or will be deleted, RFC 3339; empty if never.
    #[serde(default)]
    pub deletion_time: String,
    /// Whether its payload is gone for good.
    #[serde(default)]
    pub destroyed: bool,
}

/// Changes to a secret's metadata; what is not given stays.
#[derive(Debug, Default, Clone, Serialize)]
pub struct MetadataChange {
    /// Versions to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_versions: Option<u64>,
    /// Whether writes must carry `cas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cas_required: Option<bool>,
    /// Lifetime of versions, such as `720h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_version_after: Option<String>,
    /// Replaces the whole map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<BTreeMap<String, String>>,
}
