//! What faces hand to the KV engine and get back: plain, typed, free of any dialect.

use std::collections::BTreeMap;

use symbolon_core::json::Map;
use symbolon_core::kv::{KvError, VersionMeta};
use symbolon_core::path::{FolderPath, SecretPath};

use crate::access::Route;
use crate::access::mounts::{Mount, Side};
use crate::error::{Absent, OpError, Text};

/// A secret's version as read.
pub struct ReadSecret {
    /// The JSON object as it was written, byte for byte, unless this version is deleted or destroyed.
    pub data: Result<symbolon_proto::Zeroizing<Vec<u8>>, Absent>,
    /// Facts about the version.
    pub version: u64,
    /// Facts about the version.
    pub meta: VersionMeta,
    /// The secret's custom metadata.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// A version as written, or as it was found.
pub struct WroteSecret {
    /// Its number.
    pub version: u64,
    /// Facts about it.
    pub meta: VersionMeta,
    /// The secret's custom metadata.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// What a patch comes to.
pub enum Patched {
    /// A new version.
    Wrote(WroteSecret),
    /// Nothing: the newest version is deleted or destroyed.
    Gone(WroteSecret, Absent),
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

/// A secret. Each operation derives the path that policies judge from it and from what the operation does.
#[derive(Clone, Debug)]
pub struct KvTarget {
    pub(super) mount: Mount,
    pub(super) secret: SecretPath,
}

impl KvTarget {
    /// A secret of a mount.
    #[must_use]
    pub const fn new(mount: Mount, secret: SecretPath) -> Self {
        Self { mount, secret }
    }

    /// The mount it lies in.
    #[must_use]
    pub const fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Which one it is.
    #[must_use]
    pub const fn secret(&self) -> &SecretPath {
        &self.secret
    }

    /// What an operation of this name stands for, e.g. `secret/data/team/db`.
    pub(super) fn route(&self, operation: &'static str) -> Route {
        Route::below(Side::Secrets, &self.mount, format_args!("{operation}/{}", self.secret))
    }
}

/// A folder of secrets; the root is the mount itself.
#[derive(Clone, Debug)]
pub struct KvFolder {
    pub(super) mount: Mount,
    pub(super) folder: FolderPath,
}

impl KvFolder {
    /// A folder of a mount.
    #[must_use]
    pub const fn new(mount: Mount, folder: FolderPath) -> Self {
        Self { mount, folder }
    }

    /// What a list of it stands for, e.g. `secret/metadata/team/`.
    pub(super) fn route(&self) -> Route {
        Route::below(Side::Secrets, &self.mount, format_args!("metadata/{}", self.folder.as_str()))
    }
}

/// Limits on a list page, as OpenBao has them.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Names after this one only.
    pub after: Option<String>,
    /// At most so many; `None` means all.
    pub limit: Option<usize>,
}

impl From<KvError> for OpError {
    fn from(error: KvError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
