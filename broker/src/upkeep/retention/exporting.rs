//! One segment into its place, and read back to its end before anybody is told.

use sha2::{Digest as _, Sha256};
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::{Segment, VerifierKey};

use super::error::RoundError;
use crate::audit::log::LogReader;
use crate::audit::retention::packing::Packing;
use crate::audit::retention::segments::{Exported, Known, PlaceId};
use crate::place::{BrokenOff, Place, PlaceError};

/// Digits of a deployment's id in a name: enough to tell deployments apart that share a bucket.
const ID_DIGITS: usize = 8;

/// Where segments go.
pub struct Target {
    /// The directory or bucket.
    pub place: Place,
    /// Its address.
    pub address: String,
    /// What stands for it in rows.
    pub id: PlaceId,
    /// Whose log it is.
    pub deployment: DeploymentId,
}

impl Target {
    /// The name of a segment's object.
    #[must_use]
    pub fn name(&self, segment: Segment) -> String {
        segment.object(&digits(self.deployment))
    }

    /// Writes a segment, and reads it back. An object that is there already is replaced: whoever wrote it did
    /// not come as far as to say so.
    pub async fn export(
        &self,
        log: LogReader,
        segment: Segment,
        key: &VerifierKey,
    ) -> Result<Known, RoundError> {
        let (name, mut packing) = (self.name(segment), Packing::begin(log, segment, key).await?);
        self.place.put(&name, &mut packing).await.map_err(of_log)?;
        let exported = packing.exported(self.id);
        self.read_back(&name, &exported).await?;
        Ok(Known { exported: Some(exported), ..packing.known() })
    }

    async fn read_back(&self, name: &str, written: &Exported) -> Result<(), RoundError> {
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        let mut bytes = self.place.get(name).await?;
        while let Some(piece) = bytes.next().await? {
            hash.update(&piece);
            length += piece.len() as u64;
        }
        let found: [u8; 32] = hash.finalize().into();
        let is_same = (found, length) == (written.sha256, written.bytes);
        if is_same { Ok(()) } else { Err(RoundError::ReadBack { expected: written.bytes, found: length }) }
    }

    /// Removes what a killed process has left of an object in a directory.
    pub async fn sweep(&self) -> Result<(), RoundError> {
        let beginning = format!("symbolon-{}-log-", digits(self.deployment));
        Ok(self.place.sweep(|name| name.starts_with(&beginning) && name.contains(".tar#")).await?)
    }
}

fn digits(deployment: DeploymentId) -> String {
    deployment.to_string().chars().take(ID_DIGITS).collect()
}

/// A log that cannot be read is no fault of the place.
fn of_log(error: PlaceError) -> RoundError {
    match error {
        PlaceError::BrokenOff(BrokenOff::Store(error)) => RoundError::Broker(error.into()),
        PlaceError::BrokenOff(BrokenOff::Unreadable(cause)) => RoundError::Unreadable(cause),
        error => RoundError::Place(error),
    }
}
