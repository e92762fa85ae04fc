//! Backups that the broker makes by itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where backups go, how often, and who can open them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupConfig {
    /// A directory on another disk, as an absolute path, or `s3://bucket/prefix`. On the store's own volume a
    /// backup is lost with it.
    pub to: String,
    /// Hours from one to the next, 1 to 744. What is written after the last one is lost with the volume.
    #[serde(default = "every_hours")]
    pub every_hours: u64,
    /// How many stay, at least 1; the oldest ones are removed after a newer one has been read back.
    #[serde(default = "keep")]
    pub keep: usize,
    /// Cards of those who can open them, made with `symbolon custodian keygen`; each can alone. At least one.
    /// Keep a key file where the store is not.
    pub recipients: Vec<PathBuf>,
    /// How a bucket is reached.
    pub bucket: Option<Bucket>,
}

/// How a bucket is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Address of an S3-compatible server, such as `https://minio.lan:9000`; without it, that of the region
    /// at AWS. With `http://` the owner of the network sees sizes and times, and nothing of what is in it.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` if it is not given, which most servers of one's own take.
    pub region: Option<String>,
    /// File with the id of the access key. Read for each backup, so it can be renewed.
    pub access_key_id_file: Option<PathBuf>,
    /// File with the secret of the access key.
    pub secret_access_key_file: Option<PathBuf>,
    /// Authority of the server's certificate, in PEM; the system's if it is not given.
    pub ca_file: Option<PathBuf>,
}

impl BackupConfig {
    /// Seconds from one to the next.
    #[must_use]
    pub const fn every_secs(&self) -> u64 {
        self.every_hours * 3600
    }

    /// Whether it says what can be done.
    pub(super) fn is_sound(&self) -> bool {
        (1..=744).contains(&self.every_hours) && self.keep >= 1 && !self.recipients.is_empty()
    }
}

fn every_hours() -> u64 {
    24
}

fn keep() -> usize {
    14
}
