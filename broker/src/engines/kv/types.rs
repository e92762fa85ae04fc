//! What faces hand to the KV engine and get back: plain, typed, free of any dialect.

use std::collections::BTreeMap;

use symbolon_core::json::Map;
use symbolon_core::kv::{KvError, VersionMeta};
use symbolon_core::path::{ApiPath, FolderPath, SecretPath};

use crate::access::mounts::Mount;
use crate::error::{OpError, Text};

/// A secret's version as read.
pub struct ReadSecret {
    /// The JSON object as it was written, byte for byte; `None` if this version is deleted or destroyed.
    pub data: Option<symbolon_proto::Zeroizing<Vec<u8>>>,
    /// Facts about the version.
    pub version: u64,
    /// Facts about the version.
    pub meta: VersionMeta,
    /// The secret's custom metadata.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// A version as written.
pub struct WroteSecret {
    /// The new version.
    pub version: u64,
    /// Facts about it.
    pub meta: VersionMeta,
    /// The secret's custom metadata.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// A write of KV v2 data.
pub struct WriteSecret<'a> {
    /// The JSON object to store, or to merge.
    pub data: &'a Map,
    /// Expected current version, if the caller checks.
    pub cas: Option<u64>,
}

/// Which of the three version lists an operation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionsChange {
    /// Soft delete.
    Delete,
    /// Take a soft delete back.
    Undelete,
    /// Remove the payload for good.
    Destroy,
}

/// Where a KV operation goes: the path as the policy sees it, and the same path below its mount.
#[derive(Clone, Debug)]
pub struct KvTarget {
    /// The whole route, e.g. `secret/data/team/db`.
    pub api: ApiPath,
    /// The mount it lies in.
    pub mount: Mount,
    /// The secret.
    pub secret: SecretPath,
}

impl KvTarget {
    /// A secret that the broker itself deals with.
    pub(super) fn of_broker(mount: &Mount, secret: SecretPath) -> Result<Self, OpError> {
        Ok(Self { api: unjudged(mount)?, mount: mount.clone(), secret })
    }
}

/// The path of a mount, where no policy judges one: a secret's own could be too long behind it.
pub(super) fn unjudged(mount: &Mount) -> Result<ApiPath, OpError> {
    ApiPath::from_decoded(mount.path.as_str()).map_err(|_| OpError::INTEGRITY)
}

/// Where a KV list goes.
#[derive(Clone, Debug)]
pub struct KvFolder {
    /// The whole route, e.g. `secret/metadata/team/`.
    pub api: ApiPath,
    /// The mount it lies in.
    pub mount: Mount,
    /// The folder; the root is the mount itself.
    pub folder: FolderPath,
}

/// Limits on a list page, as OpenBao has them.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Names after this one only.
    pub after: Option<String>,
    /// At most so many; 0 means all.
    pub limit: usize,
}

impl From<KvError> for OpError {
    fn from(error: KvError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
