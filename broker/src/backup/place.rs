//! Where backups lie: what is of backups among the things of a directory or bucket.

use symbolon_proto::backup::{About, BackupReader};
use symbolon_proto::id::DeploymentId;

use super::kept;
use super::making::Making;
use crate::config::Bucket;
use crate::place::{self, Patience};

pub use crate::place::{Bytes, PlaceError, file};

/// Most backups that are listed; more than ten years of daily ones.
const LISTED_MAX: usize = 4096;
/// Bytes in which the head of a backup has room, with 32 recipients.
const HEAD_BYTES: u64 = 64 << 10;

/// A directory or a bucket with backups.
pub struct Place(place::Place);

/// A backup that lies there.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What its head says; `None` if it is none of ours after all.
    pub about: Option<About>,
}

impl Place {
    /// The directory or bucket at `address`. Nothing is asked of it yet; a directory must exist.
    pub fn open(address: &str, bucket: Option<&Bucket>) -> Result<Self, PlaceError> {
        place::Place::open(address, bucket, Patience::default()).map(Self)
    }

    /// Writes a backup as it is made.
    pub async fn put(&self, making: &mut Making) -> Result<(), PlaceError> {
        self.0.put(&making.name(), making).await
    }

    /// The bytes of a backup, asked for range by range as they are taken.
    pub async fn get(&self, name: &str) -> Result<Bytes, PlaceError> {
        self.0.get(of_backup(name)?).await
    }

    /// Names of all backups that lie here, the oldest of each deployment first.
    pub async fn names(&self) -> Result<Vec<String>, PlaceError> {
        let mut names: Vec<_> =
            self.0.objects(kept::is_name).await?.into_iter().map(|(name, _)| name).collect();
        names.sort();
        Ok(names)
    }

    /// The newest `LISTED_MAX` with what their heads say, the newest last. One that cannot be read hides no
    /// other.
    pub async fn list(&self) -> Result<Vec<Found>, PlaceError> {
        let mut objects = self.0.objects(kept::is_name).await?;
        objects.sort_by_key(|(_, meta)| std::cmp::Reverse(meta.last_modified));
        let mut all = Vec::new();
        for (name, meta) in objects.into_iter().take(LISTED_MAX) {
            let head = self.0.head(&meta, HEAD_BYTES).await.ok();
            all.push(Found { name, bytes: meta.size, about: head.and_then(|bytes| about(&bytes)) });
        }
        all.sort_by_key(|found| found.about.as_ref().map(|about| (about.made, about.entries)));
        Ok(all)
    }

    /// Removes one.
    pub async fn remove(&self, name: &str) -> Result<(), PlaceError> {
        self.0.remove(of_backup(name)?).await
    }

    /// Removes what a killed process has left of a backup in a directory. Nobody else makes one now.
    pub async fn sweep(&self, deployment: DeploymentId) -> Result<(), PlaceError> {
        self.0.sweep(|name| kept::is_left_over(name, deployment)).await
    }
}

fn about(bytes: &[u8]) -> Option<About> {
    let mut reader = BackupReader::new(None);
    let _ = reader.feed(bytes); // an error after the head does not make the head wrong
    reader.head().map(|head| head.about().clone())
}

fn of_backup(name: &str) -> Result<&str, PlaceError> {
    if kept::is_name(name) { Ok(name) } else { Err(PlaceError::Address) }
}
